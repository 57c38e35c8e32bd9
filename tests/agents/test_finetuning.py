"""Fine-tuning an encoder on the glimpses of an agent."""

from __future__ import annotations

import dataclasses

import numpy as np
from tiny import SETTINGS, MemoryScenes, tiny_encoder

from agents.learning.finetuning import PolicyGlimpses
from agents.learning.finetuning_config import FineTuningConfig
from agents.registry import make_agent
from ave_env.configuration import Configuration
from ave_env.parts import Parts
from ave_env.vector import ActiveExplorationVectorEnv
from encoders.training.config import TrainingConfig
from encoders.training.trainer import EncoderTrainer


def parts(**changes):
    configuration = Configuration(
        scenes=MemoryScenes(), encoder=tiny_encoder(), **SETTINGS, **changes
    )
    return configuration, Parts.open(configuration, classify=True)


def test_the_glimpses_are_those_the_agent_takes_each_patch_once():
    configuration, opened = parts()
    source = PolicyGlimpses("raster", configuration, opened, random_share=0.0)
    env = ActiveExplorationVectorEnv(
        3, configuration=configuration, parts=opened, autoreset_mode="DISABLED"
    )
    agent = make_agent("raster", env)
    counts = set()
    for seed in range(12):
        scenes = np.array([seed % 3, 5, 7])
        found = source(scenes, np.random.default_rng(seed))
        counts.add(found.shape[1])
        observation, _ = env.reset(options={"scene_id": scenes})
        for t in range(found.shape[1]):
            actions, _ = agent.predict(observation)
            for row, ids in enumerate(opened.sensor.patch_ids(actions)):
                seen = observation["visited"][row].ravel()[ids].astype(bool)
                assert found[row, t].tolist() == np.where(seen, -1, ids).tolist()
            observation, *_ = env.step(actions)
    assert {0, 4} <= counts


class Watched(TrainingConfig):
    """A configuration that remembers which of its values were looked at."""

    def __getattribute__(self, name):
        object.__getattribute__(self, "__dict__").setdefault("looked at", set()).add(name)
        return object.__getattribute__(self, name)


def test_every_hyper_parameter_is_looked_at_while_an_encoder_is_tuned(tmp_path, monkeypatch):
    configuration, opened = parts()
    tiny = FineTuningConfig(epochs=1, epoch_size=8, batch_size=4, validation_size=4)
    values = dataclasses.asdict(tiny.training(seed=0, precision="float32", progress=False))
    config = Watched(**values)
    looked_at = object.__getattribute__(config, "__dict__")["looked at"]
    looked_at.clear()
    monkeypatch.setattr(EncoderTrainer, "save", lambda self: None)  # it writes all of them
    trainer = EncoderTrainer(
        opened.encoder,
        opened.scenes,
        MemoryScenes(seed=1),
        config,
        tmp_path,
        glimpses=PolicyGlimpses("random", configuration, opened),
        class_names=opened.scenes.class_names,
        device="cpu",
    )
    trainer.run()
    assert trainer.step == trainer.total_steps == 2
    assert {field.name for field in dataclasses.fields(FineTuningConfig)} <= looked_at

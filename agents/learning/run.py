"""Training runs: PPO in an environment, and encoders on an agent's glimpses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.evaluation.walk import evaluate
from agents.learning.callbacks import CheckpointCallback, ExplorationCallback, ProgressCallback
from agents.learning.finetuning import PolicyGlimpses
from agents.learning.history import Validation, ValidationHistory
from agents.learning.ppo.config import PpoConfig
from agents.learning.ppo.learner import OBSERVABLES, STATE_FILE, PpoAgent, PpoTrainer
from ave_env.registration import configuration
from ave_env.vector import ActiveExplorationVectorEnv
from encoders import GlimpseEncoder, create_encoder
from encoders.training.config import TrainingConfig
from encoders.training.trainer import EncoderTrainer
from encoders.training.validation import describe


def learn_policy(
    folder: Path,
    env_id: str,
    settings: Mapping[str, Any],
    config: PpoConfig,
    *,
    seed: int = 0,
    total_timesteps: int,
    num_envs: int = 256,
    eval_freq: int = 100_000,
    eval_scenes: int = 512,
    resume: bool = False,
    progress: bool = True,
    tensorboard_log: Path | None = None,
) -> bool:
    """Trains a PPO agent on the train split and scores it on the validation split.

    Args:
        folder: Run folder; receives the agent, its best version in `best/`, the validations in
            `evaluations.npz`, and a training state.
        env_id: Environment id.
        settings: Keyword arguments of the environment but `split` and `observe`; None leaves the
            id's own value.
        config: Hyper-parameters.
        seed: Of everything random.
        total_timesteps: Environment steps of the whole run.
        num_envs: Rows.
        eval_freq: Environment steps between two validations.
        eval_scenes: Scenes of a validation.
        resume: Continue from the folder's training state, if there is one yet.
        progress: Show a progress bar.
        tensorboard_log: Folder of TensorBoard events; None = inside the run folder.

    Returns:
        False when Ctrl-C ended it early; what was learnt is saved all the same.

    Raises:
        ValueError: Settings that do not fit each other, an encoder without a decoder, or one whose
            class head was not trained for the classes of the scenes.
    """
    encoder = _open_encoder(env_id, settings)
    shared = {**settings, "encoder": encoder, "observe": OBSERVABLES}
    env = _vector_env(env_id, num_envs, "SAME_STEP", split="train", **shared)
    assert env.observer is not None
    if env.task.name == "classification" and not env.observer.trained_head:
        raise ValueError(
            f"the class head of encoder {encoder.config.name!r} was not trained for the "
            f"{len(env.scenes.class_names)} classes of the {env.scenes.name!r} scenes, so that its "
            "rewards would mean nothing; train it first (train_encoder.py, or --policy random), or "
            "pass --task reconstruction"
        )
    validation = _vector_env(env_id, min(eval_scenes, 256), "DISABLED", split="val", **shared)
    log = tensorboard_log or folder / "tensorboard"
    made_with = {
        "id": env_id,
        "encoder": _absolute(settings.get("encoder") or configuration(env_id).encoder),
        "data_root": _absolute(settings.get("data_root")),
    }
    trainer = PpoTrainer(env, config, seed, str(log), made_with=made_with)
    history = ValidationHistory()
    # A run that was killed before its first rollout has no state yet, and begins.
    if resume and (folder / STATE_FILE).is_file():
        trainer.load_state(folder)
        history = ValidationHistory.load(folder, trainer.num_timesteps)

    def validate() -> Validation:
        agent = PpoAgent(validation, folder)
        return Validation.of(evaluate(agent, validation, num_scenes=eval_scenes, progress=False))

    checkpoints = CheckpointCallback(trainer, folder, validate, eval_freq, history)
    callbacks = [
        ProgressCallback(total_timesteps, progress),
        ExplorationCallback(),
        checkpoints,
    ]
    trainer.save(folder)
    finished = False
    try:
        trainer.learn(total_timesteps, callbacks)
        checkpoints.check()
        finished = True
    except KeyboardInterrupt:
        trainer.save(folder)
        trainer.save_state(folder)
    return finished


def finetune_encoder(
    folder: Path,
    policy: str,
    env_id: str,
    settings: Mapping[str, Any],
    config: TrainingConfig,
    *,
    resume: bool = False,
    tensorboard_log: Path | None = None,
) -> bool:
    """Trains an encoder on the glimpses of a policy without parameters.

    Args:
        folder: Run folder; receives the encoder and a training state.
        policy: Name of the agent.
        env_id: Environment id.
        settings: As for `learn_policy`.
        config: Hyper-parameters.
        resume: Continue from the folder's training state.
        tensorboard_log: Folder of TensorBoard events; None = the run folder.

    Returns:
        False when Ctrl-C ended it early; what was learnt is saved all the same.
    """
    train, validation = (
        configuration(env_id, **{**settings, "split": split}).open_scenes()
        for split in ("train", "val")
    )
    encoder = _open_encoder(env_id, settings)
    encoder.config = dataclasses.replace(
        encoder.config,
        name=f"{encoder.config.name}-{policy}",
        class_names=train.class_names if encoder.config.num_classes else None,
        weights="trained",
    )
    base = configuration(env_id, **settings)
    exploring = {**vars(base), "scenes": train}
    for name in ("encoder", "observe"):
        exploring.pop(name)
    trainer = EncoderTrainer(
        encoder,
        train,
        validation,
        dataclasses.replace(config, glimpse_size=base.glimpse_size),
        folder,
        glimpses=PolicyGlimpses(policy, encoder, exploring, seed=config.seed),
        device=base.device,
        tensorboard_folder=tensorboard_log,
    )
    if resume:
        trainer.resume()
    print(describe(trainer.run()))
    return trainer.step >= trainer.total_steps


def _absolute(source: Any) -> str | None:
    """A name as it is, a path so that it holds from any folder."""
    if source is None:
        return None
    return str(Path(source).resolve()) if Path(source).exists() else str(source)


def _open_encoder(env_id: str, settings: Mapping[str, Any]) -> GlimpseEncoder:
    """The encoder that settings name, for the classes of the train split."""
    base = configuration(env_id, **{**settings, "split": "train"})
    if base.encoder is None:
        raise ValueError("training needs an encoder; encoder is None")
    return create_encoder(
        str(base.encoder),
        image_size=base.image_size,
        class_names=base.open_scenes().class_names,
        device=base.device,
    )


def _vector_env(
    env_id: str, num_envs: int, autoreset_mode: str, **settings: Any
) -> ActiveExplorationVectorEnv:
    fields = vars(configuration(env_id, **settings))
    return ActiveExplorationVectorEnv(num_envs, autoreset_mode=autoreset_mode, **fields)

"""The example plug-ins keep the laws, run by name, and are found where a package declares them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from tiny import CLASS_NAMES, MemoryScenes, raises_naming

import ave_env  # noqa: F401 (registers the environments)
from ave_env.testing import check_sensor, check_task
from encoders.analysis.saliency import ClassSaliency
from encoders.storage import load_encoder
from encoders.testing import check_encoder
from encoders.training.config import EncoderShape, TrainingConfig
from encoders.training.family import Blueprint, FamilyTraining
from encoders.training.trainer import EncoderTrainer

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "docs" / "examples" / "plugins"

SENSORS = {"offgrid": "offgrid:OffgridSensor", "continuous": "continuous:ContinuousSensor"}
TASK = "brightness:Brightness"
ENCODER = "mean_pool:mean_pool"
SIZE = {"image_size": (64, 128), "num_glimpses": 3, "device": "cpu"}


@pytest.fixture(autouse=True)
def _plugins_on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(PLUGINS))


@pytest.mark.parametrize("seamless", [False, True])
@pytest.mark.parametrize("options", [{}, {"window": 16, "stride": 5}, {"window": 64}])
def test_the_sensor_off_the_grid_keeps_the_laws(options, seamless):
    from offgrid import OffgridSensor

    check_sensor(OffgridSensor((64, 128), 16, seamless=seamless, **options))


@pytest.mark.parametrize("seamless", [False, True])
@pytest.mark.parametrize("glimpse_size", [1, 2, 3])
def test_the_continuous_sensor_keeps_the_laws(glimpse_size, seamless):
    from continuous import ContinuousSensor

    check_sensor(ContinuousSensor((64, 128), 16, glimpse_size, seamless))


def test_the_task_keeps_the_laws():
    from brightness import Brightness

    check_task(Brightness)


def test_the_encoder_keeps_the_laws():
    from mean_pool import mean_pool

    check_encoder(mean_pool())


def test_the_encoder_is_trained_by_the_loop_of_all_and_seen_through_by_a_teacher(tmp_path):
    from mean_pool import MeanPoolTraining

    scenes = MemoryScenes()
    encoder = MeanPoolTraining.build(
        Blueprint(EncoderShape(), {"width": 16}, "mine", scenes.image_size, CLASS_NAMES)
    )
    config = TrainingConfig(
        epochs=12,
        epoch_size=32,
        batch_size=8,
        max_glimpses=3,
        learning_rate=1e-2,
        validation_size=12,
        num_workers=0,
        progress=False,
    )
    trainer = EncoderTrainer(
        encoder, scenes, scenes, config, tmp_path, class_names=CLASS_NAMES, device="cpu"
    )
    before = trainer.validate()["rmse_3_random"]
    assert trainer.run()["rmse_3_random"] < before
    assert load_encoder(tmp_path).config.class_names == CLASS_NAMES
    images = torch.from_numpy(np.stack([scenes.load(index) for index in range(2)]))
    maps = ClassSaliency(encoder)(images, torch.tensor([0, 1]))
    assert maps.shape == (2, *encoder.grid)
    assert (maps.flatten(1).amax(1) > 0).all()


def test_a_family_without_new_encoders_says_what_to_start_from():
    class Found(FamilyTraining):
        pass

    with raises_naming(ValueError, ["'mine'", "Found", "--encoder"]):
        Found.build(Blueprint(EncoderShape(), {}, "mine", (32, 64), CLASS_NAMES))


@pytest.mark.parametrize("sensor", SENSORS.values())
@pytest.mark.parametrize("encoder", ["tore-nano", ENCODER])
@pytest.mark.parametrize("task", ["reconstruction", TASK])
def test_single_and_vector_environments_run_them_by_name(sensor, encoder, task):
    settings = {**SIZE, "sensor": sensor, "encoder": encoder, "task": task, "observe": ("cells",)}
    env = gym.make("AVE-Synthetic-v0", **settings)
    vector = gym.make_vec(
        "AVE-Synthetic-v0", num_envs=2, vectorization_mode="vector_entry_point", **settings
    )
    vector.action_space.seed(0)
    first, _ = env.reset(seed=5)
    vector.reset(seed=5)
    rewards = np.zeros(2)
    before = vector.unwrapped.scores.copy()
    for step in range(3):
        actions = vector.action_space.sample()
        _, reward, ended, _, info = vector.step(actions)
        rewards += reward
        seen, alone, *_ = env.step(actions[0])
        assert alone == pytest.approx(reward[0], abs=1e-3)
        assert ended.all() == (step == 2)
    assert np.allclose(rewards, vector.unwrapped.scores - before)
    if task == TASK:
        assert (info["colour_error"] >= 0).all()
    assert not np.array_equal(first["cells"], seen["cells"])
    vector.step(vector.action_space.sample())  # the step that begins the next episodes
    assert vector.unwrapped.visited.sum() == 0


@pytest.mark.parametrize("sensor", SENSORS.values())
@pytest.mark.filterwarnings("ignore")
def test_gymnasium_accepts_environments_with_the_sensors(sensor):
    env = gym.make("AVE-Synthetic-v0", sensor=sensor, task=TASK, **SIZE)
    check_env(env.unwrapped, skip_render_check=True)


RUN = """
import gymnasium as gym
import ave_env
env = gym.make_vec("AVE-Synthetic-v0", num_envs=1, vectorization_mode="vector_entry_point",
                   sensor="offgrid", task="brightness", encoder="mean-pool",
                   image_size=(64, 128), device="cpu")
env.reset(seed=0)
print(env.step(env.action_space.sample())[4]["colour_error"] >= 0)
"""


def test_an_installed_package_adds_them_by_entry_points(tmp_path):
    package = tmp_path / "plugins-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: plugins\nVersion: 1.0\n")
    toml = (ROOT / "docs" / "extending.md").read_text()
    groups = re.findall(r'\[project\.entry-points\."([\w.]+)"\]\n((?:[\w-]+ = ".*"\n)+)', toml)
    assert {group for group, _ in groups} >= {
        "ave_env.sensors",
        "ave_env.tasks",
        "encoders.encoders",
        "encoders.families",
    }
    text = "".join(f"[{group}]\n{lines}" for group, lines in groups).replace('"', "")
    (package / "entry_points.txt").write_text(text)
    path = os.pathsep.join([str(ROOT), str(PLUGINS), str(tmp_path)])
    environment = {**os.environ, "PYTHONPATH": path}
    found = subprocess.run(
        [sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert "True" in found.stdout


def test_code_on_the_page_runs(tmp_path):
    """Each section's Python blocks are one program, in a file or two as their first line says."""
    page = (ROOT / "docs" / "extending.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 5
    scripts = []
    for block in blocks:
        name = re.match(r"# (\w+\.py)\n", block)
        if name:
            (tmp_path / name[1]).write_text(block)
        else:
            scripts.append(block)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(PLUGINS)])}
    found = subprocess.run(
        [sys.executable, "-c", "\n".join(scripts)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr

"""The commands take plug-ins by their place, as `docs/extending.md` says."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.learning.learner import Learner
from agents.registry import make_agent
from agents.testing import check_agent
from ave_env import ActiveExplorationVectorEnv

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "docs" / "examples" / "plugins"


def run(folder, command, *arguments):
    """Runs a command in a folder where the plug-ins are at hand; returns the run folder's path."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(PLUGINS)])}
    found = subprocess.run(
        [sys.executable, str(ROOT / command), *arguments, "--smoke", "--no-progress"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    (line,) = {line for line in found.stdout.splitlines() if line.startswith("run folder: ")}
    return folder / line.removeprefix("run folder: ")


def rows(path):
    with (path / "per_step.csv").open(newline="") as table:
        return list(csv.DictReader(table))


def test_a_learner_is_trained_and_its_run_is_read_back_by_another_process(tmp_path):
    trained = run(
        tmp_path,
        "train_agent.py",
        *("--policy", "places:PlaceLearner", "--learner-options", "exploration=0.5"),
        *("--agents", "farthest:FarthestAgent"),
    )
    assert json.loads((trained / "agent.json").read_text())["agent"] == "places:PlaceLearner"
    assert {row["agent"] for row in rows(trained)} == {"farthest", "places"}
    assert (trained / "best" / "agent.json").is_file()
    assert (trained / "evaluations.npz").is_file()
    again = run(tmp_path, "eval_agent.py", "--agents", "random", str(trained))
    assert {row["agent"] for row in rows(again)} == {"random", "places"}


@pytest.mark.parametrize("sensor", ["offgrid:OffgridSensor", "continuous:ContinuousSensor"])
def test_a_sensor_a_task_and_an_encoder_together_reach_every_file(tmp_path, sensor):
    folder = run(
        tmp_path,
        "eval_agent.py",
        *("--agents", "random"),
        *("--sensor", sensor, "--task", "brightness:Brightness"),
        *("--encoder", "mean_pool:mean_pool"),
    )
    metrics = {row["metric"] for row in rows(folder)}
    assert {"colour_error", "coverage"} <= metrics
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["main_metric"] == "colour_error"
    assert summary["encoder"]["name"] == "mean-pool"
    assert "colour_error" in (folder / "report.html").read_text()
    for name in ("curves.png", "gaze/random.png"):
        assert (folder / name).stat().st_size > 1000


def test_ppo_learns_on_an_encoder_that_is_no_vision_transformer(tmp_path):
    folder = run(
        tmp_path,
        "train_agent.py",
        *("--encoder", "mean_pool:mean_pool", "--task", "reconstruction", "--agents", "random"),
    )
    assert {row["agent"] for row in rows(folder)} == {"random", "ppo"}
    assert json.loads((folder / "agent.json").read_text())["encoder_options"] == {}


@pytest.fixture
def _plugins_on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(PLUGINS))


@pytest.mark.usefixtures("_plugins_on_the_path")
def test_the_agent_keeps_the_laws():
    from farthest import FarthestAgent

    check_agent(FarthestAgent, num_glimpses=3, device="cpu")


@pytest.mark.usefixtures("_plugins_on_the_path")
def test_the_learner_goes_on_as_if_it_had_not_been_stopped(tmp_path):
    from places import PlaceConfig, PlaceLearner

    def learner(seed=3) -> Learner:
        env = ActiveExplorationVectorEnv(
            8, num_glimpses=3, autoreset_mode="SAME_STEP", device="cpu"
        )
        return PlaceLearner(env, PlaceConfig(), seed=seed)

    whole, first, second = learner(), learner(), learner(seed=77)
    whole.learn(96)
    first.learn(48)
    first.save(tmp_path)
    first.save_state(tmp_path)
    np.random.seed(5)  # noqa: NPY002 - a state that must not matter
    torch.manual_seed(5)
    second.load_state(tmp_path)
    second.learn(96)
    assert whole.num_timesteps == second.num_timesteps == 96
    np.testing.assert_array_equal(whole.values, second.values)
    second.save(tmp_path)
    agent = make_agent(tmp_path, second.env)
    observation, _ = second.env.reset(seed=1)
    assert agent.predict(observation)[0].tolist() == [int(second.values[0].argmax())] * 8

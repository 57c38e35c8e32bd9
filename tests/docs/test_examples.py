"""The examples for other libraries run; those libraries themselves are not needed here."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import yaml
from gymnasium.wrappers import FilterObservation
from stable_baselines3 import PPO
from stable_baselines3.common.utils import LinearSchedule

import ave_env  # noqa: F401 (registers the environments)

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"


def load(name):
    specification = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_every_python_block_of_the_readme_runs(tmp_path):
    """One after the other in a process of their own, each as if it were the first."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) >= 3
    code = f"for block in {blocks!r}:\n    exec(compile(block, block, 'exec'), {{}})\n"
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:__main__", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "features_extractor_class" not in done.stderr  # nobody who reads it needs the hint


def test_the_loop_of_cleanrl_learns_from_whole_episodes(capsys):
    load("cleanrl_ppo").main(["--updates", "1"])
    episodes, successes = re.search(
        r"(\d+) episodes, .* right ([\d.]+)%", capsys.readouterr().out
    ).groups()
    assert (int(episodes), float(successes) >= 0) == (96, True)


def test_the_hyperparameters_for_rl_zoo_make_a_policy():
    chosen = yaml.safe_load((EXAMPLES / "rl_zoo3.yml").read_text())["AVE-Synthetic-v0"]
    (wrapper,) = chosen.pop("env_wrapper")
    env = FilterObservation(
        gym.make("AVE-Synthetic-v0"), **wrapper["gymnasium.wrappers.FilterObservation"]
    )
    for name in ("n_envs", "n_timesteps"):
        assert chosen.pop(name) >= 1
    initial = float(chosen.pop("learning_rate").removeprefix("lin_"))
    model = PPO(env=env, learning_rate=LinearSchedule(initial, 0.0, 1.0), **chosen)
    model.learn(model.n_steps)
    assert model.num_timesteps == model.n_steps

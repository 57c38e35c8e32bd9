"""The examples for other libraries run; those libraries themselves are not needed here."""

import importlib.util
import re
from pathlib import Path

import gymnasium as gym
import yaml
from gymnasium.wrappers import FilterObservation
from stable_baselines3 import PPO
from stable_baselines3.common.utils import LinearSchedule

import ave_env  # noqa: F401 (registers the environments)

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def load(name):
    specification = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


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

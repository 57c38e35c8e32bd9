"""What a notebook shows of packages and environments."""

import tomllib
from pathlib import Path

import gymnasium as gym
import pytest
from tiny import tiny_encoder, tiny_env, tiny_vector_env

import agents
import ave_env
import encoders
from encoders.support.version import __version__

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("package", [agents, ave_env, encoders])
def test_a_package_lists_its_names_and_its_version(package):
    assert package.__version__ == __version__
    for name in dir(package):
        assert getattr(package, name) is not None
    assert "__version__" in dir(package)


def test_the_release_is_written_down_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {
        "attr": "encoders.support.version.__version__"
    }
    assert f"version: {ave_env.__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


def test_an_environment_says_what_it_is_in_a_few_lines():
    env = tiny_env()
    assert repr(env).splitlines() == [
        "ActiveExplorationEnv(",
        "  scenes: memory, train: 12 of 64x96 pixels in 5 classes",
        "  sensor: grid: 32x32 pixels at 15 places",
        "  num_glimpses: 4",
        "  task: classification",
        f"  encoder: {env.observer.description}",
        "  observe: latent, logits",
        ")",
    ]
    assert repr(tiny_vector_env(3, encoder=tiny_encoder())).splitlines()[-2] == "  num_envs: 3"
    alone = repr(tiny_env(encoder=None, task="reconstruction"))
    assert "encoder" not in alone
    assert "task: reconstruction" in alone
    made = gym.make("AVE-Synthetic-v0", encoder=None)
    assert "ActiveExplorationEnv<" in str(made)
    half_made = ave_env.ActiveExplorationVectorEnv.__new__(ave_env.ActiveExplorationVectorEnv)
    assert "ActiveExplorationVectorEnv" in repr(half_made)
    assert "ActiveExplorationEnv" in repr(ave_env.ActiveExplorationEnv.__new__(type(env)))

"""The shipped agent is what its card says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import tiny_vector_env

import agents
from agents.evaluation.walk import evaluate
from agents.learning.record import AGENT_FILE
from agents.learning.windows.agent import OBSERVABLES, POLICY_FILE
from ave_env import ActiveExplorationVectorEnv

SHIPPED = Path(agents.__file__).parent / "pretrained"
NAMES = ("ppo", "guided")
ROWS = 100


def make_env(**settings):
    return ActiveExplorationVectorEnv(
        ROWS, split="test", observe=OBSERVABLES, autoreset_mode="DISABLED", **settings
    )


def test_they_find_the_landmarks_of_scenes_they_never_saw():
    env = make_env(seed=1)  # other scenes than any they were trained, chosen or tested on
    correct = {
        name: evaluate(agents.make_agent(name, env), env, num_scenes=ROWS, progress=False).columns[
            "correct"
        ]
        for name in (*NAMES, "random")
    }
    assert correct["ppo"][:, 4].mean() >= 0.5
    assert correct["guided"][:, 4].mean() >= 0.8
    assert correct["ppo"][:, 8].mean() >= 0.95
    assert correct["guided"][:, 8].mean() >= 0.95
    assert correct["random"][:, 8].mean() <= 0.5


@pytest.mark.parametrize("name", NAMES)
def test_its_card_says_how_it_was_trained(name):
    folder = SHIPPED / name
    description = json.loads((folder / AGENT_FILE).read_text())
    card = (folder / "README.md").read_text()
    assert description["agent"] == name
    assert description["encoder_hash"][:12] in card
    assert f"{description['timesteps']:,}" in card
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 5e6
    assert (folder / POLICY_FILE).is_file()


@pytest.mark.parametrize("agent", NAMES)
def test_it_refuses_beliefs_of_another_encoder(agent):
    with pytest.raises(ValueError, match="trained with encoder 'tore-nano'"):
        agents.make_agent(agent, tiny_vector_env(2, observe=OBSERVABLES))


@pytest.mark.parametrize("agent", NAMES)
@pytest.mark.parametrize(
    ("name", "value"), [("split_block", 2), ("glimpse_size", 3), ("wrap_azimuth", True)]
)
def test_it_refuses_other_glimpses(agent, name, value):
    with pytest.raises(ValueError, match=f"trained with {name}=.* has {name}={value}"):
        agents.make_agent(agent, make_env(**{name: value}))

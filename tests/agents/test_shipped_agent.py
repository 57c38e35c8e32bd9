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

FOLDER = Path(agents.__file__).parent / "pretrained" / "ppo"
ROWS = 100


def make_env(**settings):
    return ActiveExplorationVectorEnv(
        ROWS, split="test", observe=OBSERVABLES, autoreset_mode="DISABLED", **settings
    )


def test_it_finds_the_landmarks_of_scenes_it_never_saw():
    env = make_env(seed=1)  # other scenes than any it was trained, chosen or tested on
    ppo, random = (
        evaluate(agents.make_agent(name, env), env, num_scenes=ROWS, progress=False)
        for name in ("ppo", "random")
    )
    ppo, random = (evaluation.columns["correct"] for evaluation in (ppo, random))
    assert ppo[:, 4].mean() >= 0.5
    assert ppo[:, 8].mean() >= 0.95
    assert random[:, 8].mean() <= 0.5


def test_its_card_says_how_it_was_trained():
    description = json.loads((FOLDER / AGENT_FILE).read_text())
    card = (FOLDER / "README.md").read_text()
    assert description["encoder_hash"][:12] in card
    assert f"{description['timesteps']:,}" in card
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 1e6
    assert (FOLDER / POLICY_FILE).is_file()


def test_it_refuses_beliefs_of_another_encoder():
    with pytest.raises(ValueError, match="trained with encoder 'tore-nano'"):
        agents.make_agent("ppo", tiny_vector_env(2, observe=OBSERVABLES))


@pytest.mark.parametrize(
    ("name", "value"), [("split_block", 2), ("glimpse_size", 3), ("wrap_azimuth", True)]
)
def test_it_refuses_other_glimpses(name, value):
    with pytest.raises(ValueError, match=f"trained with {name}=.* has {name}={value}"):
        agents.make_agent("ppo", make_env(**{name: value}))

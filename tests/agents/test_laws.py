"""Our own agents keep the laws that users can hold theirs to, and broken ones are found."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import SETTINGS, MemoryScenes, tiny_encoder

from agents import Agent, list_agents
from agents.registry import agent_class
from agents.testing import check_agent

PARTS = {**SETTINGS, "num_glimpses": 3}


def parts():
    return {**PARTS, "scenes": MemoryScenes(), "encoder": tiny_encoder()}


# `regions` keeps them with an encoder that has some: test_regions.py.
@pytest.mark.parametrize("name", [name for name in list_agents() if name != "regions"])
def test_our_agents_keep_the_laws(name):
    check_agent(agent_class(name), **parts())


class FirstPlace(Agent):
    """Takes the first place that shows something new."""

    name = "first_place"

    def choose(self, observation, deterministic):
        return self.sensor.reveals(observation["visited"]).argmax(axis=1).astype(np.int64)


class Writes(FirstPlace):
    def choose(self, observation, deterministic):
        observation["visited"][:] = 0
        return super().choose(observation, deterministic)


class OutOfRange(FirstPlace):
    def choose(self, observation, deterministic):
        return super().choose(observation, deterministic) + self.sensor.num_actions


class LooksAtOtherRows(FirstPlace):
    def choose(self, observation, deterministic):
        actions = super().choose(observation, deterministic)
        return actions + np.arange(len(actions))


class Unseeded(FirstPlace):
    def choose(self, observation, deterministic):
        rng = np.random.default_rng()
        return rng.integers(self.sensor.num_actions, size=len(observation["visited"]))


class Cheats(FirstPlace):
    def __init__(self, env, seed=0):
        super().__init__(env, seed)
        self.env = env.unwrapped

    def choose(self, observation, deterministic):
        actions = super().choose(observation, deterministic)
        return (actions + int(self.env.scene_ids.sum())) % self.sensor.num_actions


class NeverAsks(FirstPlace):
    required = ("logits",)

    def __init__(self, env, seed=0):
        self.sensor = env.unwrapped.sensor
        self.random = np.random.default_rng(seed)


def test_a_good_agent_passes():
    check_agent(FirstPlace, **parts())


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (Writes, "wrote into the observation 'visited'"),
        (OutOfRange, "is no member of"),
        (LooksAtOtherRows, "row 1 alone is given"),
        (Unseeded, "two agents of one seed differ"),
        (Cheats, "depends on more than the observation"),
        (NeverAsks, "accepts an environment without them"),
    ],
)
def test_a_broken_law_is_named(broken, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_agent(broken, **parts())

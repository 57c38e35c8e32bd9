"""A learner: which place is worth a look at which time, by trying them.

train_agent.py --policy places:PlaceLearner -n 20000
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from agents import Agent, Learner, register_learner
from agents.learning.boundary import environment_state, restore_environment
from agents.learning.record import AGENT_FILE, read_agent
from ave_env.sensors.base import FiniteSensor
from ave_env.vector import ActiveExplorationVectorEnv
from encoders.support.files import replacing, write_json

VALUES_FILE = "values.json"
STATE_FILE = "training_state.pt"


class PlaceAgent(Agent):
    """Takes the place that has paid best at this time of an episode, of those that show more.

    Args:
        env: The environment it will act in.
        seed: Not used.
        values: What each place has paid on average at each time, `[T][places]`.
    """

    name = "places"
    sensors = (FiniteSensor,)

    def __init__(
        self, env: gym.Env | gym.vector.VectorEnv, seed: int = 0, values: Any = None
    ) -> None:
        super().__init__(env, seed)
        self.values = np.asarray(values, np.float64)
        if self.values.ndim != 2 or self.values.shape[1] != self.sensor.num_actions:
            raise ValueError(
                f"values of {self.values.shape} for a sensor with {self.sensor.num_actions} places"
            )

    def choose(self, observation: dict[str, np.ndarray], deterministic: bool) -> np.ndarray:
        """Actions int64 `[N]`."""
        time = np.rint(observation["progress"][:, 0] * len(self.values)).astype(np.int64)
        values = self.values[time.clip(max=len(self.values) - 1)]
        return np.where(self.sensor.reveals(observation["visited"]), values, -np.inf).argmax(axis=1)


@dataclasses.dataclass(frozen=True)
class PlaceConfig:
    """Hyper-parameters.

    Attributes:
        exploration: Share of glimpses that go to any place that shows something new.
    """

    exploration: float = 0.2


@register_learner
class PlaceLearner(Learner):
    """Keeps the mean reward of every place at every time, and mostly takes the best."""

    name = "places"
    config_class = PlaceConfig
    agent_class = PlaceAgent

    def __init__(
        self,
        env: ActiveExplorationVectorEnv,
        config: PlaceConfig,
        *,
        seed: int = 0,
        tensorboard_log: str | None = None,
        made_with: Mapping[str, str | None] | None = None,
    ) -> None:
        if not isinstance(env.sensor, FiniteSensor):
            raise ValueError(f"places learns for finite sensors, not for {env.sensor.name!r}")
        self.env = env
        self.sensor = env.sensor
        self.config = config
        self.made_with = dict(made_with or {})
        self.random = np.random.default_rng(seed)
        shape = (env.num_glimpses, env.sensor.num_actions)
        self.sums, self.counts = np.zeros(shape), np.zeros(shape)
        self._steps = 0
        self._observation, _ = env.reset(seed=seed)

    @property
    def num_timesteps(self) -> int:
        """Environment steps so far."""
        return self._steps

    @property
    def values(self) -> np.ndarray:
        """Mean reward of every place at every time; places not tried yet are worth most."""
        return np.where(self.counts, self.sums / self.counts.clip(min=1), 1e9)

    def learn(
        self,
        total_timesteps: int,
        between: Callable[[], None] | None = None,
        progress: bool = False,
    ) -> None:
        """One stretch is one episode in every row."""
        while self._steps < total_timesteps:
            if between is not None:
                between()
            for time in range(self.env.num_glimpses):
                useful = self.sensor.reveals(self._observation["visited"])
                scores = np.where(useful, self.values[time], -np.inf)
                anywhere = self.random.random(useful.shape) * useful
                explores = self.random.random(len(useful)) < self.config.exploration
                actions = np.where(explores, anywhere.argmax(axis=1), scores.argmax(axis=1))
                self._observation, rewards, *_ = self.env.step(actions)
                np.add.at(self.sums[time], actions, rewards)
                np.add.at(self.counts[time], actions, 1)
                self._steps += len(actions)

    def log(self, values: Mapping[str, float]) -> None:
        """Prints them; an algorithm with a TensorBoard of its own would write there."""
        print(", ".join(f"{name} {value:.3f}" for name, value in values.items()))

    def save(self, folder: Path) -> None:
        """Writes `agent.json` and the values."""
        write_json(folder / VALUES_FILE, self.values.tolist())
        environment = {**self.made_with, "num_glimpses": self.env.num_glimpses}
        description = {
            "agent": self.recorded_name(),
            "timesteps": self._steps,
            "encoder_options": self.env.observer.options if self.env.observer else {},
            "environment": {**environment, "task": self.env.configuration.task},
        }
        write_json(folder / AGENT_FILE, description)

    def save_state(self, folder: Path) -> None:
        """Writes what `load_state` needs."""
        state = {
            "sums": torch.from_numpy(self.sums),
            "counts": torch.from_numpy(self.counts),
            "steps": self._steps,
            "generator": json.dumps(self.random.bit_generator.state),
            **environment_state(self.env),
        }
        with replacing(folder / STATE_FILE) as partial:
            torch.save(state, partial)

    def load_state(self, folder: Path) -> None:
        """Goes on from the last episode that was finished."""
        if not (folder / STATE_FILE).is_file():
            raise FileNotFoundError(f"{folder}: no {STATE_FILE} to resume from")
        state = torch.load(folder / STATE_FILE, weights_only=True)
        self._observation = restore_environment(self.env, state, str(folder / STATE_FILE))
        self.sums, self.counts = state["sums"].numpy(), state["counts"].numpy()
        self._steps = state["steps"]
        self.random.bit_generator.state = json.loads(state["generator"])

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], env: gym.Env | gym.vector.VectorEnv, seed: int = 0
    ) -> PlaceAgent:
        """Reads the agent back."""
        read_agent(folder)  # says what is missing
        values = json.loads(Path(folder, VALUES_FILE).read_text("utf-8"))
        return PlaceAgent(env, seed, values)

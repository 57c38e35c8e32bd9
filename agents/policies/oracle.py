"""An upper bound that is told the label."""

from __future__ import annotations

from typing import Any, Self

import gymnasium as gym
import numpy as np
import torch

from agents.base import Agent, Observation
from ave_env.sensors.base import FiniteSensor


class OracleAgent(Agent):
    """Greedy with the label in hand: tries every glimpse and takes the one that helps most.

    Each candidate is encoded on a fork of the row's token cache; the one after which the true class
    is most probable is chosen. One step of foresight, so an upper bound for greedy policies only.

    Args:
        env: A vector environment, or a single one, whose encoder has a class head.
        seed: Not used.
        batch_size: Candidates encoded at a time.
    """

    name = "oracle"
    required = ("logits",)
    sensors = (FiniteSensor,)
    tasks = ("classification",)
    privileged = True

    def __init__(
        self, env: gym.Env | gym.vector.VectorEnv, seed: int = 0, batch_size: int = 1024
    ) -> None:
        super().__init__(env, seed)
        base: Any = env.unwrapped
        self.env = base
        self.batch_size = batch_size
        observer = base.observer
        per_glimpse = self.sensor.patches_per_glimpse
        self.flops_per_action = self.sensor.num_actions * int(
            observer.encoder.flops(
                per_glimpse,
                per_glimpse * (base.configuration.num_glimpses - 1),
                **observer.options,
                outputs=("logits",),
            ).total
        )

    def for_env(self, env: gym.Env | gym.vector.VectorEnv, seed: int) -> Self:
        """The same in another environment, whose labels it is told instead."""
        return type(self)(env, seed, self.batch_size)

    def choose(self, observation: Observation, deterministic: bool) -> np.ndarray:
        """Takes the glimpse after which the label is most probable."""
        visited = observation["visited"]
        rows, actions = np.nonzero(self.sensor.reveals(visited))
        gains = np.full((len(visited), self.sensor.num_actions), -np.inf)
        for start in range(0, len(rows), self.batch_size):
            part = slice(start, start + self.batch_size)
            gains[rows[part], actions[part]] = self._log_probability(
                visited, rows[part], actions[part]
            )
        return gains.argmax(axis=1)

    def _log_probability(
        self, visited: np.ndarray, rows: np.ndarray, actions: np.ndarray
    ) -> np.ndarray:
        """Log-probability of the label after each candidate glimpse, float64 `[candidates]`."""
        observer = self.env.observer
        glimpse = self.sensor.look(self.env.images[rows], actions, ())
        ids = glimpse.patch_ids
        seen = visited.reshape(len(visited), -1)[rows[:, None], ids].astype(bool)
        belief, _ = observer.encode(
            glimpse.patches,
            np.where(seen, -1, ids),
            observer.state.select(torch.from_numpy(rows)),
            outputs=("logits",),
        )
        scores = belief.logits.double().log_softmax(dim=1).cpu().numpy()
        return scores[np.arange(len(rows)), self.env.labels[rows]]

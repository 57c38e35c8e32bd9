"""Upper bounds: one that is told the label, and one that sees the whole scene without it."""

from __future__ import annotations

from typing import Any, Self

import gymnasium as gym
import numpy as np
import torch

from agents.base import Agent, Observation
from ave_env.sensors.base import FiniteSensor
from ave_env.sensors.grid import cut_into_patches


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
        """Takes the glimpse that helps most."""
        visited = observation["visited"]
        truth = self._truth()
        rows, actions = np.nonzero(self.sensor.reveals(visited))
        gains = np.full((len(visited), self.sensor.num_actions), -np.inf)
        for start in range(0, len(rows), self.batch_size):
            part = slice(start, start + self.batch_size)
            scores = self._log_probabilities(visited, rows[part], actions[part])
            gains[rows[part], actions[part]] = (truth[rows[part]] * scores).sum(axis=1)
        return gains.argmax(axis=1)

    def _truth(self) -> np.ndarray:
        """What classes are taken to be true of the rows' scenes, float64 `[rows, classes]`."""
        return np.eye(self.env.observer.encoder.config.num_classes)[self.env.labels]

    def _log_probabilities(
        self, visited: np.ndarray, rows: np.ndarray, actions: np.ndarray
    ) -> np.ndarray:
        """Those of all classes after each candidate glimpse, float64 `[candidates, classes]`."""
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
        return belief.logits.double().log_softmax(dim=1).cpu().numpy()


class UnlabelledOracleAgent(OracleAgent):
    """Greedy with the whole scene in hand, but not its label.

    As `OracleAgent`, but in place of the true class it takes what the encoder believes once it has
    seen all of the scene: the glimpse is chosen that raises the expected log-probability most. What
    is lost between it and the encoder's accuracy on whole scenes, no choice of glimpses one step
    ahead can bring back.

    Args:
        env: As for `OracleAgent`.
        seed: Not used.
        batch_size: Candidates encoded at a time.
    """

    name = "oracle_unlabelled"

    def __init__(
        self, env: gym.Env | gym.vector.VectorEnv, seed: int = 0, batch_size: int = 1024
    ) -> None:
        super().__init__(env, seed, batch_size)
        observer = self.env.observer
        self.flops_per_action += int(
            observer.encoder.flops(
                self._num_patches, 0, **observer.options, outputs=("logits",)
            ).total
        )

    def _truth(self) -> np.ndarray:
        observer, images = self.env.observer, self.env.images
        found = []
        for start in range(0, len(images), self._scenes_at_a_time):
            patches = self._patches_of_whole_scenes(images[start : start + self._scenes_at_a_time])
            count, number = patches.shape[:2]
            ids = np.tile(np.arange(number), (count, 1))
            state = observer.encoder.init_state(count)
            belief, _ = observer.encode(patches, ids, state, outputs=("logits",))
            found.append(belief.logits.double().softmax(dim=1).cpu().numpy())
        return np.concatenate(found)

    @property
    def _scenes_at_a_time(self) -> int:
        return max(1, self.batch_size * self.sensor.patches_per_glimpse // self._num_patches)

    @property
    def _num_patches(self) -> int:
        rows, columns = self.sensor.grid
        return rows * columns

    def _patches_of_whole_scenes(self, images: np.ndarray) -> np.ndarray:
        """Patches in row-major order, uint8 `[scenes, G, p, p, 3]`."""
        return cut_into_patches(images, images.shape[1] // self.sensor.grid[0])

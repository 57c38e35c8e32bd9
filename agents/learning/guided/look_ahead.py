"""What the next glimpse would gain, tried on forks of what the encoder remembers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ave_env.tasks.base import Truth
from ave_env.tasks.reconstruction import with_reconstruction
from ave_env.vector import ActiveExplorationVectorEnv


class LookAhead:
    """Tries glimpses that are not taken.

    Each is encoded on a fork of every row's memory, and the task scores the belief it leads to:
    what the environment would pay as reward for that glimpse. It needs what rewards are made of,
    such as the class of a scene, and so serves in training only.

    Args:
        env: Vector environment with an encoder.
        precision: Of the encoder's matrix products.

    Attributes:
        flops: Multiply-accumulates taken so far.
    """

    def __init__(self, env: ActiveExplorationVectorEnv, precision: str = "auto") -> None:
        assert env.observer is not None
        self.env = env
        self.flops = 0
        self._observer = env.observer.asked_for(env.task.requires, precision)

    def gains(self, rows: Tensor, windows: Tensor) -> Tensor:
        """What the score of some rows would gain by each of some glimpses.

        Args:
            rows: int64 `[R]`, named once each.
            windows: int64 `[R, C]`, C glimpses to try in each of them.

        Returns:
            float32 `[R, C]`; 0 where a glimpse would show nothing new.
        """
        chosen = rows.numpy()
        truth = self._truth_of(chosen)
        before = self.env.scores[chosen]
        tried = [self._scores(rows, truth, column) - before for column in windows.numpy().T]
        return torch.from_numpy(np.stack(tried, axis=1).astype(np.float32))

    def _truth_of(self, rows: np.ndarray) -> Truth:
        """What is so in some rows, in memory of its own."""
        truth = self.env.truth
        return Truth(
            truth.images[rows],
            truth.labels[rows],
            truth.visited[rows],
            {name: [values[row] for row in rows] for name, values in truth.targets.items()},
        )

    def _scores(self, rows: Tensor, truth: Truth, windows: np.ndarray) -> np.ndarray:
        """Scores of some rows after a glimpse each, float64 `[R]`."""
        env, observer = self.env, self._observer
        sensor: Any = env.sensor
        glimpse = sensor.look(truth.images, windows, ())
        numbers = np.arange(len(windows))[:, None]
        visited = truth.visited.reshape(len(windows), -1).copy()
        seen = visited[numbers, glimpse.patch_ids].astype(np.bool_)
        visited[numbers, glimpse.patch_ids] = 1
        new = np.where(seen, -1, glimpse.patch_ids)
        # The memory of the rows as it is, the glimpse on top; the original stays untouched.
        fork = observer.state.select(rows)
        observed = observer.encode(glimpse.patches, new, fork, observer.outputs)
        self.flops += int(np.sum(observed.cost.spent.total))
        after = dataclasses.replace(truth, visited=visited.reshape(truth.visited.shape))
        belief = observer.parts_of(observed.belief)
        return env.task.score(with_reconstruction(belief, after.images, after.visited), after)

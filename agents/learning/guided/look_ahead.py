"""What the next glimpse would gain, tried on forks of what the encoder remembers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

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

    def gains(self, windows: Tensor) -> Tensor:
        """What the score of every row would gain by each of some glimpses.

        Args:
            windows: int64 `[N, C]`, C glimpses to try in each row.

        Returns:
            float32 `[N, C]`; 0 where a glimpse would show nothing new.
        """
        before = self.env.scores
        tried = [self._scores(column) - before for column in windows.numpy().T]
        return torch.from_numpy(np.stack(tried, axis=1).astype(np.float32))

    def _scores(self, windows: np.ndarray) -> np.ndarray:
        """Scores of all rows after a glimpse each, float64 `[N]`."""
        env, observer = self.env, self._observer
        sensor: Any = env.sensor
        glimpse = sensor.look(env.images, windows, ())
        rows = np.arange(len(windows))[:, None]
        visited = env.visited.reshape(len(windows), -1).copy()
        seen = visited[rows, glimpse.patch_ids].astype(np.bool_)
        visited[rows, glimpse.patch_ids] = 1
        new = np.where(seen, -1, glimpse.patch_ids)
        # The memory of every row as it is, the glimpse on top; the original stays untouched.
        observed = observer.encode(glimpse.patches, new, observer.state.fork(), observer.outputs)
        self.flops += int(np.sum(observed.cost.spent.total))
        truth = dataclasses.replace(env.truth, visited=visited.reshape(env.visited.shape))
        belief = observer.parts_of(observed.belief)
        return env.task.score(with_reconstruction(belief, env.images, truth.visited), truth)

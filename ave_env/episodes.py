"""The state of many episodes, as arrays with one row each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ave_env.sensors.base import Glimpse, Sensor
from encoders.flops.count import PARTS as FLOP_PARTS

Rows = slice | np.ndarray

EVERY_ROW = slice(None)


class Episodes:
    """What has happened so far in the episode of every row.

    All of it is owned by the environment: what is handed out is copied first.

    Args:
        num_rows: N.
        sensor: Decides what an action reveals.
        num_glimpses: Most glimpses in an episode.
        targets: Names of what else is known of each scene.
        stop_when_all_seen: Whether an episode ends once there is nothing new to see.

    Attributes:
        images: The scenes, uint8 `[N, H, W, 3]`.
        scene_ids: Numbers of the scenes, int64 `[N]`.
        labels: Their classes, int64 `[N]`.
        steps: Glimpses taken, int64 `[N]`.
        visited: Patches seen, uint8 0/1 `[N, grid_h, grid_w]`.
        num_seen: How many patches those are, int64 `[N]`.
        targets: What else the task asked of the scenes, by name, one entry per row.
        glimpses: Pixels of the newest glimpse, uint8 `[N, h, w, 3]`; zeros before the first.
        positions: Its centre (y, x) in [0, 1], float32 `[N, 2]`; zeros before the first.
        boxes: Its pixels (y0, x0, y1, x1), int64 `[N, 4]`; zeros before the first.
        path: The boxes of all glimpses taken, int64 `[N, num_glimpses, 4]`, of which `steps` count.
        tokens: What the encoder remembers, in its own unit, int64 `[N]`.
        flops: Multiply-accumulates of the last step by `FLOP_PARTS`, int64 `[4, N]`.
        flops_total: Multiply-accumulates of the episode so far, int64 `[N]`.
        flops_without_recycling: What the last step would have cost without the cache, int64 `[N]`.
        flops_without_recycling_total: The same for the episode so far, int64 `[N]`.
        scores: The task's score of the belief, float64 `[N]`.
        rewards: Reward of the last step, float64 `[N]`.
    """

    def __init__(
        self,
        num_rows: int,
        sensor: Sensor,
        num_glimpses: int,
        targets: Sequence[str] = (),
        *,
        stop_when_all_seen: bool = False,
    ) -> None:
        self._enough = sensor.num_visible if stop_when_all_seen else sys.maxsize
        self.images = np.zeros((num_rows, *sensor.image_size, 3), np.uint8)
        self.scene_ids = np.zeros(num_rows, np.int64)
        self.labels = np.zeros(num_rows, np.int64)
        self.steps = np.zeros(num_rows, np.int64)
        self.visited = np.zeros((num_rows, *sensor.grid), np.uint8)
        self.num_seen = np.zeros(num_rows, np.int64)
        self.glimpses = np.zeros((num_rows, *sensor.glimpse_shape), np.uint8)
        self.positions = np.zeros((num_rows, 2), np.float32)
        self.boxes = np.zeros((num_rows, 4), np.int64)
        self.path = np.zeros((num_rows, num_glimpses, 4), np.int64)
        self.targets: dict[str, list[Any]] = {name: [None] * num_rows for name in targets}
        self.tokens = np.zeros(num_rows, np.int64)
        self.flops = np.zeros((len(FLOP_PARTS), num_rows), np.int64)
        self.flops_total = np.zeros(num_rows, np.int64)
        self.flops_without_recycling = np.zeros(num_rows, np.int64)
        self.flops_without_recycling_total = np.zeros(num_rows, np.int64)
        self.scores = np.zeros(num_rows)
        self.rewards = np.zeros(num_rows)

    @property
    def used_up(self) -> np.ndarray:
        """Rows whose glimpses are used up, bool `[N]`."""
        return self.steps >= self.num_glimpses

    @property
    def ended(self) -> np.ndarray:
        """Rows whose glimpses are used up or that have seen enough, bool `[N]`."""
        return self.used_up | (self.num_seen >= self._enough)

    @property
    def num_glimpses(self) -> int:
        """Most glimpses in an episode."""
        return self.path.shape[1]

    def clear(self, rows: Rows) -> None:
        """Forgets everything about some rows but their scenes and scores."""
        for name in _CLEARED:
            getattr(self, name)[rows] = 0
        self.flops[:, rows] = 0

    def rest(self, rows: Rows) -> None:
        """Takes a step in which nothing happens in some rows."""
        self.flops[:, rows] = 0
        self.flops_without_recycling[rows] = 0
        self.rewards[rows] = 0.0

    def add(self, glimpse: Glimpse, rows: Rows) -> np.ndarray:
        """Writes down one glimpse in each of some rows.

        Args:
            glimpse: What the sensor has shown, one entry for each of the rows.
            rows: Which rows looked; `slice(None)` for all.

        Returns:
            Which of the glimpse's patches were not seen before, bool `[R, n]`.
        """
        numbers = np.arange(len(self.steps))[rows]
        patch_ids = glimpse.patch_ids
        visited = self.visited.reshape(len(self.visited), -1)
        new = visited[numbers[:, None], patch_ids] == 0
        if patch_ids.min(initial=0) < 0:  # -1 = no patch, but indexes the last one
            new &= patch_ids >= 0
            row, place = new.nonzero()
            visited[numbers[row], patch_ids[row, place]] = 1
        else:
            visited[numbers[:, None], patch_ids] = 1
        self.num_seen[rows] += new.sum(axis=1)
        self.path[numbers, self.steps[rows]] = glimpse.boxes
        self.steps[rows] += 1
        if isinstance(rows, slice):  # all rows: the new array is as good as a copy of it
            self.glimpses = glimpse.pixels
        else:
            self.glimpses[rows] = glimpse.pixels
        self.positions[rows] = glimpse.centers
        self.boxes[rows] = glimpse.boxes
        return new

    def charge(self, spent: np.ndarray, from_scratch: np.ndarray, rows: Rows) -> None:
        """Writes down what the encoder has done in the last step.

        Args:
            spent: What that has cost, by `FLOP_PARTS`, int64 `[4, N]`.
            from_scratch: What it would have cost without recycling, int64 `[N]`.
            rows: Rows that took part in the step; the others cost nothing.
        """
        self.flops[:, rows] = spent[:, rows]
        self.flops_total += spent.sum(axis=0)
        self.flops_without_recycling[rows] = from_scratch[rows]
        self.flops_without_recycling_total += from_scratch


_CLEARED = (
    "steps",
    "visited",
    "num_seen",
    "glimpses",
    "positions",
    "boxes",
    "tokens",
    "flops_total",
    "flops_without_recycling",
    "flops_without_recycling_total",
    "rewards",
)

"""Who chooses the glimpses that an encoder is trained on."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from encoders.training.config import TrainingConfig
from encoders.training.glimpses import full_view, random_glimpses, random_tiles


class GlimpseSource(Protocol):
    """Chooses which patches of each training image are seen."""

    def __call__(
        self, indices: np.ndarray, rng: np.random.Generator, warming_up: bool
    ) -> np.ndarray:
        """Chooses glimpses.

        Args:
            indices: Numbers of the images, int64 `[B]`.
            rng: Of this batch.
            warming_up: Whether the run is still getting the classifier off its plateau.

        Returns:
            Patch ids int64 `[B, T, n]`, -1 = padding.
        """


class RandomGlimpses:
    """The default glimpse source: random windows, random in number, the same number in a batch.

    Half of the batches draw windows anywhere, half draw them from a tiling.

    Args:
        config: Counts and probabilities.
        grid: Rows and columns of patches.
        rows_apart: Draw number and kind of the windows for every image of a batch, by the same
            probabilities; shorter rows are padded.
    """

    def __init__(
        self, config: TrainingConfig, grid: tuple[int, int], rows_apart: bool = False
    ) -> None:
        self.config = config
        self.grid = grid
        self.rows_apart = rows_apart

    def __call__(
        self, indices: np.ndarray, rng: np.random.Generator, warming_up: bool
    ) -> np.ndarray:
        """Patch ids int64 `[B, T, n]` for a batch of images; -1 where seen before."""
        if not self.rows_apart:
            return self._draw(len(indices), rng, warming_up)
        rows = [self._draw(1, rng, warming_up)[0] for _ in indices]
        longest = max((len(row) for row in rows), default=0)
        ids = np.full((len(rows), longest, self.config.glimpse_size**2), -1, np.int64)
        for target, row in zip(ids, rows, strict=True):
            target[: len(row)] = row
        return ids

    def _draw(self, count_rows: int, rng: np.random.Generator, warming_up: bool) -> np.ndarray:
        config, size = self.config, self.config.glimpse_size
        if warming_up:
            count = int(rng.integers(config.max_glimpses // 2, 2 * config.max_glimpses + 1))
            return random_tiles(rng, count_rows, count, self.grid, size)
        draw = rng.random()
        if draw < config.full_view_probability:
            return full_view(count_rows, self.grid, size)
        if draw < config.full_view_probability + config.blind_probability:
            count = 0
        else:
            count = int(rng.integers(1, config.max_glimpses + 1))
        windows = random_tiles if rng.random() < 0.5 else random_glimpses
        return windows(rng, count_rows, count, self.grid, size)

"""Whole images to train on, divided into parts as TORE is trained, or in one piece."""

from __future__ import annotations

import numpy as np

from encoders.layers.divisions import Division, divisions, part_ids


class WholeViews:
    """A glimpse source of images in one piece: training as without TORE.

    Args:
        grid: Rows and columns of patches.
    """

    def __init__(self, grid: tuple[int, int]) -> None:
        self.grid = grid
        self._ids = np.arange(grid[0] * grid[1])

    def __call__(
        self, indices: np.ndarray, rng: np.random.Generator, warming_up: bool
    ) -> np.ndarray:
        """Patch ids int64 `[B, 1, G]`."""
        return np.broadcast_to(self._ids, (len(indices), 1, len(self._ids)))


class DividedViews:
    """A glimpse source of images in M parts, M and the orientation drawn for every batch.

    Source: "Token Recycling for Efficient Sequential Inference with Vision Transformers" (TORE),
    WACV 2025: M is uniform over the numbers of parts, and both orientations are equally likely.

    Args:
        grid: Rows and columns of patches.
        parts: Numbers of parts; None = all that the grid can be divided into.
        visible: Share of the patches that is seen, drawn anew for every image, as a masked
            autoencoder is trained; 1 = all of them.

    Raises:
        ValueError: A grid that cannot be divided so, or a share outside (0, 1].
    """

    def __init__(
        self, grid: tuple[int, int], parts: tuple[int, ...] | None = None, visible: float = 1.0
    ) -> None:
        if not 0 < visible <= 1:
            raise ValueError(f"visible={visible}; expected more than 0, and at most 1")
        self.grid, self.visible = grid, visible
        self.ways: dict[int, list[Division]] = {}
        for way in divisions(grid, parts):
            self.ways.setdefault(way.parts, []).append(way)
        self._counts = list(self.ways)

    def draw(self, rng: np.random.Generator) -> Division:
        """A division for one batch."""
        oriented = self.ways[self._counts[int(rng.integers(len(self._counts)))]]
        return oriented[int(rng.integers(len(oriented)))]

    def __call__(
        self, indices: np.ndarray, rng: np.random.Generator, warming_up: bool
    ) -> np.ndarray:
        """Patch ids int64 `[B, M, n]`; -1 where a part has fewer patches, or one is not seen."""
        ids = part_ids(self.draw(rng).labels(self.grid))
        if self.visible == 1:
            return np.broadcast_to(ids, (len(indices), *ids.shape))
        patches = self.grid[0] * self.grid[1]
        kept = max(int(patches * self.visible), 1)
        ranks = rng.random((len(indices), patches)).argsort(axis=1).argsort(axis=1)
        seen = np.concatenate([ranks < kept, np.zeros((len(indices), 1), bool)], axis=1)
        return np.where(seen[:, ids], ids, -1)  # -1 takes the last column

"""Random glimpse sets to train on."""

from __future__ import annotations

import numpy as np


def window_patch_ids(grid: tuple[int, int], glimpse_size: int) -> np.ndarray:
    """Patch ids of every window of a grid, row-major.

    Args:
        grid: Rows and columns of patches.
        glimpse_size: Side of a window in patches.

    Returns:
        int64 `[windows, glimpse_size**2]`.
    """
    rows, columns = grid
    ids = np.arange(rows * columns).reshape(grid)
    windows = np.lib.stride_tricks.sliding_window_view(ids, (glimpse_size, glimpse_size))
    return windows.reshape(-1, glimpse_size**2).astype(np.int64)


def drop_repeated(patch_ids: np.ndarray, num_patches: int) -> np.ndarray:
    """Replaces every id that an earlier glimpse of its row holds by -1.

    Args:
        patch_ids: int64 `[B, T, n]`, -1 = padding; ids of one glimpse differ.
        num_patches: Patches in the grid.
    """
    result = patch_ids.copy()
    seen = np.zeros((len(patch_ids), num_patches + 1), bool)
    seen[:, -1] = True  # -1 indexes the last column: padding counts as seen
    rows = np.arange(len(patch_ids))[:, None]
    for step in range(patch_ids.shape[1]):
        ids = patch_ids[:, step]
        result[:, step] = np.where(seen[rows, ids], -1, ids)
        seen[rows, ids] = True
    return result


def random_glimpses(
    rng: np.random.Generator,
    batch_size: int,
    num_glimpses: int,
    grid: tuple[int, int],
    glimpse_size: int,
) -> np.ndarray:
    """Windows drawn uniformly over all positions, patches seen twice dropped.

    Returns:
        int64 `[B, T, glimpse_size**2]`, -1 where a patch was seen before.
    """
    windows = window_patch_ids(grid, glimpse_size)
    chosen = windows[rng.integers(len(windows), size=(batch_size, num_glimpses))]
    return drop_repeated(chosen, grid[0] * grid[1])


def random_tiles(
    rng: np.random.Generator,
    batch_size: int,
    num_glimpses: int,
    grid: tuple[int, int],
    glimpse_size: int,
) -> np.ndarray:
    """Windows that never overlap: random fields of a tiling whose origin is drawn for the batch.

    Returns:
        int64 `[B, T, glimpse_size**2]`, with T at most the number of fields.
    """
    offsets = [rng.integers(min(glimpse_size, side - glimpse_size + 1)) for side in grid]
    tops, lefts = (
        np.arange(offset, side - glimpse_size + 1, glimpse_size)
        for offset, side in zip(offsets, grid, strict=True)
    )
    columns = grid[1] - glimpse_size + 1
    tiles = window_patch_ids(grid, glimpse_size)[(tops[:, None] * columns + lefts).ravel()]
    order = rng.random((batch_size, len(tiles))).argsort(axis=1)
    return tiles[order[:, :num_glimpses]]


def full_view(batch_size: int, grid: tuple[int, int], glimpse_size: int) -> np.ndarray:
    """Every patch once, as a tiling of glimpses; edge tiles of odd grids are padded with -1.

    Returns:
        int64 `[B, T, glimpse_size**2]`.
    """
    ids = np.arange(grid[0] * grid[1]).reshape(grid)
    pad = [(0, -side % glimpse_size) for side in grid]
    ids = np.pad(ids, pad, constant_values=-1)
    rows, columns = (side // glimpse_size for side in ids.shape)
    fields = ids.reshape(rows, glimpse_size, columns, glimpse_size).swapaxes(1, 2)
    tiles = fields.reshape(-1, glimpse_size**2).astype(np.int64)
    return np.broadcast_to(tiles, (batch_size, *tiles.shape))

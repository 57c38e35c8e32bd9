"""Where an agent looks."""

from __future__ import annotations

import dataclasses

import numpy as np

from agents.evaluation.comparison import AgentResult, Comparison


@dataclasses.dataclass(frozen=True, eq=False)
class Gaze:
    """How often patches were looked at, as shares of the scenes.

    Attributes:
        by_glimpse: In glimpse t, float64 `[T, rows, columns]`.
        in_episode: In any glimpse, float64 `[rows, columns]`.
    """

    by_glimpse: np.ndarray
    in_episode: np.ndarray


def gaze_of(comparison: Comparison, result: AgentResult) -> Gaze:
    """Where an agent of a comparison looked, mean over its seeds."""
    settings = comparison.record["environment"]["kwargs"]
    patch_size = settings["patch_size"]
    height, width = settings["image_size"]
    grid = (height // patch_size, width // patch_size)
    seeds = [measure_gaze(one.boxes[:, 1:], grid, patch_size) for one in result.evaluations]
    return Gaze(
        np.mean([one.by_glimpse for one in seeds], axis=0),
        np.mean([one.in_episode for one in seeds], axis=0),
    )


def measure_gaze(boxes: np.ndarray, grid: tuple[int, int], patch_size: int) -> Gaze:
    """How often each patch was looked at: where a glimpse overlaps it, wholly or in part.

    Args:
        boxes: Glimpses in pixels (y0, x0, y1, x1), `[N, T, 4]`; those beyond the right edge go on
            at the left one.
        grid: Rows and columns of patches.
        patch_size: Side of a patch in pixels.
    """
    rows, columns = grid
    y0, x0, y1, x1 = np.moveaxis(boxes, -1, 0)[..., None]
    down = _overlaps(y0, y1, rows, patch_size)
    twice = _overlaps(x0, x1, 2 * columns, patch_size)  # as if the scene went on at the right
    across = np.asarray(twice.reshape(*boxes.shape[:2], 2, columns).any(axis=2))
    looked = down[..., :, None] & across[..., None, :]
    return Gaze(looked.mean(axis=0), looked.any(axis=1).mean(axis=0))


def _overlaps(begin: np.ndarray, end: np.ndarray, count: int, patch_size: int) -> np.ndarray:
    """Which of `count` patches in a line intervals share pixels with, bool `[..., count]`."""
    patches = np.arange(count) * patch_size
    return (begin < patches + patch_size) & (end > patches)

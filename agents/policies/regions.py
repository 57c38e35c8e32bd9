"""Look where the latent tokens' regions want to look, and nothing was seen.

The regions are SparseFormer's (Gao et al., ICLR 2024): where on the scene each latent token samples
features. Taking them for a proposal of the next glimpse is this project's idea.
"""

from __future__ import annotations

import numpy as np

from agents.base import Agent, Observation
from agents.policies.attention_entropy import window_means
from ave_env.sensors.base import FiniteSensor


def wanted(regions: np.ndarray, visited: np.ndarray) -> np.ndarray:
    """How much the regions look at each cell where nothing was seen.

    Every region spreads a weight of one evenly over itself. What lies beyond the scene is lost; a
    region without extent, or less than that of a cell, counts as one as large as a cell.

    Args:
        regions: float `[N, L, 4]`: y0, x0, y1, x1 in units of the scene; may reach beyond it.
        visited: `[N, grid_h, grid_w]`, 0 where nothing was seen.

    Returns:
        float64 `[N, grid_h, grid_w]`, 0 for cells that were seen.
    """
    shares = []
    for axis, cells in enumerate(visited.shape[1:]):
        first, last = regions[..., axis] * cells, regions[..., axis + 2] * cells
        middle = (first.astype(np.float64) + last) / 2
        half = np.maximum(np.abs(last.astype(np.float64) - first), 1.0) / 2
        edges = np.arange(cells + 1)
        below = (edges - (middle - half)[..., None]) / (2 * half)[..., None]
        shares.append(np.diff(below.clip(0, 1), axis=-1))
    together = np.einsum("nly,nlx->nyx", *shares)
    return np.where(visited == 0, together, 0.0)


class RegionsAgent(Agent):
    """The window that the regions want most, over its cells that were not seen; ties to the first.

    Among windows that show something new, also where the regions want none of them.
    """

    name = "regions"
    required = ("regions",)
    sensors = (FiniteSensor,)

    def choose(self, observation: Observation, deterministic: bool) -> np.ndarray:
        """Takes the window with the largest mean of what is wanted."""
        visited = observation["visited"]
        scores = window_means(wanted(observation["regions"], visited), self.sensor)
        return np.where(self.sensor.reveals(visited), scores, -1.0).argmax(axis=1)

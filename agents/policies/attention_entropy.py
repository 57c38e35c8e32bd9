"""AME: look where the decoder's attention is least certain.

Source: Pardyl et al., "Active Visual Exploration Based on Attention-Map Entropy", IJCAI 2023,
section 3.3.
"""

from __future__ import annotations

import numpy as np

from agents.base import Agent, Observation
from ave_env.sensors.base import FiniteSensor


def window_means(maps: np.ndarray, sensor: FiniteSensor) -> np.ndarray:
    """Mean of a map over every position of the glimpse.

    Args:
        maps: float `[N, grid_h, grid_w]`.
        sensor: Whose positions.

    Returns:
        float64 `[N, num_actions]`.
    """
    cells = maps.reshape(len(maps), -1).astype(np.float64)
    ids = sensor.patch_ids(np.arange(sensor.num_actions))
    if (ids >= 0).all():
        return cells[:, ids].mean(axis=2)
    shown = ids >= 0  # -1 is no patch
    return (cells[:, ids] * shown).sum(axis=2) / shown.sum(axis=1).clip(min=1)


class AttentionEntropyAgent(Agent):
    """The published rule: the window whose mean entropy is highest; ties go to the first."""

    name = "ame"
    required = ("entropy",)
    sensors = (FiniteSensor,)

    def choose(self, observation: Observation, deterministic: bool) -> np.ndarray:
        """Takes the window of highest mean entropy."""
        return window_means(observation["entropy"], self.sensor).argmax(axis=1)


class NormalisedAttentionEntropyAgent(Agent):
    """AME with attention renormalised without the class token, among windows that show more."""

    name = "ame_normalised"
    required = ("normalised_entropy",)
    sensors = (FiniteSensor,)

    def choose(self, observation: Observation, deterministic: bool) -> np.ndarray:
        """Takes the window of highest mean entropy among those that show something new."""
        scores = window_means(observation["normalised_entropy"], self.sensor)
        useful = self.sensor.reveals(observation["visited"])
        return np.where(useful, scores, -1.0).argmax(axis=1)

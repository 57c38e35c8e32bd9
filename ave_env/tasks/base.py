"""What is asked of a belief, and how well it answers.

A task scores a belief; the reward of a step is what the score gained in it, so that the rewards of
an episode add up to the final score less the one before the first glimpse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np


class Task(Protocol):
    """What environments ask of a task."""

    name: str
    requires: tuple[str, ...]
    """Parts of the belief without which there is no score."""

    def score(
        self, belief: Mapping[str, np.ndarray], images: np.ndarray, labels: np.ndarray
    ) -> np.ndarray:
        """How good each row's belief is, float64 `[N]`; more is better.

        Args:
            belief: Parts of the belief by name; `reconstruction` is an image, uint8 `[N, H, W, 3]`.
            images: The true scenes, uint8 `[N, H, W, 3]`.
            labels: The true classes, int64 `[N]`.
        """

    def info(self, score: np.ndarray | None, num_envs: int) -> dict[str, np.ndarray]:
        """What the task adds to `info`, arrays of `num_envs`; without a score, placeholders."""

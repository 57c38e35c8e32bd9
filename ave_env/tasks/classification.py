"""Say which class a scene belongs to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class Classification:
    """Say which class the scene belongs to; scored by the log-probability of the true class."""

    name = "classification"
    requires: tuple[str, ...] = ("logits",)

    def score(
        self, belief: Mapping[str, np.ndarray], images: np.ndarray, labels: np.ndarray
    ) -> np.ndarray:
        """Log-probability of the true class in nats, float64 `[N]`."""
        return log_softmax(belief["logits"])[np.arange(len(labels)), labels]

    def info(self, score: np.ndarray | None, num_envs: int) -> dict[str, np.ndarray]:
        """Adds nothing: prediction and success are there for every task."""
        return {}


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities, float64, of logits `[N, C]`."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))

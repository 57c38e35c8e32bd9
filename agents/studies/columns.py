"""Columns that the tables of several studies have, and how they are filled."""

from __future__ import annotations

import numpy as np

from agents.evaluation.statistics import newcombe_interval, wilson_interval

LEADING_COLUMNS: dict[str, type] = {
    "encoder": str,
    "weights_hash": str,
    "scenes": str,
    "split": str,
    "n": int,
}
"""The first columns of every table: what was measured on how many scenes."""

ACCURACY_COLUMNS: dict[str, type] = {"accuracy": float, "ci_lo": float, "ci_hi": float}
DIFFERENCE_COLUMNS: dict[str, type] = {
    "difference": float,
    "difference_lo": float,
    "difference_hi": float,
}


def accuracy_columns(hits: np.ndarray) -> dict[str, float]:
    """Accuracy as a share, with its 95 % Wilson interval over scenes.

    Args:
        hits: bool `[N]`.
    """
    found = wilson_interval(hits)
    return {
        "accuracy": float(found.mean),
        "ci_lo": float(found.low),
        "ci_hi": float(found.high),
    }


def difference_columns(hits: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Difference of two accuracies in the same scenes, with Newcombe's paired 95 % interval.

    Args:
        hits: bool `[N]`.
        reference: What is subtracted, bool `[N]`.
    """
    found = newcombe_interval(hits, reference)
    return {
        "difference": float(found.mean),
        "difference_lo": float(found.low),
        "difference_hi": float(found.high),
    }

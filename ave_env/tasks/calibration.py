"""How far confidence is from accuracy."""

from __future__ import annotations

import numpy as np

from ave_env.tasks.metrics import Columns

CALIBRATION_BINS = 15

_BOUNDARIES = np.arange(CALIBRATION_BINS + 1) / CALIBRATION_BINS


def calibration_error(columns: Columns) -> np.ndarray:
    """How far confidence is from accuracy: expected calibration error of the predicted class.

    "Is the prediction right?" is a binary question that the confidence answers; bins of equal width
    include their lower end, and full confidence has a bin to itself, as in torchmetrics'
    `binary_calibration_error`.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.

    Args:
        columns: `confidence`, probability of the predicted class, float `[N, M]`, and `correct`,
            whether the prediction is right, bool `[N, M]`.

    Returns:
        float64 `[M]`, in [0, 1].
    """
    confidence = columns["confidence"].clip(0.0, 1.0).astype(np.float64)
    excess = confidence - columns["correct"]
    bins = np.searchsorted(_BOUNDARIES, confidence, side="right") - 1
    # The share of a bin times the gap between its means is the sum of the differences over N.
    sums = [
        np.bincount(numbers, weights=values, minlength=CALIBRATION_BINS + 1)
        for numbers, values in zip(bins.T, excess.T, strict=True)
    ]
    return np.abs(sums).sum(axis=1) / len(confidence)

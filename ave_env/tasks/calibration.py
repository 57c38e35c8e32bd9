"""How far confidence is from accuracy."""

from __future__ import annotations

import numpy as np

from ave_env.tasks.metrics import Columns

CALIBRATION_BINS = 15


def calibration_error(columns: Columns) -> np.ndarray:
    """How far confidence is from accuracy: expected calibration error of the predicted class.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.

    Args:
        columns: `confidence`, probability of the predicted class, float `[N, M]`, and `correct`,
            whether the prediction is right, bool `[N, M]`.

    Returns:
        float64 `[M]`, in [0, 1].
    """
    import torch  # here, for only tables need it and environments without an encoder do not
    from torchmetrics.functional.classification import binary_calibration_error

    # "Is the prediction right?" is a binary question that the confidence answers.
    given = torch.from_numpy(columns["confidence"].clip(0.0, 1.0).T.copy())
    right = torch.from_numpy(columns["correct"].T.astype(np.int64))
    errors = [
        binary_calibration_error(*column, n_bins=CALIBRATION_BINS, validate_args=False)
        for column in zip(given, right, strict=True)
    ]
    return torch.stack(errors).double().numpy()

"""What a belief is worth, scene by scene: how sure, how right, how true to the pixels."""

from __future__ import annotations

import numpy as np

from ave_env.tasks.classification import log_softmax

CALIBRATION_BINS = 15


def measure_classes(logits: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """How a belief about classes compares with the truth.

    Args:
        logits: float `[N, C]`.
        labels: True classes, int64 `[N]`.

    Returns:
        `prediction` int64, `rank` (classes more probable than the true one) int64, `confidence`
        (of the prediction) float64 and `log_probability` (of the truth, nats) float64, all `[N]`.
    """
    log_probabilities = log_softmax(logits)
    true = np.take_along_axis(log_probabilities, labels[:, None], axis=1)
    return {
        "prediction": log_probabilities.argmax(axis=1),
        "rank": (log_probabilities > true).sum(axis=1),
        "confidence": np.exp(log_probabilities.max(axis=1)),
        "log_probability": true[:, 0],
    }


def measure_pixels(
    pixels: np.ndarray, images: np.ndarray, visited: np.ndarray
) -> dict[str, np.ndarray]:
    """How far a painted scene is from the true one, in grey levels (0-255).

    The literature reports each of these as "the" error of a reconstruction. `rmse_predicted` takes
    all pixels as painted, `rmse_unseen` only those that no glimpse has shown (0 once there are
    none), and `pixel_distance` is the mean over all pixels, as painted, of the Euclidean distance
    between colours, AME's second measure.

    Source: Pardyl et al., "Active Visual Exploration Based on Attention-Map Entropy", IJCAI 2023,
    and its published code.

    Args:
        pixels: As painted, without the truth pasted in, uint8 `[N, H, W, 3]`.
        images: The true scenes, uint8 `[N, H, W, 3]`.
        visited: Patches seen, uint8 0/1 `[N, grid_h, grid_w]`.

    Returns:
        float64 `[N]` by name.
    """
    count, height, width, channels = images.shape
    _, rows, columns = visited.shape
    names = ("rmse_predicted", "rmse_unseen", "pixel_distance")
    errors = {name: np.zeros(count) for name in names}
    for scene in range(count):  # one at a time: the differences of a batch would not fit the cache
        difference = np.subtract(pixels[scene], images[scene], dtype=np.float32)
        squared = np.einsum("hwc,hwc->hw", difference, difference)
        by_patch = squared.reshape(rows, height // rows, columns, width // columns)
        by_patch = by_patch.sum(axis=(1, 3), dtype=np.float64) / (height * width * channels)
        unseen = visited[scene] == 0
        errors["rmse_predicted"][scene] = np.sqrt(by_patch.sum())
        if unseen.any():
            errors["rmse_unseen"][scene] = np.sqrt(by_patch[unseen].sum() / unseen.mean())
        errors["pixel_distance"][scene] = np.sqrt(squared).mean(dtype=np.float64)
    return errors


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """How far confidence is from accuracy: expected calibration error of the predicted class.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.

    Args:
        confidence: Probability of the predicted class, float `[N, M]`.
        correct: Whether the prediction is right, bool `[N, M]`.

    Returns:
        float64 `[M]`, in [0, 1].
    """
    import torch
    from torchmetrics.functional.classification import binary_calibration_error

    # "Is the prediction right?" is a binary question that the confidence answers.
    given = torch.from_numpy(confidence.clip(0.0, 1.0).T.copy())
    right = torch.from_numpy(correct.T.astype(np.int64))
    errors = [
        binary_calibration_error(*column, n_bins=CALIBRATION_BINS, validate_args=False)
        for column in zip(given, right, strict=True)
    ]
    return torch.stack(errors).double().numpy()

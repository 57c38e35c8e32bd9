"""Paint the whole scene."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class Reconstruction:
    """Paint the whole scene; scored by minus the root mean squared error (0-255).

    The error is the one the literature calls overall: over all pixels, with those already seen
    pasted into the reconstruction.
    """

    name = "reconstruction"
    requires: tuple[str, ...] = ("reconstruction",)

    def score(
        self, belief: Mapping[str, np.ndarray], images: np.ndarray, labels: np.ndarray
    ) -> np.ndarray:
        """Minus the root mean squared error in grey levels, float64 `[N]`."""
        return -root_mean_squared_error(belief["reconstruction"], images)

    def info(self, score: np.ndarray | None, num_envs: int) -> dict[str, np.ndarray]:
        """Adds `rmse`, float64; -1 without an encoder."""
        return {"rmse": np.full(num_envs, -1.0) if score is None else -score}


def root_mean_squared_error(reconstructions: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Root mean squared error of each image over all pixels and channels.

    Args:
        reconstructions: uint8 `[N, H, W, 3]`.
        images: uint8 `[N, H, W, 3]`.

    Returns:
        float64 `[N]` in grey levels (0-255).
    """
    errors = np.empty(len(images))
    for row, (reconstruction, image) in enumerate(zip(reconstructions, images, strict=True)):
        # One image at a time: the differences of a whole batch would not fit the cache.
        difference = np.subtract(reconstruction, image, dtype=np.float32).ravel()
        errors[row] = np.sqrt(np.dot(difference, difference) / difference.size)
    return errors


def paste_known(pixels: np.ndarray, images: np.ndarray, visited: np.ndarray) -> np.ndarray:
    """Replaces what a belief paints by the truth where a glimpse has shown it.

    Args:
        pixels: What the belief paints, uint8 `[N, H, W, 3]`.
        images: The true scenes, uint8 `[N, H, W, 3]`.
        visited: uint8 0/1 `[N, grid_h, grid_w]`.

    Returns:
        New array, uint8 `[N, H, W, 3]`.
    """
    count, height, width, channels = images.shape
    _, rows, columns = visited.shape
    by_patch = (count, rows, height // rows, columns, width // columns, channels)
    pasted = pixels.copy()
    scene, row, column = visited.nonzero()
    pasted.reshape(by_patch)[scene, row, :, column] = images.reshape(by_patch)[
        scene, row, :, column
    ]
    return pasted

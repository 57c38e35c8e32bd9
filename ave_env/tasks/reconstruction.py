"""Paint the whole scene."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ave_env.tasks.base import Beliefs, Task, Truth
from ave_env.tasks.metrics import Columns, Metric

METRICS = (
    Metric(
        name="rmse",
        label="RMSE",
        unit="grey levels",
        better="lower",
        format=".1f",
    ),
    Metric(
        name="rmse_predicted",
        label="RMSE as painted",
        heading="RMSE as\npainted",
        unit="grey levels",
        better="lower",
        in_info=False,
    ),
    Metric(
        name="rmse_unseen",
        label="RMSE of unseen pixels",
        heading="RMSE\nunseen",
        unit="grey levels",
        better="lower",
        in_info=False,
    ),
    Metric(
        name="pixel_distance",
        label="distance per pixel",
        heading="distance\nper pixel",
        unit="grey levels",
        better="lower",
        in_info=False,
    ),
)


class Reconstruction(Task):
    """Paint the whole scene; scored by minus the root mean squared error (0-255).

    The error is the one the literature calls overall: over all pixels, with those already seen
    pasted into the reconstruction.
    """

    name = "reconstruction"
    requires = ("reconstruction",)
    columns = ("rmse", "rmse_predicted", "rmse_unseen", "pixel_distance")
    metrics = METRICS

    def score(self, belief: Beliefs, truth: Truth) -> np.ndarray:
        """Minus the root mean squared error in grey levels, float64 `[N]`."""
        return -root_mean_squared_error(belief["reconstruction"], truth.images)

    def measure(self, belief: Beliefs, truth: Truth) -> dict[str, np.ndarray]:
        """The error above as `rmse`, and those of `measure_pixels`, float64 `[N]`."""
        return self.measure_scored(belief, truth, self.score(belief, truth))

    def measure_scored(
        self, belief: Beliefs, truth: Truth, score: np.ndarray
    ) -> dict[str, np.ndarray]:
        """The same, with the error that the score knows already."""
        errors = measure_pixels(belief["pixels"], truth.images, truth.visited)
        return {"rmse": -score, **errors}

    def measure_step(self, belief: Beliefs, truth: Truth, score: np.ndarray) -> Columns:
        """`rmse` alone, which the score knows already."""
        return {"rmse": -score}


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


def with_reconstruction(
    belief: Mapping[str, np.ndarray], images: np.ndarray, visited: np.ndarray
) -> Mapping[str, np.ndarray]:
    """A belief with `reconstruction` beside the `pixels` it paints, where it paints any.

    Args:
        belief: Parts by name, `[N, ...]`.
        images: The true scenes, uint8 `[N, H, W, 3]`.
        visited: Patches seen, uint8 0/1 `[N, grid_h, grid_w]`.
    """
    if "pixels" not in belief:
        return belief
    return {**belief, "reconstruction": paste_known(belief["pixels"], images, visited)}


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

"""A sensor with continuous actions: where the centre of the window should be.

    gym.make("ave_env:AVE-Synthetic-v0", sensor="continuous:ContinuousSensor")

with this folder on Python's path. The window takes the whole patches nearest to the place asked
for.
"""

import dataclasses
import functools

import gymnasium as gym
import numpy as np

from ave_env.sensors.base import Glimpse, Sensor
from ave_env.sensors.grid import cut_into_patches
from ave_env.sensors.registry import register_sensor


@register_sensor
@dataclasses.dataclass(frozen=True)
class ContinuousSensor(Sensor):
    """A square window of whole patches, put nearest to a centre y, x in [0, 1].

    Attributes:
        image_size: Height and width of a scene in pixels, multiples of `patch_size`.
        patch_size: Side of a square patch in pixels.
        glimpse_size: Side of the window in patches.
        seamless: Whether the edges of the scene meet; a window then goes round. The environment
            says so.
    """

    name = "continuous"

    image_size: tuple[int, int]
    patch_size: int
    glimpse_size: int = 2
    seamless: bool = False

    def __post_init__(self) -> None:
        height, width = self.image_size
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(f"{self.image_size} is no multiple of patch_size {self.patch_size}")
        if not 1 <= self.glimpse_size <= min(self.grid):
            raise ValueError(f"glimpse_size={self.glimpse_size} does not fit a {self.grid} grid")

    @functools.cached_property
    def action_space(self) -> gym.spaces.Box:
        """Centre of the window: y, x as fractions of the scene."""
        return gym.spaces.Box(0.0, 1.0, (2,), np.float32)

    @property
    def glimpse_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a glimpse."""
        side = self.glimpse_size * self.patch_size
        return side, side, 3

    @property
    def patches_per_glimpse(self) -> int:
        """Patches of a window."""
        return self.glimpse_size**2

    def look(self, images: np.ndarray, actions: np.ndarray, rng) -> Glimpse:
        """Copies the windows nearest to the centres asked for."""
        size, side, (rows, columns) = self.glimpse_size, self.patch_size, self.grid
        corners = np.rint(actions * self.grid - size / 2).astype(np.int64)
        top = corners[:, 0].clip(0, rows - size)
        left = corners[:, 1] % columns if self.seamless else corners[:, 1].clip(0, columns - size)
        corner = np.stack([top, left], axis=1)
        boxes = np.concatenate([corner, corner + size], axis=1) * side

        window = np.arange(size)
        number_rows = top[:, None] + window
        number_columns = (left[:, None] + window) % columns
        ids = number_rows[:, :, None] * columns + number_columns[:, None, :]

        lines = boxes[:, :1] + np.arange(size * side)
        dots = (boxes[:, 1:2] + np.arange(size * side)) % self.image_size[1]
        scene = np.arange(len(images))[:, None, None]
        pixels = images[scene, lines[:, :, None], dots[:, None, :]]
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2 / self.image_size % 1.0
        return Glimpse(
            pixels=pixels,
            patch_ids=ids.reshape(len(ids), -1),
            boxes=boxes,
            centers=centers.astype(np.float32),
            patches=lambda: cut_into_patches(pixels, side),
        )

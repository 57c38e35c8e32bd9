"""A sensor whose glimpses are no whole patches: a window of any size, every few pixels.

    python eval_agent.py --sensor offgrid:OffgridSensor --agents random --encoder tore-nano

with this folder on Python's path. The agent sees every pixel of the window; the encoder is given
the patches that lie in it wholly.
"""

import dataclasses
import functools

import numpy as np

from ave_env.sensors.base import FiniteSensor, Glimpse
from ave_env.sensors.registry import register_sensor


@register_sensor
@dataclasses.dataclass(frozen=True)
class OffgridSensor(FiniteSensor):
    """A square window at positions that lie `stride` pixels apart, row by row.

    Attributes:
        image_size: Height and width of a scene in pixels, multiples of `patch_size`.
        patch_size: Side of a square patch in pixels.
        window: Side of the window in pixels.
        stride: Pixels between two positions.
        seamless: Whether the edges of the scene meet; a window may then go round. The environment
            says so.
    """

    name = "offgrid"

    image_size: tuple[int, int]
    patch_size: int
    window: int = 40
    stride: int = 12
    seamless: bool = False

    def __post_init__(self) -> None:
        height, width = self.image_size
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(f"{self.image_size} is no multiple of patch_size {self.patch_size}")
        if not self.patch_size <= self.window <= min(height, width):
            raise ValueError(
                f"window={self.window}; expected {self.patch_size} to {min(height, width)} pixels"
            )
        if self.stride < 1:
            raise ValueError(f"stride={self.stride}; expected at least 1 pixel")

    @functools.cached_property
    def corners(self) -> np.ndarray:
        """Top left pixels y, x of all positions, int64 `[num_actions, 2]`."""
        height, width = self.image_size
        last = width - 1 if self.seamless else width - self.window
        tops = np.arange(0, height - self.window + 1, self.stride)
        lefts = np.arange(0, last + 1, self.stride)
        return np.stack(np.meshgrid(tops, lefts, indexing="ij"), axis=-1).reshape(-1, 2)

    @functools.cached_property
    def all_patch_ids(self) -> np.ndarray:
        """Patches that lie wholly in each window, int64 `[num_actions, n]`; -1 = fewer of them."""
        columns = self.grid[1]
        side, across = self.patch_size, self.patches_across
        ids = np.full((len(self.corners), across, across), -1)
        for action, (top, left) in enumerate(self.corners):
            first_row, first_column = -(-top // side), -(-left // side)
            fit_down = (top + self.window) // side - first_row
            fit_across = (left + self.window) // side - first_column
            number_rows = first_row + np.arange(fit_down)
            number_columns = (first_column + np.arange(fit_across)) % columns
            ids[action, :fit_down, :fit_across] = number_rows[:, None] * columns + number_columns
        return ids.reshape(len(ids), -1)

    @property
    def patches_across(self) -> int:
        """Most whole patches along a side of the window."""
        return self.window // self.patch_size

    @property
    def num_actions(self) -> int:
        """Number of positions."""
        return len(self.corners)

    @property
    def glimpse_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of what the agent is shown."""
        return self.window, self.window, 3

    @property
    def patches_per_glimpse(self) -> int:
        """Most patches that lie wholly in a window."""
        return self.patches_across**2

    def patch_ids(self, actions: np.ndarray) -> np.ndarray:
        """Patches that lie wholly in the windows, int64 `[N, n]`."""
        return self.all_patch_ids[actions]

    def boxes(self, actions: np.ndarray) -> np.ndarray:
        """y0, x0, y1, x1 of the windows, int64 `[N, 4]`."""
        corners = self.corners[actions]
        return np.concatenate([corners, corners + self.window], axis=1)

    def look(self, images: np.ndarray, actions: np.ndarray, rng) -> Glimpse:
        """Copies the pixels of the windows and the whole patches in them."""
        rows = np.arange(len(images))[:, None, None]
        boxes, ids = self.boxes(actions), self.patch_ids(actions)
        lines = boxes[:, :1] + np.arange(self.window)
        dots = (boxes[:, 1:2] + np.arange(self.window)) % self.image_size[1]
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2 / self.image_size % 1.0
        return Glimpse(
            pixels=images[rows, lines[:, :, None], dots[:, None, :]],
            patch_ids=ids,
            boxes=boxes,
            centers=centers.astype(np.float32),
            patches=lambda: self._patches(images, ids),
        )

    def _patches(self, images: np.ndarray, ids: np.ndarray) -> np.ndarray:
        side, (rows, columns) = self.patch_size, self.grid
        by_patch = images.reshape(-1, rows, side, columns, side, 3)
        chosen = by_patch[np.arange(len(ids))[:, None], ids // columns, :, ids % columns]
        chosen[ids < 0] = 0  # nothing that was not looked at
        return chosen

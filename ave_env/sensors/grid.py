"""Windows of whole patches on the grid of a scene."""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar

import numpy as np

from ave_env.sensors.base import FiniteSensor, Generators, Glimpse


@dataclasses.dataclass(frozen=True)
class GridSensor(FiniteSensor):
    """A square window of whole patches, at any position of the patch grid.

    Action `a` puts the window's top-left patch at row `a // columns`, column `a % columns`.

    Attributes:
        image_size: Height and width of a scene in pixels, multiples of `patch_size`.
        patch_size: Side of a square patch in pixels.
        glimpse_size: Side of the window in patches.
        wrap_azimuth: Whether a window that leaves the right edge goes on at the left one, as it
            should in a 360-degree panorama; each column is then a valid left side.
    """

    name: ClassVar[str] = "grid"

    image_size: tuple[int, int]
    patch_size: int
    glimpse_size: int = 2
    wrap_azimuth: bool = False

    def __post_init__(self) -> None:
        height, width = self.image_size
        if self.patch_size < 1 or height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}"
            )
        if not 1 <= self.glimpse_size <= min(self.grid):
            raise ValueError(
                f"glimpse_size {self.glimpse_size} (patches per side) does not fit the "
                f"{self.grid[0]}x{self.grid[1]} patches of a {height}x{width} image"
            )

    @functools.cached_property
    def positions(self) -> tuple[int, int]:
        """Rows and columns of positions the window fits at."""
        rows, columns = self.grid
        overhang = self.glimpse_size - 1
        return rows - overhang, columns if self.wrap_azimuth else columns - overhang

    @functools.cached_property
    def num_actions(self) -> int:
        """Number of positions the window fits at."""
        return self.positions[0] * self.positions[1]

    @property
    def glimpse_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a glimpse."""
        side = self.glimpse_size * self.patch_size
        return side, side, 3

    @property
    def patches_per_glimpse(self) -> int:
        """Patches of a window."""
        return self.glimpse_size**2

    def look(self, images: np.ndarray, actions: np.ndarray, rng: Generators) -> Glimpse:
        """Takes one glimpse of each scene; nothing about it is random.

        Args:
            images: uint8 `[N, H, W, 3]`, C-contiguous.
            actions: int64 `[N]`.
            rng: Not used.
        """
        pixels = self.capture(images, actions)
        return Glimpse(
            pixels=pixels,
            patch_ids=self.patch_ids(actions),
            boxes=self.boxes(actions),
            centers=self.centers(actions),
            patches=lambda: cut_into_patches(pixels, self.patch_size),
        )

    def patch_ids(self, actions: np.ndarray) -> np.ndarray:
        """Patches that glimpses reveal.

        Args:
            actions: int64 `[N]`.

        Returns:
            Row-major grid ids, int64 `[N, glimpse_size**2]`, row by row of the window.
        """
        return self._patch_ids[actions]

    def boxes(self, actions: np.ndarray) -> np.ndarray:
        """Pixels that glimpses cover.

        Args:
            actions: int64 `[N]`.

        Returns:
            y0, x0, y1, x1 in pixels, int64 `[N, 4]`; the far sides are exclusive. A window that
            wraps has x1 larger than the image's width.
        """
        return self._boxes[actions]

    def centers(self, actions: np.ndarray) -> np.ndarray:
        """Centres of glimpses as fractions of the scene's height and width.

        Args:
            actions: int64 `[N]`.

        Returns:
            y, x in [0, 1], float32 `[N, 2]`.
        """
        return self._centers[actions]

    def capture(self, images: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """The pixels of one glimpse per scene.

        Args:
            images: uint8 `[N, H, W, 3]`, C-contiguous.
            actions: int64 `[N]`.

        Returns:
            New array, uint8 `[N, h, w, 3]`.
        """
        count, height, width, channels = images.shape
        side, patch = self.glimpse_shape[0], self.patch_size
        image_stride, row_stride, column_stride, _ = images.strides
        # Every window of every image as a view, so that one indexing copies the chosen ones: a
        # window's line of pixels is contiguous, and NumPy moves it as one piece.
        windows = np.ndarray(
            (
                count,
                (height - side) // patch + 1,
                (width - side) // patch + 1,
                side,
                side * channels,
            ),
            images.dtype,
            buffer=images,
            strides=(image_stride, patch * row_stride, patch * column_stride, row_stride, 1),
        )
        tops, lefts = np.divmod(actions, self.positions[1])
        if not self.wrap_azimuth:
            lines = windows[np.arange(count), tops, lefts]
            return lines.reshape(count, side, side, channels)
        inside = np.minimum(lefts, windows.shape[2] - 1)
        glimpses = windows[np.arange(count), tops, inside].reshape(count, side, side, channels)
        for row in np.flatnonzero(lefts > inside):
            top, left = tops[row] * patch, lefts[row] * patch
            lines = images[row, top : top + side]
            glimpses[row, :, : width - left] = lines[:, left:]
            glimpses[row, :, width - left :] = lines[:, : left + side - width]
        return glimpses

    def reveals(self, visited: np.ndarray) -> np.ndarray:
        """Which actions would show at least one patch not seen before.

        Args:
            visited: uint8 0/1 `[N, grid_h, grid_w]`.

        Returns:
            int8 0/1 `[N, num_actions]`.
        """
        rows, columns = self.positions
        if self.wrap_azimuth:
            visited = np.concatenate([visited, visited[:, :, : self.glimpse_size - 1]], axis=2)
        down = visited[:, :rows]
        for shift in range(1, self.glimpse_size):
            down = down & visited[:, shift : shift + rows]
        seen = down[:, :, :columns]
        for shift in range(1, self.glimpse_size):
            seen = seen & down[:, :, shift : shift + columns]
        return (seen ^ 1).reshape(len(visited), -1).view(np.int8)

    @functools.cached_property
    def _patch_ids(self) -> np.ndarray:
        tops, lefts = np.divmod(np.arange(self.num_actions), self.positions[1])
        window = np.arange(self.glimpse_size)
        rows = tops[:, None, None] + window[:, None]
        columns = (lefts[:, None, None] + window) % self.grid[1]
        return (rows * self.grid[1] + columns).reshape(self.num_actions, -1)

    @functools.cached_property
    def _boxes(self) -> np.ndarray:
        corners = np.stack(np.divmod(np.arange(self.num_actions), self.positions[1]), axis=1)
        return np.concatenate([corners, corners + self.glimpse_size], axis=1) * self.patch_size

    @functools.cached_property
    def _centers(self) -> np.ndarray:
        middle = (self._boxes[:, :2] + self._boxes[:, 2:]) / 2
        return (middle / self.image_size % 1.0).astype(np.float32)


def cut_into_patches(pixels: np.ndarray, patch_size: int) -> np.ndarray:
    """Cuts images into whole patches, row by row.

    Args:
        pixels: uint8 `[N, h, w, 3]`, both sides multiples of `patch_size`.
        patch_size: Side p of a patch.

    Returns:
        New array, uint8 `[N, n, p, p, 3]`.
    """
    count, height, width, channels = pixels.shape
    rows, columns = height // patch_size, width // patch_size
    by_patch = pixels.reshape(count, rows, patch_size, columns, patch_size, channels)
    return by_patch.swapaxes(2, 3).reshape(count, -1, patch_size, patch_size, channels)

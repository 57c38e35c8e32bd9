"""What a glimpse is: which pixels and which patches of a scene an action reveals."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Sensor(Protocol):
    """What environments ask of a sensor; geometry only, no state."""

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of a scene in pixels."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches in a scene."""

    @property
    def num_actions(self) -> int:
        """Number of positions a glimpse can be taken at."""

    @property
    def glimpse_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a glimpse."""

    def patch_ids(self, actions: np.ndarray) -> np.ndarray:
        """Patches revealed, row-major grid ids, int64 `[N, n]`."""

    def boxes(self, actions: np.ndarray) -> np.ndarray:
        """Pixels covered, int64 `[N, 4]`: y0, x0, y1, x1."""

    def centers(self, actions: np.ndarray) -> np.ndarray:
        """Centres in [0, 1], float32 `[N, 2]`: y, x."""

    def capture(self, images: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """The pixels of the glimpses, uint8 `[N, h, w, 3]`."""

    def reveals(self, visited: np.ndarray) -> np.ndarray:
        """Which actions would show something new, int8 `[N, num_actions]`."""

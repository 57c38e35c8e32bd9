"""What a glimpse is: what an action reveals of a scene.

Places are written in one way throughout: (y, x) from the top left corner, either in pixels, where
pixel i covers [i, i + 1) and has its centre at i + 0.5, or as fractions of the scene's height and
width in [0, 1]. In a full panorama the azimuth x is periodic: a box that leaves the right edge has
x1 larger than the width, and goes on at the left one.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Sequence
from typing import ClassVar

import gymnasium as gym
import numpy as np

# One generator per scene, for sensors with noise: row i draws what a single environment would.
Generators = Sequence[np.random.Generator]


class Glimpse:
    """What N actions revealed of N scenes.

    Args:
        pixels: What the agent is shown, uint8 `[N, h, w, 3]`, a new array.
        patch_ids: Patches revealed, row-major grid ids, int64 `[N, n]`; -1 where there is none. The
            ids of a row differ.
        boxes: The pixels of the scene that were looked at: y0, x0, y1, x1, the far sides exclusive,
            int64 `[N, 4]`.
        centers: Centres y, x as fractions of the scene, float32 `[N, 2]`.
        patches: What an encoder is given of each patch, uint8 `[N, n, p, p, 3]`, or a function that
            makes it, for environments without an encoder need not.
        scales: Pixels of the scene to one pixel of the glimpse along each side, float32 `[N]`;
            None = 1 everywhere.
    """

    def __init__(
        self,
        *,
        pixels: np.ndarray,
        patch_ids: np.ndarray,
        boxes: np.ndarray,
        centers: np.ndarray,
        patches: np.ndarray | Callable[[], np.ndarray],
        scales: np.ndarray | None = None,
    ) -> None:
        self.pixels = pixels
        self.patch_ids = patch_ids
        self.boxes = boxes
        self.centers = centers
        self._patches = patches
        self._scales = scales

    @functools.cached_property
    def patches(self) -> np.ndarray:
        """What an encoder is given of each patch, uint8 `[N, n, p, p, 3]`."""
        return self._patches() if callable(self._patches) else self._patches

    @functools.cached_property
    def scales(self) -> np.ndarray:
        """Pixels of the scene to one pixel of the glimpse along each side, float32 `[N]`."""
        if self._scales is None:
            return np.ones(len(self.pixels), np.float32)
        return self._scales


class Sensor(abc.ABC):
    """Base of sensors: geometry, and no state. Usually a frozen dataclass.

    The fields of a sensor are its configuration, which it validates. `image_size` and `patch_size`
    are given by the environment, `glimpse_size`, `wrap_azimuth` and `seamless` too where the sensor
    has such fields, all others by `sensor_options`. `ave_env.testing.check_sensor` holds a sensor
    to what is said here.

    Attributes:
        name: What tables and `sensor=` call it.
        image_size: Height and width of a scene in pixels, multiples of `patch_size`.
        patch_size: Side of a square patch in pixels.
    """

    name: ClassVar[str]
    image_size: tuple[int, int]
    patch_size: int

    @functools.cached_property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches in a scene."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    @functools.cached_property
    def num_visible(self) -> int:
        """Patches that can be seen at all."""
        return self.grid[0] * self.grid[1]

    @property
    @abc.abstractmethod
    def action_space(self) -> gym.Space:
        """Where one may look: a space whose members are numbers or arrays."""

    @property
    @abc.abstractmethod
    def glimpse_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of `Glimpse.pixels`."""

    @property
    @abc.abstractmethod
    def patches_per_glimpse(self) -> int:
        """n, the number of patches that a glimpse has room for."""

    @abc.abstractmethod
    def look(self, images: np.ndarray, actions: np.ndarray, rng: Generators) -> Glimpse:
        """Takes one glimpse of each scene.

        Args:
            images: uint8 `[N, H, W, 3]`, C-contiguous; not to be written to.
            actions: `[N, ...]`, members of `action_space`.
            rng: One generator per scene, to be used by sensors with noise and by them alone.
        """


class FiniteSensor(Sensor):
    """A sensor that can look at a finite number of places, and knows beforehand what they reveal.

    That gives environments an action mask and the reset option `start`, and agents fixed orders and
    look-ahead.
    """

    @property
    @abc.abstractmethod
    def num_actions(self) -> int:
        """Number of places."""

    @functools.cached_property
    def num_visible(self) -> int:
        """Patches that at least one action reveals."""
        ids = self.patch_ids(np.arange(self.num_actions))
        return len(np.unique(ids[ids >= 0]))

    @functools.cached_property
    def action_space(self) -> gym.spaces.Discrete:
        """One number per place."""
        return gym.spaces.Discrete(self.num_actions)

    @abc.abstractmethod
    def patch_ids(self, actions: np.ndarray) -> np.ndarray:
        """Patches that actions int64 `[N]` reveal: grid ids int64 `[N, n]`, -1 = none."""

    @abc.abstractmethod
    def boxes(self, actions: np.ndarray) -> np.ndarray:
        """Pixels that actions int64 `[N]` look at: y0, x0, y1, x1, int64 `[N, 4]`."""

    def reveals(self, visited: np.ndarray) -> np.ndarray:
        """Which actions would show at least one patch not seen before.

        Args:
            visited: uint8 0/1 `[N, grid_h, grid_w]`.

        Returns:
            int8 0/1 `[N, num_actions]`.
        """
        ids = self.patch_ids(np.arange(self.num_actions))
        unseen = visited.reshape(len(visited), -1) == 0
        padded = np.concatenate([unseen, np.zeros((len(visited), 1), np.bool_)], axis=1)
        useful = np.asarray(padded[:, ids].any(axis=2))  # -1 is the last column: nothing to see
        return useful.view(np.int8)

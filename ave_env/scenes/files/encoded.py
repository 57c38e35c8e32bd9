"""Scenes that are stored as encoded images and decoded when they are wanted."""

from __future__ import annotations

import abc

import numpy as np

from ave_env.scenes.base import Scenes
from ave_env.scenes.files.decoding import Fit, decode, fit
from ave_env.scenes.files.splits import SplitChoice


class EncodedScenes(Scenes):
    """Base of `FolderScenes` and `Hdf5Scenes`.

    Attributes:
        choice: Where the images of this split come from: the stored split of that name, or what
            stands for it (see `ave_env.scenes.files.splits`).
    """

    choice: SplitChoice

    @abc.abstractmethod
    def read(self, index: int) -> bytes:
        """Returns one image as it is stored.

        Raises:
            IndexError: If `index` is out of range.
            SceneError: If it cannot be read.
        """

    @abc.abstractmethod
    def locate(self, index: int) -> str:
        """Returns where one image is stored, for messages."""

    def load(self, index: int) -> np.ndarray:
        """Returns one image, decoded and brought to `image_size`.

        Panoramas are resized; other images are resized and cropped to their middle.

        Args:
            index: Number of the scene, `0 <= index < len(self)`.

        Returns:
            RGB image, uint8 `[H, W, 3]`, C-contiguous.

        Raises:
            IndexError: If `index` is out of range.
            SceneError: If the image cannot be read or decoded.
        """
        image = decode(self.read(index), self.locate(index), self.image_size)
        return fit(image, self.image_size, self.how_to_fit)

    @property
    def how_to_fit(self) -> Fit:
        """How images are brought to `image_size`."""
        return "stretch" if self.seamless else "crop"

    def _check_index(self, index: int) -> None:
        if not 0 <= index < len(self):
            raise IndexError(f"scene {index} of {len(self)} scenes")

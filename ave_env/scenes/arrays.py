"""Scenes of one's own: images that are already in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ave_env.scenes.base import UNLABELLED, Scenes


class ArrayScenes(Scenes):
    """Images in an array, also one that is mapped from a file (`numpy.load(..., mmap_mode="r")`).

    The array is not copied, and must not be written to while environments use it. Copies of the
    scenes share it; a pickle holds all of it, so that every process of an `AsyncVectorEnv` has its
    own.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: Sequence[int] | np.ndarray | None = None,
        class_names: Sequence[str] | None = None,
        *,
        name: str = "array",
        split: str = "train",
        seamless: bool = False,
    ) -> None:
        """Checks the images and their labels.

        Args:
            images: RGB, uint8 `[N, H, W, 3]`.
            labels: Class of each image, integers `[N]`; None = the images have no classes, as
                reconstruction needs none.
            class_names: One name per class; None = the numbers of the classes.
            name: What results call the scenes.
            split: What they are: "train", "val" or "test".
            seamless: Whether the left and right edges of an image meet, as in 360° panoramas.

        Raises:
            TypeError: Images or labels of another type.
            ValueError: Another shape, a label without a class, class names that are not distinct.
        """
        self._images = _check_images(images)
        count, height, width, _ = self._images.shape
        if labels is None:
            if class_names is not None:
                raise ValueError("class_names are given without labels; give both or neither")
            labels, class_names = np.zeros(count, np.int64), UNLABELLED
        self.labels = _check_labels(labels, count)
        if class_names is None:
            class_names = [str(number) for number in range(int(self.labels.max()) + 1)]
        self.class_names = tuple(class_names)
        self.image_size = (height, width)
        self.name = name
        self.split = split
        self.seamless = seamless
        self.check()

    def load(self, index: int) -> np.ndarray:
        """Returns one image, read-only: it is part of the array.

        Raises:
            IndexError: If `index` is out of range.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"scene {index} of {len(self)} scenes")
        image = np.ascontiguousarray(self._images[index]).view(np.ndarray)
        image.flags.writeable = False
        return image

    def __deepcopy__(self, memo: dict[int, Any]) -> ArrayScenes:
        return self  # Gymnasium copies the arguments of environments, and nothing here changes


def _check_images(images: Any) -> np.ndarray:
    if not isinstance(images, np.ndarray):
        raise TypeError(f"images are a {type(images).__name__}; expected a NumPy array")
    expected = "expected uint8 of shape [N, H, W, 3]"
    if images.dtype != np.uint8:
        raise TypeError(f"images are {images.dtype}; {expected}, with values from 0 to 255")
    if images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape:
        raise ValueError(f"images have shape {images.shape}; {expected}")
    return images


def _check_labels(labels: Any, count: int) -> np.ndarray:
    array = np.asarray(labels)
    if array.dtype.kind not in "iu":
        raise TypeError(f"labels are {array.dtype}; expected integers")
    if array.shape != (count,):
        raise ValueError(
            f"labels have shape {array.shape}; expected one for each image, ({count},)"
        )
    return array.astype(np.int64)

"""What every source of images offers to the environments."""

import abc
from typing import Any

import numpy as np


class Scenes(abc.ABC):
    """A finite, indexable collection of labelled images, all of one size.

    Attributes:
        name: Source of the images ("synthetic", "sun360", "imagenet", "imagefolder"); it goes into
            every result file.
        split: "train", "val" or "test".
        class_names: One name per class; ``labels`` index this tuple.
        image_size: Height and width of every image, in pixels.
        labels: Class of every scene, int64 ``[N]``.
        seamless: True when the left and right edges of an image meet, as in 360-degree panoramas.
    """

    name: str
    split: str
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    labels: np.ndarray
    seamless: bool
    targets: tuple[str, ...] = ("label", "image")

    def __len__(self) -> int:
        """Number of scenes."""
        return len(self.labels)

    @abc.abstractmethod
    def load(self, index: int) -> np.ndarray:
        """Return one image.

        Args:
            index: Number of the scene, ``0 <= index < len(self)``.

        Returns:
            RGB image, uint8 ``[H, W, 3]``, C-contiguous.

        Raises:
            IndexError: If ``index`` is out of range.
        """

    def target(self, name: str, index: int) -> Any:
        """What is true of a scene, for tasks that ask for it.

        Args:
            name: One of `targets`: "label" (int) or "image" (as `load` returns it).
            index: Number of the scene.

        Raises:
            ValueError: These scenes have no such target.
        """
        if name == "label":
            return int(self.labels[index])
        if name == "image":
            return self.load(index)
        raise ValueError(
            f"{self.name} scenes have no {name!r}; they have {', '.join(self.targets)}"
        )

"""What every source of images offers to the environments."""

import abc
from typing import Any

import numpy as np

from ave_env.scenes.wordnet import in_words

UNLABELLED = ("scene",)  # the class names of scenes without classes


class Scenes(abc.ABC):
    """A finite, indexable collection of labelled images, all of one size.

    Attributes:
        name: Source of the images ("synthetic", "sun360", "imagenet", "imagefolder"); it goes into
            every result file.
        split: "train", "val" or "test".
        class_names: One name per class; `labels` index this tuple.
        image_size: Height and width of every image, in pixels.
        labels: Class of every scene, int64 `[N]`.
        seamless: True when the left and right edges of an image meet, as in 360-degree panoramas.
        targets: What a task may ask for with `target`.
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

    @property
    def labelled(self) -> bool:
        """Whether the scenes have classes."""
        return self.class_names != UNLABELLED

    @property
    def display_names(self) -> tuple[str, ...]:
        """What people call the classes; those that are WordNet ids have names in words."""
        return in_words(self.class_names)

    def check(self) -> None:
        """Refuses scenes that do not hold together; for those that are written by their users.

        Raises:
            ValueError: There are none, labels are no `int64[N]` or have no class, or class names
                are not distinct.
        """
        names, labels = self.class_names, np.asarray(self.labels)
        if labels.ndim != 1 or labels.dtype != np.int64 or not len(labels):
            found = f"{labels.dtype} of shape {labels.shape}"
            raise ValueError(f"labels of the {self.name!r} scenes are {found}; expected int64 [N]")
        if not isinstance(names, tuple) or len(set(names)) < len(names):
            raise ValueError(f"class_names={names!r}; expected a tuple of distinct names")
        if not 0 <= labels.min() <= labels.max() < len(names):
            raise ValueError(
                f"labels from {labels.min()} to {labels.max()} for {len(names)} class names"
            )

    @abc.abstractmethod
    def load(self, index: int) -> np.ndarray:
        """Returns one image.

        Args:
            index: Number of the scene, `0 <= index < len(self)`.

        Returns:
            RGB image, uint8 `[H, W, 3]`, C-contiguous.

        Raises:
            IndexError: If `index` is out of range.
        """

    def target(self, name: str, index: int) -> Any:
        """Returns what is true of a scene, for tasks that ask for it.

        Every source knows the class and the image. A source that knows more of its scenes, such as
        segmentation masks or boxes of objects, names it in `targets` and returns it from here; for
        all else it calls this method.

        Args:
            name: One of `targets`.
            index: Number of the scene, `0 <= index < len(self)`.

        Returns:
            For "label" the class, an integer of Python; for "image" what `load` returns; for a
            target of the source's own, whatever the source says.

        Raises:
            ValueError: These scenes have no such target.
            IndexError: If `index` is out of range.
        """
        if name == "image":
            return self.load(index)
        if name == "label":
            if not 0 <= index < len(self):
                raise IndexError(f"scene {index} of {len(self)} scenes")
            return int(self.labels[index])
        known = ", ".join(map(repr, self.targets))
        raise ValueError(f"scenes of {self.name!r} have no target {name!r}; they have {known}")

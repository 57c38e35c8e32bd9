"""What every layout offers: which splits a folder holds, and the images of each."""

from __future__ import annotations

import abc
import os
from dataclasses import dataclass, field

import numpy as np

from ave_env.scenes.errors import SceneError
from ave_env.scenes.files.decoding import IMAGE_SUFFIXES
from ave_env.scenes.files.disk import show_contents
from ave_env.scenes.files.layouts import LAYOUTS, TOP_FOLDERS, Source


@dataclass(frozen=True)
class Listing:
    """The images of one stored split.

    Attributes:
        folder: What the names are relative to.
        names: Path of every image, with forward slashes.
        labels: Class of every image, int64 `[N]`.
        class_names: Names of all classes of the data set, also of those without images here.
        ignored: Paths in class folders that are not images.
    """

    folder: str
    names: list[str]
    labels: np.ndarray
    class_names: tuple[str, ...]
    ignored: list[str] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        """Where the images are."""
        return [os.path.join(self.folder, name) for name in self.names]


class SceneFolder(abc.ABC):
    """A data set on disk, in one of the layouts.

    Attributes:
        root: The folder, an absolute path.
        source: Its layout.
        splits: The splits it holds.
    """

    splits: tuple[str, ...]

    def __init__(self, root: str | os.PathLike[str], source: Source) -> None:
        self.root = os.path.abspath(os.path.expanduser(os.fspath(root)))
        self.source = source

    @abc.abstractmethod
    def list_split(self, split: str) -> Listing:
        """Lists one of the stored splits.

        Raises:
            SceneError: The split is empty, or a folder cannot be read.
        """

    def wrong_layout(self) -> SceneError:
        """Says that the folder does not have this layout."""
        message = f"expected {LAYOUTS[self.source]}, found {show_contents(self.root)}"
        if os.path.basename(self.root) in TOP_FOLDERS:
            message += f"; did you mean its parent, {os.path.dirname(self.root)}?"
        return SceneError(self.root, message)

    def no_images(self, path: str) -> SceneError:
        """Says that there is no image where some should be."""
        suffixes = " ".join(sorted(IMAGE_SUFFIXES))
        return SceneError(path, f"no images ({suffixes}) as {LAYOUTS[self.source]}")

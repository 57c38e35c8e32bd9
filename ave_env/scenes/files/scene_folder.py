"""What every layout offers: which splits a folder holds, and the images of each."""

from __future__ import annotations

import abc
import os
from dataclasses import dataclass

import numpy as np

from ave_env.scenes.errors import SceneError, note_unused
from ave_env.scenes.files.decoding import IMAGE_SUFFIXES
from ave_env.scenes.files.disk import list_folders, show_contents
from ave_env.scenes.files.layouts import LAYOUTS, TOP_FOLDERS, Source
from ave_env.scenes.files.splits import HELD_OUT_NOTE


@dataclass(frozen=True)
class Listing:
    """The images of one stored split.

    Attributes:
        folder: What the names are relative to.
        names: Path of every image, with forward slashes.
        labels: Class of every image, int64 `[N]`.
        class_names: Names of all classes of the data set, also of those without images here.
    """

    folder: str
    names: list[str]
    labels: np.ndarray
    class_names: tuple[str, ...]

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

    @abc.abstractmethod
    def find_unused(self) -> list[str]:
        """Paths of all that is in the folder and in no split: other files, folders and links.

        What is in such a folder is not listed beside it.
        """

    def doubts(self) -> list[str]:
        """Paths of what is not used and may have been meant to be: images, folders of a split."""
        return []

    def notes(self) -> list[str]:
        """What may be a mistake in how the data set was put on disk, or is worth to know."""
        notes = []
        if "train" in self.splits and "val" not in self.splits:
            notes.append(HELD_OUT_NOTE)
        if unused := self.find_unused():
            notes.append(note_unused(unused))
        return notes

    def wrong_layout(self) -> SceneError:
        """Says that the folder does not have this layout."""
        return SceneError(self.root, f"expected {LAYOUTS[self.source]}, {show_instead(self.root)}")

    def no_images(self, path: str) -> SceneError:
        """Says that there is no image where some should be."""
        suffixes = " ".join(sorted(IMAGE_SUFFIXES))
        message = f"no images ({suffixes}) as {LAYOUTS[self.source]}"
        return SceneError(path, message + deeper_folders(path))


def show_instead(root: str) -> str:
    """Names what is in a folder in the place of a layout, and the folder that may be meant."""
    message = f"found {show_contents(root)}"
    if os.path.basename(root).lower() in TOP_FOLDERS:
        return f"{message}; did you mean its parent, {os.path.dirname(root)}?"
    for folder in list_folders(root):
        inside = os.path.join(root, folder)
        if any(name.lower() in TOP_FOLDERS for name in list_folders(inside)):
            return f"{message}; did you mean {inside}?"
    return message + deeper_folders(root)


def deeper_folders(path: str) -> str:
    """Says that a folder has folders which nobody looks into, in a message; empty if it has none.

    Args:
        path: A folder of classes, or of a class.
    """
    for folder in ("", *list_folders(path)):
        inside = os.path.join(path, folder) if folder else path
        if folder and (names := list_folders(inside)):
            return f"; folders in a class, such as {os.path.join(inside, names[0])}, are not read"
    return ""

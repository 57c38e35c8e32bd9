"""The layouts `imagenet` and `imagefolder`: a folder per split, and in it a folder per class."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from typing import Literal

import numpy as np

from ave_env.choices import SPLITS
from ave_env.scenes.errors import SceneError, enumerate_some
from ave_env.scenes.files.disk import list_folders, list_images, show_contents
from ave_env.scenes.files.layouts import LAYOUTS
from ave_env.scenes.files.scene_folder import Listing, SceneFolder

_WNID = re.compile(r"n\d+")


class SplitFolders(SceneFolder):
    """`{train,val,test}/<class>/<image>`.

    Attributes:
        class_names: The classes of all splits, so that labels agree between them.
    """

    def __init__(
        self, root: str | os.PathLike[str], source: Literal["imagenet", "imagefolder"]
    ) -> None:
        """Looks at the splits and the classes in them.

        Args:
            root: The folder.
            source: "imagenet" insists on classes that are WordNet ids.

        Raises:
            SceneError: The folder does not have that layout.
        """
        super().__init__(root, source)
        folders = list_folders(self.root)
        self.splits = tuple(split for split in SPLITS if split in folders)
        if not self.splits:
            raise self.wrong_layout()
        paths = {split: os.path.join(self.root, split) for split in self.splits}
        self._classes = {split: _by_class(list_folders(path)) for split, path in paths.items()}
        self.class_names = tuple(sorted({c for found in self._classes.values() for c in found}))
        for split, path in paths.items():
            if not self._classes[split]:
                expected = f"a folder per class ({LAYOUTS[source]})"
                raise SceneError(path, f"expected {expected}, found {show_contents(path)}")
        if source == "imagenet" and not are_wnids(self.class_names):
            others = [name for name in self.class_names if not _WNID.fullmatch(name)]
            raise SceneError(
                self.root,
                f"expected {LAYOUTS['imagenet']} with WordNet ids like n01440764, found class "
                f"folders {enumerate_some(others)}; imagefolder scenes take any class names",
            )

    def list_split(self, split: str) -> Listing:  # noqa: D102
        folder = os.path.join(self.root, split)
        names: list[str] = []
        labels: list[int] = []
        ignored: list[str] = []
        for label, class_name in enumerate(self.class_names):
            for directory in self._classes[split].get(class_name, ()):
                images, rest = list_images(os.path.join(folder, directory))
                names += [f"{directory}/{image}" for image in images]
                ignored += [os.path.join(folder, directory, name) for name in rest]
                labels += [label] * len(images)
        if not names:
            raise self.no_images(folder)
        for label in set(range(len(self.class_names))).difference(labels):
            self._require_images_elsewhere(self.class_names[label])
        return Listing(folder, names, np.array(labels, np.int64), self.class_names, ignored)

    def _require_images_elsewhere(self, class_name: str) -> None:
        """Makes sure that a class without images in one split has some in another."""
        folders = [
            os.path.join(self.root, split, directory)
            for split in self.splits
            for directory in self._classes[split].get(class_name, ())
        ]
        if not any(list_images(folder)[0] for folder in folders):
            raise SceneError(folders[0], f"a class without images, as {LAYOUTS[self.source]}")


def are_wnids(class_names: Iterable[str]) -> bool:
    """Whether all names are WordNet ids, as ImageNet's classes are called."""
    return all(map(_WNID.fullmatch, class_names))


def _by_class(directories: Iterable[str]) -> dict[str, list[str]]:
    # Composed and decomposed accents are one class: macOS stores the latter.
    classes: dict[str, list[str]] = {}
    for directory in directories:
        classes.setdefault(unicodedata.normalize("NFC", directory), []).append(directory)
    return classes

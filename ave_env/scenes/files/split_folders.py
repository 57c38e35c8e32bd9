"""The layouts `imagenet` and `imagefolder`: a folder per split, and in it a folder per class."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

import numpy as np

from ave_env.choices import SPLITS
from ave_env.scenes.base import UNLABELLED
from ave_env.scenes.errors import SceneError, enumerate_some
from ave_env.scenes.files.disk import Contents, link_to_nowhere, list_folders, look_into
from ave_env.scenes.files.layouts import LAYOUTS, SPLIT_FOLDERS
from ave_env.scenes.files.scene_folder import Listing, SceneFolder, deeper_folders

_WNID = re.compile(r"n\d+")


class SplitFolders(SceneFolder):
    """`{train,val,test}/<class>/<image>`, or without the splits, the classes, or both.

    Images without splits are `train`. Images without classes are `UNLABELLED`.

    Attributes:
        class_names: The classes of `train`, or of all splits where that is missing, so that labels
            agree between them.
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
        top = look_into(self.root)
        self._folders = find_splits(self.root, top)
        if self._folders and self._are_classes(top):
            self._folders = {}
        if not self._folders:
            is_a_split = os.path.basename(self.root).lower() in SPLIT_FOLDERS
            if is_a_split or not holds_scenes(self.root, top):
                raise self.wrong_layout()
            self._folders = {"train": ""}
        self.splits = tuple(split for split in SPLITS if split in self._folders)
        self._contents = {split: look_into(self._path(split)) for split in self.splits}
        self._classes = {
            split: _by_class(contents.folders) for split, contents in self._contents.items()
        }
        # What train does not have is refused when the split that has it is listed.
        decisive = ("train",) if "train" in self.splits else self.splits
        names = {name for split in decisive for name in self._classes[split]}
        unlabelled = not names and source == "imagefolder"
        self.class_names = UNLABELLED if unlabelled else tuple(sorted(names))
        if source == "imagenet" and not are_wnids(self.class_names):
            others = [name for name in self.class_names if not _WNID.fullmatch(name)]
            raise SceneError(
                self.root,
                f"expected {LAYOUTS['imagenet']} with WordNet ids like n01440764, found class "
                f"folders {enumerate_some(others)}; imagefolder scenes take any class names",
            )

    def list_split(self, split: str) -> Listing:  # noqa: D102
        folder = self._path(split)
        self._require_usable(split)
        names: list[str] = []
        labels: list[int] = []
        for label, class_name in enumerate(self.class_names):
            for directory in self._directories(split, class_name):
                images = look_into(os.path.join(folder, directory)).images
                names += [f"{directory}/{image}" if directory else image for image in images]
                labels += [label] * len(images)
        if not names:
            raise self.no_images(folder)
        for label in set(range(len(self.class_names))).difference(labels):
            self._require_images_elsewhere(self.class_names[label])
        return Listing(folder, names, np.array(labels, np.int64), self.class_names)

    def find_unused(self) -> list[str]:  # noqa: D102
        top = self._unused_at_top()
        names = (*top.folders, *top.images, *top.rest, *top.dangling)
        unused = [os.path.join(self.root, name) for name in names]
        for split, contents in self._contents.items():
            folder = self._path(split)
            if folder != self.root:
                images = contents.images if contents.folders else []
                unused += [os.path.join(folder, name) for name in (*images, *contents.rest)]
            for directory in contents.folders:
                path = os.path.join(folder, directory)
                inside = look_into(path)
                rest = (*inside.folders, *inside.rest, *inside.dangling)
                unused += [os.path.join(path, name) for name in rest]
        return unused

    def doubts(self) -> list[str]:  # noqa: D102
        top = self._unused_at_top()
        doubtful = [] if "val" in self.splits else [*top.folders, *top.dangling]
        paths = [os.path.join(self.root, name) for name in (*doubtful, *top.images)]
        for split, contents in self._contents.items():
            if self._folders[split] and contents.folders:
                paths += [os.path.join(self._path(split), name) for name in contents.images]
        return paths

    def _unused_at_top(self) -> Contents:
        """What is neither a split nor, where there are none, a class or an image."""
        top = look_into(self.root)
        if self._folders == {"train": ""}:
            return Contents(images=[] if self._is_flat("train") else top.images, rest=top.rest)
        folders = [name for name in top.folders if name not in self._folders.values()]
        return replace(top, folders=folders)

    def _are_classes(self, top: Contents) -> bool:
        """Whether what is called like a split is a class among others, such as trains."""
        splits = [os.path.join(self.root, name) for name in self._folders.values()]
        others = [
            os.path.join(self.root, n) for n in top.folders if n not in self._folders.values()
        ]
        return not any(map(list_folders, splits)) and any(look_into(o).images for o in others)

    def notes(self) -> list[str]:  # noqa: D102
        notes = [
            f"{split} is read from {folder}/"
            for split, folder in self._folders.items()
            if folder not in ("", split)
        ]
        for first, second in self._alike():
            notes.append(f"classes that differ by the case of letters alone: {first}, {second}")
        return [*notes, *super().notes()]

    def _alike(self) -> list[tuple[str, str]]:
        first: dict[str, str] = {}
        pairs = []
        for name in self.class_names:
            known = first.setdefault(name.casefold(), name)
            if known != name:
                pairs.append((known, name))
        return pairs

    def _path(self, split: str) -> str:
        folder = self._folders[split]
        return os.path.join(self.root, folder) if folder else self.root

    def _directories(self, split: str, class_name: str) -> list[str]:
        """Folders of a class in a split; "" where the images are in the split's own folder."""
        if self._is_flat(split):
            return [""]
        return self._classes[split].get(class_name, [])

    def _is_flat(self, split: str) -> bool:
        return self.class_names == UNLABELLED and not self._contents[split].folders

    def _require_usable(self, split: str) -> None:
        """Makes sure that a split has classes, that they are those of train, and no dead links."""
        folder, contents = self._path(split), self._contents[split]
        for name in contents.dangling:
            raise link_to_nowhere(os.path.join(folder, name))
        if not contents.folders and not self._is_flat(split):
            found = enumerate_some(contents.names)
            expected = f"a folder per class ({LAYOUTS[self.source]})"
            raise SceneError(folder, f"expected {expected}, found {found}")
        if "train" not in self.splits:
            return
        unknown = [name for name in self._classes[split] if name not in self._classes["train"]]
        if unknown:
            raise SceneError(folder, self._unknown_to_train(unknown))

    def _unknown_to_train(self, unknown: list[str]) -> str:
        message = f"classes that train does not have: {enumerate_some(unknown)}"
        close = {name.casefold(): name for name in self._classes["train"]}
        for name in unknown:
            if name.casefold() in close:
                return f"{message}; is {name!r} its class {close[name.casefold()]!r}?"
        if unknown == ["images"]:
            return (
                f"{message}; sort its images into a folder per class (as Tiny ImageNet's "
                "val_annotations.txt says)"
            )
        return (
            f"{message}; if that is meant, give each split as a data "
            "set of its own, in a folder that is not called like a split"
        )

    def _require_images_elsewhere(self, class_name: str) -> None:
        """Makes sure that a class without images in one split has some in another."""
        folders = [
            os.path.join(self._path(split), directory)
            for split in self.splits
            for directory in self._directories(split, class_name)
        ]
        if not any(look_into(folder).images for folder in folders):
            message = f"a class without images, as {LAYOUTS[self.source]}"
            raise SceneError(folders[0], message + deeper_folders(os.path.dirname(folders[0])))


def find_splits(root: str, top: Contents) -> dict[str, str]:
    """Finds the folders of the splits.

    Args:
        root: The folder of the data set.
        top: What is in it.

    Returns:
        Name of the folder of each split that is there, under any of its customary names.

    Raises:
        SceneError: Two folders are of one split, or one of them is a link to nowhere.
    """
    folders: dict[str, str] = {}
    for name in (*top.folders, *top.dangling):
        split = SPLIT_FOLDERS.get(name.lower())
        if split is None:
            continue
        if name in top.dangling:
            raise link_to_nowhere(os.path.join(root, name))
        if split in folders:
            raise SceneError(
                root, f"{folders[split]} and {name} are both the split {split!r}; keep one of them"
            )
        folders[split] = name
    return folders


def holds_scenes(root: str, top: Contents) -> bool:
    """Whether there are images in a folder or in one of its folders."""
    return bool(top.images) or any(
        look_into(os.path.join(root, folder)).images for folder in top.folders
    )


def are_wnids(class_names: Iterable[str]) -> bool:
    """Whether all names are WordNet ids, as ImageNet's classes are called."""
    return all(map(_WNID.fullmatch, class_names))


def _by_class(directories: Iterable[str]) -> dict[str, list[str]]:
    # Composed and decomposed accents are one class: macOS stores the latter.
    classes: dict[str, list[str]] = {}
    for directory in directories:
        classes.setdefault(unicodedata.normalize("NFC", directory), []).append(directory)
    return classes

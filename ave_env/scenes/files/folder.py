"""Scenes in folders, in the layouts that data sets have on disk.

* `sun360`: `{indoor,outdoor}/<class>/pano_*.jpg`. The class is the first two parts of the path.
  A list file (one path per line) names the panoramas; its first tenth is `val`, the rest `train`,
  and `test` is `val`, as in the published results. Without one, each class is divided by a hash of
  the file names into 80 % `train`, 10 % `val` and 10 % `test`.
* `imagenet`: `{train,val}/<wnid>/*.JPEG`; `test` is `val`.
* `imagefolder`: `{train,val,test}/<class>/<image>`. Folders of splits may also be called
  `training`, `valid`, `validation` or `testing`. Without them, `<class>/<image>` is `train`;
  images without classes, in folders of splits or none, are all of one class, "scene".

`ave_env.scenes.files.splits` says what stands for a split that is missing. Listings are sorted;
hidden files and files that are not images are skipped. Class folders are not searched any deeper,
so links that run in circles do no harm. `ave_env.scenes.check` names all that is not used; images
and folders that may have been meant to be are warned of when scenes are opened.
"""

from __future__ import annotations

import os

from ave_env.choices import SPLITS
from ave_env.scenes.errors import SceneError, enumerate_some
from ave_env.scenes.files.decoding import read_size
from ave_env.scenes.files.disk import list_folders, look_into, read_file
from ave_env.scenes.files.encoded import EncodedScenes
from ave_env.scenes.files.layouts import LAYOUTS, SUN360_PLACES, Source
from ave_env.scenes.files.scene_folder import SceneFolder, show_instead
from ave_env.scenes.files.split_folders import (
    SplitFolders,
    are_wnids,
    find_splits,
    holds_scenes,
)
from ave_env.scenes.files.splits import SplitChoice, choose_split
from ave_env.scenes.files.sun360 import Sun360Folder
from encoders.support.notices import warn

PANORAMA_DOUBT = (
    "the images are twice as wide as high, as 360-degree panoramas are, and taken for photos whose "
    "edges do not meet; say seamless=True or seamless=False (commands: --seamless)"
)


def recognise_source(root: str | os.PathLike[str]) -> Source:
    """Tells the layout of a folder.

    Raises:
        SceneError: It has none of the known layouts.
    """
    root = os.path.abspath(os.path.expanduser(os.fspath(root)))
    top = look_into(root)
    if any(place in (*top.folders, *top.dangling) for place in SUN360_PLACES):
        return "sun360"
    splits = find_splits(root, top)
    if not splits and not holds_scenes(root, top):
        layouts = " or ".join(LAYOUTS.values())
        raise SceneError(root, f"expected {layouts}, {show_instead(root)}")
    first = next((split for split in SPLITS if split in splits), None)
    classes = list_folders(os.path.join(root, splits[first])) if first else top.folders
    return "imagenet" if classes and are_wnids(classes) else "imagefolder"


def open_folder(
    root: str | os.PathLike[str],
    source: Source | None = None,
    list_file: str | os.PathLike[str] | None = None,
) -> SceneFolder:
    """Looks at the top of a folder of scenes.

    Args:
        root: The folder.
        source: The layout expected there; None = recognise it.
        list_file: List of the panoramas of a SUN360 folder; see `Sun360Folder`.

    Raises:
        SceneError: The folder does not have that layout, or none of the known ones.
        ValueError: A list file is given for another layout.
    """
    source = source or recognise_source(root)
    if source == "sun360":
        return Sun360Folder(root, list_file)
    if list_file is not None:
        raise ValueError(f"list_file={list_file!r}: only sun360 scenes have a list file")
    return SplitFolders(root, source)


class FolderScenes(EncodedScenes):
    """One split of a data set on disk."""

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str | SplitChoice,
        *,
        source: Source,
        image_size: tuple[int, int],
        list_file: str | os.PathLike[str] | None = None,
        seamless: bool | None = None,
    ) -> None:
        """Lists the images of a split.

        Args:
            root: The folder.
            split: "train", "val" or "test"; or a stored split and the part of it to take.
            source: The layout expected there.
            image_size: Height and width in pixels to bring images to.
            list_file: List of the panoramas of a SUN360 folder.
            seamless: Whether the images are 360-degree panoramas; None = those of SUN360 are.

        Raises:
            SceneError: The folder is of another layout, cannot be read, or lacks the split.
        """
        folder = open_folder(root, source, list_file)
        if isinstance(split, SplitChoice):
            self.choice = split
        else:
            self.choice = choose_split(split, folder.splits, folder.root)
        listing = folder.list_split(self.choice.stored)
        rows = self.choice.rows(listing.names, listing.labels)
        if not len(rows):
            raise SceneError(listing.folder, f"too few images to hold out a {split!r} split")
        if doubts := folder.doubts():
            warn(
                f"{folder.root}: not used: {enumerate_some(doubts, 3)}; the splits here are "
                f"{', '.join(folder.splits)}, and `python -m ave_env.scenes.check` says more",
            )
        self.name = source
        self.split = str(split)
        self.class_names = listing.class_names
        self.image_size = image_size
        self.labels = listing.labels[rows]
        self.seamless = source == "sun360" if seamless is None else seamless
        self._folder = listing.folder
        self._names = [listing.names[row] for row in rows]
        if seamless is None and not self.seamless and self._look_like_panoramas():
            warn(f"{folder.root}: {PANORAMA_DOUBT}")

    def _look_like_panoramas(self) -> bool:
        """Whether the first, the middle and the last image are twice as wide as high."""
        some = {0, len(self) // 2, len(self) - 1}
        sizes = [read_size(os.path.join(self._folder, self._names[index])) for index in some]
        return all(size is not None and size[1] == 2 * size[0] for size in sizes)

    def read(self, index: int) -> bytes:  # noqa: D102
        return read_file(self.locate(index))

    def locate(self, index: int) -> str:  # noqa: D102
        self._check_index(index)
        return os.path.join(self._folder, self._names[index])

"""Scenes in folders, in the layouts that data sets have on disk.

* `sun360`: `{indoor,outdoor}/<class>/pano_*.jpg`. The class is the first two parts of the path.
  A list file (one path per line) names the panoramas; its first tenth is `val`, the rest `train`,
  and `test` is `val`, as in the published results. Without one, each class is divided by a hash of
  the file names into 80 % `train`, 10 % `val` and 10 % `test`.
* `imagenet`: `{train,val}/<wnid>/*.JPEG`; `test` is `val`.
* `imagefolder`: `{train,val,test}/<class>/<image>`.

`ave_env.scenes.files.splits` says what stands for a split that is missing. Listings are sorted;
hidden files and files that are no images are passed over. Class folders are not searched any
deeper, so links that run in circles do no harm.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ave_env.scenes.errors import SceneError, enumerate_some
from ave_env.scenes.files.decoding import IMAGE_SUFFIXES
from ave_env.scenes.files.encoded import EncodedScenes
from ave_env.scenes.files.layouts import LAYOUTS, Source
from ave_env.scenes.files.splits import SPLITS, SplitChoice, assign_parts, choose_split

SUN360_PLACES = ("indoor", "outdoor")
SUN360_LIST_FILES = (  # looked for in the folder when no list file is given
    "sun360-dataset26-random.txt",
    "meta/sun360-dataset26-random.txt",
)
_WNID = re.compile(r"n\d+")


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


def recognise_source(root: str | os.PathLike[str]) -> Source:
    """Tells the layout of a folder.

    Raises:
        SceneError: It has none of the known layouts.
    """
    root = os.fspath(root)
    folders = _list_folders(root)
    if any(place in folders for place in SUN360_PLACES):
        return "sun360"
    splits = [split for split in SPLITS if split in folders]
    if not splits:
        layouts = " or ".join(LAYOUTS.values())
        raise SceneError(root, f"expected {layouts}, found {_show_contents(root)}")
    classes = _list_folders(os.path.join(root, splits[0]))
    return "imagenet" if classes and all(map(_WNID.fullmatch, classes)) else "imagefolder"


class SceneFolder:
    """A data set on disk: which splits it holds, and their images.

    Attributes:
        root: The folder.
        source: Its layout.
        list_file: The list of a SUN360 folder, or None.
        splits: The splits it holds.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        source: Source,
        list_file: str | os.PathLike[str] | None = None,
    ) -> None:
        """Looks at the top of a folder.

        Args:
            root: The folder.
            source: The layout expected there.
            list_file: List of the panoramas of a SUN360 folder; a relative path may start at the
                working directory or at `root`. None takes one of `SUN360_LIST_FILES` in `root`.

        Raises:
            SceneError: The folder does not have that layout.
        """
        self.root = os.path.abspath(os.path.expanduser(os.fspath(root)))
        self.source = source
        self.list_file: str | None = None
        if source == "sun360":
            self._open_sun360(list_file)
            return
        if list_file is not None:
            raise ValueError(f"list_file={list_file!r}: only sun360 scenes have a list file")
        folders = _list_folders(self.root)
        self.splits = tuple(split for split in SPLITS if split in folders)
        if not self.splits:
            raise self._wrong_layout()
        # Labels count the classes of all splits, so that they agree between them.
        paths = {split: os.path.join(self.root, split) for split in self.splits}
        self._classes = {split: _by_class(_list_folders(path)) for split, path in paths.items()}
        self.class_names = tuple(sorted({c for found in self._classes.values() for c in found}))
        for split, path in paths.items():
            if not self._classes[split]:
                expected = f"a folder per class ({LAYOUTS[source]})"
                raise SceneError(path, f"expected {expected}, found {_show_contents(path)}")
        if source == "imagenet":
            others = [name for name in self.class_names if not _WNID.fullmatch(name)]
            if others:
                raise SceneError(
                    self.root,
                    f"expected {LAYOUTS['imagenet']} with WordNet ids like n01440764, found class "
                    f"folders {enumerate_some(others)}; imagefolder scenes take any class names",
                )

    def list(self, split: str) -> Listing:
        """Lists one of the stored splits.

        Raises:
            SceneError: The split is empty, or a folder cannot be read.
        """
        if self.source == "sun360":
            return self._list_sun360(split)
        folder = os.path.join(self.root, split)
        names: list[str] = []
        labels: list[int] = []
        ignored: list[str] = []
        for label, class_name in enumerate(self.class_names):
            for directory in self._classes[split].get(class_name, ()):
                images, rest = _list_images(os.path.join(folder, directory))
                names += [f"{directory}/{image}" for image in images]
                ignored += [os.path.join(folder, directory, name) for name in rest]
                labels += [label] * len(images)
        if not names:
            raise self._no_images(folder)
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
        if not any(_list_images(folder)[0] for folder in folders):
            raise SceneError(folders[0], f"a class without images, as {LAYOUTS[self.source]}")

    def _open_sun360(self, list_file: str | os.PathLike[str] | None) -> None:
        if list_file is None:
            candidates = [os.path.join(self.root, name) for name in SUN360_LIST_FILES]
        else:
            given = os.path.expanduser(os.fspath(list_file))
            candidates = [os.path.abspath(given), os.path.join(self.root, given)]
        self.list_file = next((path for path in candidates if os.path.isfile(path)), None)
        if list_file is not None and self.list_file is None:
            raise SceneError(candidates[0], "no such list file, neither here nor in data_root")
        if not any(place in _list_folders(self.root) for place in SUN360_PLACES):
            raise self._wrong_layout()
        self.splits = SPLITS[:2] if self.list_file else SPLITS

    def _list_sun360(self, split: str) -> Listing:
        ignored: list[str] = []
        if self.list_file:
            names = _read_list(self.list_file, self.root)
        else:
            names = []
            for place in SUN360_PLACES:
                if not os.path.isdir(os.path.join(self.root, place)):
                    continue
                for directory in _list_folders(os.path.join(self.root, place)):
                    images, rest = _list_images(os.path.join(self.root, place, directory))
                    names += [f"{place}/{directory}/{image}" for image in images]
                    ignored += [os.path.join(self.root, place, directory, name) for name in rest]
            if not names:
                raise self._no_images(self.root)
        classes = [unicodedata.normalize("NFC", "/".join(n.split("/")[:2])) for n in names]
        class_names, labels = np.unique(classes, return_inverse=True)
        if self.list_file:
            parts = (np.arange(len(names)) < max(1, len(names) // 10)).astype(np.int64)
        else:
            parts = assign_parts(names, labels, held_out_parts=2)
        rows = np.flatnonzero(parts == SPLITS.index(split))
        if not len(rows):
            raise SceneError(
                self.list_file or self.root, f"{len(names)} panoramas are too few for a {split!r}"
            )
        return Listing(
            self.root,
            [names[row] for row in rows],
            labels[rows].astype(np.int64),
            tuple(str(name) for name in class_names),
            ignored,
        )

    def _wrong_layout(self) -> SceneError:
        message = f"expected {LAYOUTS[self.source]}, found {_show_contents(self.root)}"
        if os.path.basename(self.root) in (*SPLITS, *SUN360_PLACES):
            message += f"; did you mean its parent, {os.path.dirname(self.root)}?"
        return SceneError(self.root, message)

    def _no_images(self, path: str) -> SceneError:
        suffixes = " ".join(sorted(IMAGE_SUFFIXES))
        return SceneError(path, f"no images ({suffixes}) as {LAYOUTS[self.source]}")


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
            list_file: See `SceneFolder`.
            seamless: Whether the images are 360-degree panoramas; None = those of SUN360 are.

        Raises:
            SceneError: The folder is of another layout, cannot be read, or lacks the split.
        """
        folder = SceneFolder(root, source, list_file)
        if isinstance(split, SplitChoice):
            self.choice = split
        else:
            self.choice = choose_split(split, folder.splits, folder.root)
        listing = folder.list(self.choice.stored)
        rows = self.choice.rows(listing.names, listing.labels)
        if not len(rows):
            raise SceneError(listing.folder, f"too few images to hold out a {split!r} split")
        self.name = source
        self.split = str(split)
        self.class_names = listing.class_names
        self.image_size = image_size
        self.labels = listing.labels[rows]
        self.seamless = source == "sun360" if seamless is None else seamless
        self._folder = listing.folder
        self._names = [listing.names[row] for row in rows]

    def read(self, index: int) -> bytes:  # noqa: D102
        return read_file(self.locate(index))

    def locate(self, index: int) -> str:  # noqa: D102
        self._check_index(index)
        return os.path.join(self._folder, self._names[index])


def read_file(path: str) -> bytes:
    """Returns the bytes of a file.

    Raises:
        SceneError: It cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise SceneError(path, f"cannot be read: {error.strerror}") from error


def _scan(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return sorted((e for e in entries if e.name[0] != "."), key=lambda entry: entry.name)
    except FileNotFoundError as error:
        raise SceneError(path, "no such folder") from error
    except OSError as error:
        raise SceneError(path, f"cannot be listed: {error.strerror}") from error


def _list_folders(path: str) -> list[str]:
    try:
        return [entry.name for entry in _scan(path) if entry.is_dir()]
    except OSError as error:  # a link to itself
        raise SceneError(error.filename or path, f"cannot be read: {error.strerror}") from error


def _list_images(path: str) -> tuple[list[str], list[str]]:
    """Returns the names of the images in a folder, and those of everything else."""
    images: list[str] = []
    rest: list[str] = []
    for entry in _scan(path):
        # Links are not followed here: the question would cost a system call per file.
        is_image = os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES and not entry.is_dir(
            follow_symlinks=False
        )
        (images if is_image else rest).append(entry.name)
    return images, rest


def _by_class(directories: Iterable[str]) -> dict[str, list[str]]:
    # Composed and decomposed accents are one class: macOS stores the latter.
    classes: dict[str, list[str]] = {}
    for directory in directories:
        classes.setdefault(unicodedata.normalize("NFC", directory), []).append(directory)
    return classes


def _show_contents(path: str) -> str:
    return enumerate_some([e.name for e in _scan(path)])


def _read_list(path: str, root: str) -> list[str]:
    """Reads a list of panoramas and makes sure that each is there, once."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [(number, line.strip()) for number, line in enumerate(file, 1)]
    except OSError as error:
        raise SceneError(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SceneError(path, f"a list file is UTF-8 text: {error}") from error
    first_line: dict[str, int] = {}
    missing: list[str] = []
    contents: dict[str, set[str]] = {}
    for number, name in lines:
        if not name:
            continue
        parts = name.split("/")
        if len(parts) < 3 or not all(parts) or ".." in parts:
            raise SceneError(path, f"line {number}: {name!r} is not like {LAYOUTS['sun360']}")
        if name in first_line:
            raise SceneError(
                path, f"line {number} repeats line {first_line[name]}: {name!r}; the splits overlap"
            )
        first_line[name] = number
        folder = "/".join(parts[:-1])
        if folder not in contents:
            location = os.path.join(root, folder)
            found = {e.name for e in _scan(location)} if os.path.isdir(location) else set()
            contents[folder] = found
        if parts[-1] not in contents[folder]:
            missing.append(f"{name!r} (line {number})")
    if missing:
        raise SceneError(
            path,
            f"{len(missing):,} of {len(first_line):,} files are not in {root}: "
            f"{enumerate_some(missing, 3)}",
        )
    if not first_line:
        raise SceneError(path, "the list is empty")
    return list(first_line)

"""Scenes in one HDF5 file.

Schema, version 1. Attributes of the file (strings of fixed or variable length, in UTF-8):

| attribute | content |
| --- | --- |
| `format_version` | integer, 1 |
| `layout` | string, "images"; other layouts may come, and are refused until then |
| `source` | string: "sun360", "imagenet" or "imagefolder" |
| `class_names` | strings `[C]` |
| `image_size` | int64 `[2]`, height and width in pixels; 0, 0 when they differ |
| `seamless` | boolean, whether the images are 360-degree panoramas |

One group for each split the data were published with (`train`, `val`, `test`):

| dataset | content |
| --- | --- |
| `images` | variable-length uint8 `[N]`, JPEG or PNG files as they are |
| `labels` | int64 `[N]`, indices of `class_names` |
| `names` | strings `[N]`, where each image came from (optional) |
| `crc32` | uint32 `[N]`, checksums of the images (optional) |
| `extents` | int64 `[N, 2]`, offset (-1: unknown) and length of each image here (optional) |

`ave_env.scenes.pack` writes such files, and `ave_env.scenes.files.splits` says what stands for a
split that is missing.

HDF5 takes several times as long to find a small image as to open a file. The extents lead straight
to its bytes, and are believed only when these have the right checksum: a tool that moves images
about, such as h5repack, leaves a file that reads just as well, only more slowly.
"""

from __future__ import annotations

import io
import os
import weakref
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import h5py
import numpy as np

from ave_env.choices import SPLITS
from ave_env.scenes.errors import SceneError, enumerate_some
from ave_env.scenes.files.encoded import EncodedScenes
from ave_env.scenes.files.splits import SplitChoice, choose_split
from ave_env.scenes.packed.global_heap import VariableLengthData, is_plain, read_at

FORMAT_VERSION = 1
LAYOUT = "images"
BYTES = h5py.vlen_dtype(np.uint8)


@dataclass(frozen=True)
class Header:
    """The attributes of a file.

    Attributes:
        source: Layout that the images were packed from.
        class_names: One name per class.
        image_size: Height and width of all images in pixels; (0, 0) when they differ.
        seamless: Whether the images are 360-degree panoramas.
        splits: The groups in the file.
    """

    source: str
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    seamless: bool
    splits: tuple[str, ...]


@dataclass(frozen=True)
class Columns:
    """What a split says of its images, besides their names.

    Attributes:
        labels: int64 `[N]`.
        checksums: uint32 `[N]`, or None.
        extents: int64 `[N, 2]`, or None.
    """

    labels: np.ndarray
    checksums: np.ndarray | None
    extents: np.ndarray | None


def read_header(path: str) -> Header:
    """Reads what a file holds.

    Raises:
        SceneError: It is not an HDF5 file, is damaged, or has another schema or a newer version.
    """
    with open_file(path) as file:
        attributes = dict(file.attrs)
        found = enumerate_some([*file.keys(), *(f"attribute {key}" for key in attributes)])
        if "format_version" not in attributes or "class_names" not in attributes:
            raise SceneError(
                path,
                "not a file of packed scenes: expected attributes format_version and class_names "
                f"and groups of train, val, test, found {found}",
            )
        version = int(attributes["format_version"])
        if version > FORMAT_VERSION:
            raise SceneError(
                path,
                f"format version {version} is newer than {FORMAT_VERSION}, the newest this release "
                "reads; upgrade active-visual-exploration",
            )
        layout = _text(attributes.get("layout", LAYOUT))
        if layout != LAYOUT:
            raise SceneError(path, f"unknown layout {layout!r}; expected {LAYOUT!r}")
        splits = tuple(split for split in SPLITS if split in file)
        if not splits:
            raise SceneError(path, f"expected groups of {', '.join(SPLITS)}, found {found}")
        height, width = (int(side) for side in attributes.get("image_size", (0, 0)))
        source = _text(attributes.get("source", "imagefolder"))
        return Header(
            source=source,
            class_names=tuple(_text(name) for name in attributes["class_names"]),
            image_size=(height, width),
            seamless=bool(attributes.get("seamless", source == "sun360")),
            splits=splits,
        )


def _text(value: object) -> str:
    """A string attribute, which h5py returns as text or, of fixed length, as bytes."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


class Hdf5Scenes(EncodedScenes):
    """One split of a file of packed scenes.

    The file is opened when the first image is read, in each process anew: scenes can be pickled,
    copied, and taken along by a fork.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        split: str | SplitChoice,
        *,
        image_size: tuple[int, int],
        source: str | None = None,
        seamless: bool | None = None,
    ) -> None:
        """Reads labels and classes of a split.

        Args:
            path: The file.
            split: "train", "val" or "test"; or a stored split and the part of it to take.
            image_size: Height and width in pixels to bring images to.
            source: What the file is expected to hold; None or "imagefolder" for anything.
            seamless: Whether the images are 360-degree panoramas; None = as the file says.

        Raises:
            SceneError: It is not a file of packed scenes, is damaged, or lacks the split.
        """
        self.path = os.path.abspath(os.path.expanduser(os.fspath(path)))
        header = read_header(self.path)
        if source not in (None, "imagefolder", header.source):
            raise SceneError(
                self.path,
                f"it holds {header.source} scenes, not {source}; open it as {header.source}, or "
                f"pack it with --source {source}",
            )
        if isinstance(split, SplitChoice):
            self.choice = split
        else:
            self.choice = choose_split(split, header.splits, self.path)
        with open_file(self.path) as file:
            group = file[self.choice.stored]
            columns = read_columns(self.path, group, len(header.class_names))
            # Names take seconds in large files, and matter only to hold images out.
            names = [] if self.choice.part == "all" else read_names(self.path, group)
        rows = self.choice.rows(names, columns.labels)
        if not len(rows):
            raise SceneError(self.path, f"too few images in {self.choice} for {split!r}")
        self.name = header.source
        self.split = str(split)
        self.class_names = header.class_names
        self.image_size = image_size
        self.labels = columns.labels[rows]
        self.seamless = header.seamless if seamless is None else seamless
        self._rows = rows
        self._checksums = None if columns.checksums is None else columns.checksums[rows]
        self._extents = None if columns.extents is None else columns.extents[rows]
        self._file: io.FileIO | None = None
        self._handle: h5py.File | None = None
        self._images: VariableLengthData | h5py.Dataset | None = None  # of the handle
        _OPEN.add(self)

    def read(self, index: int) -> bytes:  # noqa: D102
        self._check_index(index)
        try:
            data = self._read_extent(index)
            if data is None or not self._is_sound(index, data):
                data = self._read_dataset(index)
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise SceneError(self.locate(index), f"cannot be read: {error}") from error
        if not self._is_sound(index, data):
            raise SceneError(
                self.locate(index), "damaged: the checksum differs; restore or pack the file again"
            )
        return data

    def _read_extent(self, index: int) -> bytes | None:
        if self._extents is None or self._checksums is None:
            return None
        offset, length = self._extents[index].tolist()
        try:
            return read_at(self._descriptor(), offset, length)
        except ValueError:  # not known, or no longer true
            return None

    def _read_dataset(self, index: int) -> bytes:
        if self._images is None:
            self._handle = open_handle(self.path)
            dataset = self._handle[self.choice.stored]["images"]
            plain = is_plain(dataset)
            self._images = VariableLengthData(dataset, self._descriptor()) if plain else dataset
        return bytes(self._images[int(self._rows[index])])

    def _descriptor(self) -> int:
        if self._file is None:
            self._file = open(self.path, "rb", buffering=0)  # noqa: SIM115
        return self._file.fileno()

    def _is_sound(self, index: int, data: bytes) -> bool:
        return self._checksums is None or zlib.crc32(data) == self._checksums[index]

    def locate(self, index: int) -> str:  # noqa: D102
        self._check_index(index)
        return f"{self.path}:/{self.choice.stored}/images[{self._rows[index]}]"

    def close(self) -> None:
        """Closes the file until the next image is read."""
        for file in (self._file, self._handle):
            if file is not None:
                file.close()
        self._file = self._handle = self._images = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_file": None, "_handle": None, "_images": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        _OPEN.add(self)


_OPEN: weakref.WeakSet[Hdf5Scenes] = weakref.WeakSet()


def _close_inherited() -> None:
    # A handle that crosses a fork shares its file position with the parent.
    for scenes in list(_OPEN):
        scenes.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)


def open_handle(path: str) -> h5py.File:
    """Opens a file for reading."""
    # Packed files never change; locking them fails on some network file systems.
    return h5py.File(path, "r", locking=False)


@contextmanager
def open_file(path: str) -> Iterator[h5py.File]:
    """Opens a file for a while; whatever HDF5 finds wrong with it is a `SceneError`."""
    if not os.path.exists(path):
        raise SceneError(path, "no such file")
    try:
        with open_handle(path) as file:
            yield file
    except SceneError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise SceneError(path, f"not a readable HDF5 file, or incomplete: {error}") from error


def read_columns(path: str, group: h5py.Group, num_classes: int) -> Columns:
    """Returns what a split says of its images, after checking it."""
    missing = [key for key in ("images", "labels") if key not in group]
    if missing:
        raise SceneError(f"{path}:{group.name}", f"no dataset {' or '.join(missing)}")
    images, labels = group["images"], group["labels"][()].astype(np.int64)
    if h5py.check_vlen_dtype(images.dtype) != np.uint8 or images.shape != labels.shape:
        raise SceneError(
            f"{path}:{group.name}",
            f"expected variable-length uint8 images and one label each, found images of type "
            f"{images.dtype} and shape {images.shape}, labels of shape {labels.shape}",
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
        raise SceneError(
            f"{path}:{group.name}/labels",
            f"labels from {labels.min()} to {labels.max()} for {num_classes} class names",
        )
    optional: dict[str, np.ndarray | None] = {}
    for name, shape in (("crc32", labels.shape), ("extents", (len(labels), 2))):
        optional[name] = group[name][()] if name in group else None
        if name in group and group[name].shape != shape:
            raise SceneError(
                f"{path}:{group.name}/{name}", f"expected shape {shape}, found {group[name].shape}"
            )
    return Columns(labels, optional["crc32"], optional["extents"])


def read_names(path: str, group: h5py.Group) -> list[str]:
    """Returns where the images of a split came from, or their numbers if that is not known."""
    if "names" not in group:
        return [str(row) for row in range(len(group["labels"]))]
    names = group["names"]
    with open(path, "rb", buffering=0) as file:
        stored = VariableLengthData(names, file.fileno()) if is_plain(names) else names[()]
        return [name.decode("utf-8", "surrogateescape") for name in stored]

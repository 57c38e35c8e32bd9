"""Scenes in one HDF5 file.

Schema, version 1. Attributes of the file:

========================  ==========================================================================
``format_version``        integer, 1
``layout``                string, "images"; other layouts may come, and are refused until then
``source``                string: "sun360", "imagenet" or "imagefolder"
``class_names``           strings ``[C]``
``image_size``            int64 ``[2]``, height and width in pixels; 0, 0 when they differ
``seamless``              boolean, whether the images are 360-degree panoramas
========================  ==========================================================================

One group for each split the data were published with (``train``, ``val``, ``test``):

========================  ==========================================================================
``images``                variable-length uint8 ``[N]``, JPEG or PNG files as they are
``labels``                int64 ``[N]``, indices of ``class_names``
``names``                 strings ``[N]``, where each image came from (optional)
``crc32``                 uint32 ``[N]``, checksums of the images (optional)
========================  ==========================================================================

`ave_env.scenes.pack` writes such files, and `ave_env.scenes.splits` says what stands for a split
that is missing.
"""

from __future__ import annotations

import os
import weakref
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from ave_env.scenes.encoded import EncodedScenes
from ave_env.scenes.errors import SceneError, enumerate_some
from ave_env.scenes.splits import SPLITS, SplitChoice, choose_split

FORMAT_VERSION = 1
LAYOUT = "images"
_BYTES = h5py.vlen_dtype(np.uint8)
_BATCH = 256  # images moved between Python and HDF5 at once


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


def read_header(path: str) -> Header:
    """Reads what a file holds.

    Raises:
        SceneError: It is no HDF5 file, is damaged, or has another schema or a newer version.
    """
    with _open(path) as file:
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
        layout = attributes.get("layout", LAYOUT)
        if layout != LAYOUT:
            raise SceneError(path, f"unknown layout {layout!r}; expected {LAYOUT!r}")
        splits = tuple(split for split in SPLITS if split in file)
        if not splits:
            raise SceneError(path, f"expected groups of {', '.join(SPLITS)}, found {found}")
        height, width = (int(side) for side in attributes.get("image_size", (0, 0)))
        return Header(
            source=str(attributes.get("source", "imagefolder")),
            class_names=tuple(str(name) for name in attributes["class_names"]),
            image_size=(height, width),
            seamless=bool(attributes.get("seamless", attributes.get("source") == "sun360")),
            splits=splits,
        )


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
            SceneError: The file is none of ours, damaged, or lacks the split.
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
        with _open(self.path) as file:
            group = file[self.choice.stored]
            labels, checksums = _read_columns(self.path, group, len(header.class_names))
            # Names take seconds in large files, and matter only to hold images out.
            names = [] if self.choice.part == "all" else _read_names(group)
        rows = self.choice.rows(names, labels)
        if not len(rows):
            raise SceneError(self.path, f"too few images in {self.choice} for {split!r}")
        self.name = header.source
        self.split = str(split)
        self.class_names = header.class_names
        self.image_size = image_size
        self.labels = labels[rows]
        self.seamless = header.seamless if seamless is None else seamless
        self._rows = rows
        self._checksums = None if checksums is None else checksums[rows]
        self._handle: h5py.File | None = None
        self._images: Any = None
        _OPEN.add(self)

    def read(self, index: int) -> bytes:  # noqa: D102
        self._check_index(index)
        try:
            if self._images is None:
                self._handle = _open_handle(self.path)
                self._images = self._handle[self.choice.stored]["images"].id
            # The high-level `dataset[row]` takes twice the time.
            space = self._images.get_space()
            space.select_hyperslab((int(self._rows[index]),), (1,))
            box = np.empty(1, _BYTES)
            self._images.read(_ONE, space, box)
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise SceneError(self.locate(index), f"cannot be read: {error}") from error
        data = box[0].tobytes()
        if self._checksums is not None and zlib.crc32(data) != self._checksums[index]:
            raise SceneError(
                self.locate(index), "damaged: the checksum differs; restore or pack the file again"
            )
        return data

    def locate(self, index: int) -> str:  # noqa: D102
        self._check_index(index)
        return f"{self.path}:/{self.choice.stored}/images[{self._rows[index]}]"

    def close(self) -> None:
        """Closes the file until the next image is read."""
        if self._handle is not None:
            self._handle.close()
        self._handle = self._images = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None, "_images": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        _OPEN.add(self)


_ONE = h5py.h5s.create_simple((1,))
_OPEN: weakref.WeakSet[Hdf5Scenes] = weakref.WeakSet()


def _close_inherited() -> None:
    # A handle that crosses a fork shares its file position with the parent.
    for scenes in list(_OPEN):
        scenes.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)


@dataclass(frozen=True)
class Column:
    """The images of one split, to be written.

    Attributes:
        names: Where each came from.
        labels: Class of each, int64 ``[N]``.
        checksums: CRC-32 of each, uint32 ``[N]``.
        images: The encoded images, in order.
    """

    names: list[str]
    labels: np.ndarray
    checksums: np.ndarray
    images: Iterable[bytes]


def write(path: str, header: Header, columns: dict[str, Column]) -> None:
    """Writes a file of packed scenes and sees that it reaches the disk.

    Raises:
        OSError: The disk is full, or does not let itself be written.
    """
    # From "v108" on, attributes may be larger than 64 kB, as many class names need.
    with h5py.File(path, "w", libver=("v108", "latest")) as file:
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["layout"] = LAYOUT
        file.attrs["source"] = header.source
        file.attrs.create("class_names", header.class_names, dtype=h5py.string_dtype())
        file.attrs["image_size"] = np.array(header.image_size, np.int64)
        file.attrs["seamless"] = header.seamless
        for split, column in columns.items():
            group = file.create_group(split)
            group["labels"] = column.labels
            group["crc32"] = column.checksums
            names = [name.encode("utf-8", "surrogateescape") for name in column.names]
            group.create_dataset("names", data=names, dtype=h5py.string_dtype())
            dataset = group.create_dataset("images", (len(names),), dtype=_BYTES)
            start = 0
            for batch in _batches(column.images):
                dataset[start : start + len(batch)] = batch
                start += len(batch)
    with open(path, "rb+") as written:
        os.fsync(written.fileno())


def verify(path: str, header: Header, columns: dict[str, Column]) -> None:
    """Compares a file with what should have been written to it.

    Args:
        path: The file.
        header: The attributes it should have.
        columns: What it should hold; the images are compared by checksum.

    Raises:
        SceneError: It differs.
    """
    if read_header(path) != header:
        raise SceneError(path, "the attributes read back differ from those written")
    with _open(path) as file:
        for split, column in columns.items():
            labels, checksums = _read_columns(path, file[split], len(header.class_names))
            if _read_names(file[split]) != column.names or not np.array_equal(
                labels, column.labels
            ):
                raise SceneError(path, f"names or labels of {split!r} differ from those written")
            for start in range(0, len(labels), _BATCH):
                batch = file[split]["images"][start : start + _BATCH]
                expected = column.checksums[start : start + _BATCH]
                actual = np.array([zlib.crc32(image.tobytes()) for image in batch], np.uint32)
                if checksums is None or not np.array_equal(actual, expected):
                    raise SceneError(path, f"images of {split!r} differ from those written")


def _open_handle(path: str) -> h5py.File:
    # Packed files never change; locking them fails on some network file systems.
    return h5py.File(path, "r", locking=False)


@contextmanager
def _open(path: str) -> Iterator[h5py.File]:
    if not os.path.exists(path):
        raise SceneError(path, "no such file")
    try:
        with _open_handle(path) as file:
            yield file
    except SceneError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise SceneError(path, f"no readable HDF5 file, or only part of one: {error}") from error


def _read_columns(path: str, group: Any, num_classes: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns labels and checksums of a split, after checking them."""
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
    return labels, group["crc32"][()] if "crc32" in group else None


def _read_names(group: Any) -> list[str]:
    if "names" not in group:
        return [str(row) for row in range(len(group["labels"]))]
    return [name.decode("utf-8", "surrogateescape") for name in group["names"][()]]


def _batches(images: Iterable[bytes]) -> Iterator[np.ndarray]:
    batch: list[bytes] = []
    size = 0
    for image in images:
        batch.append(image)
        size += len(image)
        if len(batch) == _BATCH or size > 2**26:
            yield _as_objects(batch)
            batch, size = [], 0
    if batch:
        yield _as_objects(batch)


def _as_objects(images: list[bytes]) -> np.ndarray:
    objects = np.empty(len(images), object)
    for row, image in enumerate(images):
        objects[row] = np.frombuffer(image, np.uint8)
    return objects

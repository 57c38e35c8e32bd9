"""What a file of packed scenes holds, and how it is checked.

Schema, version 1. Attributes of the file (strings of fixed or variable length, in UTF-8):

| attribute | content |
| --- | --- |
| `format_version` | integer, 1 |
| `layout` | string, "images" (the default); other layouts may come, and are refused until then |
| `source` | string: "sun360", "imagenet", or "imagefolder" (the default) or a name of one's own |
| `class_names` | strings `[C]`, no two alike |
| `image_size` | int64 `[2]`, height and width in pixels; 0, 0 (the default) when they differ |
| `seamless` | boolean, whether the images are 360-degree panoramas; by default for SUN360 |

One group for each split the data were published with (`train`, `val`, `test`):

| dataset | content |
| --- | --- |
| `images` | variable-length uint8 `[N]`, JPEG or PNG files as they are |
| `labels` | integers `[N]`, indices of `class_names` |
| `names` | strings `[N]`, where each image came from, no two alike (optional) |
| `crc32` | uint32 `[N]`, checksums of the images (optional) |
| `extents` | int64 `[N, 2]`, offset (-1: unknown) and length of each image here (optional) |

`ave_env.scenes.pack` writes such files, and `ave_env.scenes.files.splits` says what stands for a
split that is missing. Every attribute and dataset is checked for kind, shape and range.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import h5py
import numpy as np

from ave_env.choices import SPLITS
from ave_env.scenes.errors import SceneError, enumerate_some
from ave_env.scenes.packed.attributes import (
    FileAttributes,
    decode,
    describe,
    require_distinct,
)
from ave_env.scenes.packed.global_heap import VariableLengthData, is_plain
from ave_env.scenes.packed.guarded import GuardedReader

FORMAT_VERSION = 1
LAYOUT = "images"
BYTES = h5py.vlen_dtype(np.uint8)

_ATTRIBUTES = ("format_version", "layout", "source", "class_names", "image_size", "seamless")
_DATASETS = ("images", "labels", "names", "crc32", "extents")
_BATCH = 1000  # names read at once


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


def read_header(path: str) -> Header:
    """Reads what a file holds.

    Raises:
        SceneError: It is not an HDF5 file, is damaged, or has another schema or version.
    """
    with open_file(path) as file:
        attributes = FileAttributes(path, file)
        found = enumerate_some([*file.keys(), *(f"attribute {key}" for key in file.attrs)])
        if "format_version" not in file.attrs or "class_names" not in file.attrs:
            raise SceneError(
                path,
                "not a file of packed scenes: expected attributes format_version and class_names "
                f"and groups of train, val, test, found {found}",
            )
        _check_version(path, attributes.integers("format_version", ())[0])
        layout = attributes.text("layout", LAYOUT)
        if layout != LAYOUT:
            raise SceneError(path, f"unknown layout {layout!r}; expected {LAYOUT!r}")
        source = attributes.text("source", "imagefolder")
        return Header(
            source=source,
            class_names=attributes.class_names(),
            image_size=attributes.image_size(),
            seamless=attributes.flag("seamless", source == "sun360"),
            splits=_splits(path, file, found),
        )


def find_unused(path: str) -> list[str]:
    """Paths of what is in a file and is not read.

    Raises:
        SceneError: It cannot be read.
    """
    with open_file(path) as file:
        unused = [f"attribute {name}" for name in file.attrs if name not in _ATTRIBUTES]
        for name in file:
            if name not in SPLITS:
                unused.append(f"/{name}")
            elif isinstance(file.get(name), h5py.Group):
                unused += [f"/{name}/{key}" for key in file[name] if key not in _DATASETS]
        return unused


def read_columns(path: str, group: h5py.Group, num_classes: int) -> Columns:
    """Returns what a split says of its images, after checking it.

    Raises:
        SceneError: A dataset is missing, or is of another kind, shape or range.
    """
    for key in ("images", "labels"):
        if not isinstance(group.get(key), h5py.Dataset):
            raise SceneError(f"{path}:{group.name}", f"no dataset {key}")
    images = group["images"]
    if h5py.check_vlen_dtype(images.dtype) != np.uint8 or images.ndim != 1:
        raise SceneError(
            f"{path}:{group.name}",
            "expected variable-length uint8 images in one dimension, found images of type "
            f"{images.dtype} and shape {images.shape}",
        )
    rows = len(images)
    labels = _integers(path, group, "labels", (rows,), (0, num_classes - 1))
    assert labels is not None
    checksums = _integers(path, group, "crc32", (rows,), (0, 2**32 - 1))
    extents = _integers(path, group, "extents", (rows, 2), (-1, 2**63 - 1))
    return Columns(labels, None if checksums is None else checksums.astype(np.uint32), extents)


def read_names(path: str, group: h5py.Group) -> list[str]:
    """Returns where the images of a split came from, or their numbers if that is not known.

    Raises:
        SceneError: They are no strings, not one for each image, or two are alike.
    """
    rows = len(group["images"])
    if "names" not in group:
        return [str(row) for row in range(rows)]
    stored = group["names"]
    where = f"{path}:{group.name}/names"
    if not isinstance(stored, h5py.Dataset) or h5py.check_string_dtype(stored.dtype) is None:
        raise SceneError(where, f"expected strings, found {describe(stored)}")
    if stored.shape != (rows,):
        raise SceneError(where, f"expected shape {(rows,)}, found {stored.shape}")
    try:
        names = [decode(name) for name in _read_strings(path, stored)]
    except ValueError as error:
        raise SceneError(where, f"cannot be read: {error}") from error
    require_distinct(where, names)
    return names


def is_plain_here(path: str, dataset: h5py.Dataset) -> bool:
    """Whether a dataset lies in this very file, in one piece; links lead to others."""
    return is_plain(dataset) and os.path.samefile(dataset.file.filename, path)


def _check_version(path: str, version: int) -> None:
    if version > FORMAT_VERSION:
        raise SceneError(
            path,
            f"format version {version} is newer than {FORMAT_VERSION}, the newest this release "
            "reads; upgrade active-visual-exploration",
        )
    if version < 1:
        raise SceneError(path, f"there is no format version {version}; expected {FORMAT_VERSION}")


def _splits(path: str, file: h5py.File, found: str) -> tuple[str, ...]:
    """The splits in a file, each of which has to be a group."""
    names = [split for split in SPLITS if split in file.keys()]  # noqa: SIM118 (`in file` follows links)
    for name in names:
        if not isinstance(file.get(name), h5py.Group):
            kind = "a dataset" if file.get(name) is not None else "a link to nothing"
            raise SceneError(
                f"{path}:/{name}", f"expected a group of images and labels, found {kind}"
            )
    if not names:
        raise SceneError(path, f"expected groups of {', '.join(SPLITS)}, found {found}")
    return tuple(names)


def _integers(
    path: str, group: h5py.Group, name: str, shape: tuple[int, ...], limits: tuple[int, int]
) -> np.ndarray | None:
    """A dataset of integers as int64; None where there is none.

    Args:
        path: The file.
        group: Where the dataset is.
        name: Its name.
        shape: The shape it should have.
        limits: Its lowest and highest possible value.
    """
    if name not in group:
        return None
    stored, where = group[name], f"{path}:{group.name}/{name}"
    if not isinstance(stored, h5py.Dataset) or stored.dtype.kind not in "iu":
        raise SceneError(where, f"expected integers, found {describe(stored)}")
    if stored.shape != shape:
        raise SceneError(where, f"expected shape {shape}, found {stored.shape}")
    values: np.ndarray = stored[()]
    if values.size:
        lowest, highest = int(values.min()), int(values.max())
        if lowest < limits[0] or highest > limits[1]:
            allowed = f"{limits[0]} to {limits[1]}"
            if name == "labels":
                allowed += f", as there are {limits[1] + 1} class names"
            raise SceneError(where, f"values from {lowest} to {highest}; expected {allowed}")
    return values.astype(np.int64)


def _read_strings(path: str, stored: h5py.Dataset) -> Iterator[bytes]:
    """The elements of a dataset of strings, as bytes."""
    if h5py.check_string_dtype(stored.dtype).length is not None:
        yield from map(bytes, stored[()])
    elif is_plain_here(path, stored):
        with open(path, "rb", buffering=0) as file:
            yield from VariableLengthData(stored, file.fileno())
    else:
        reader = GuardedReader(path)
        try:
            for first in range(0, len(stored), _BATCH):
                yield from reader.elements(stored.name, first, min(first + _BATCH, len(stored)))
        finally:
            reader.close()

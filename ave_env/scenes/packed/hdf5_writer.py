"""Writes files of packed scenes; `ave_env.scenes.packed.schema` describes them."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h5py
import numpy as np

from ave_env.scenes.errors import SceneError
from ave_env.scenes.packed.global_heap import VariableLengthData
from ave_env.scenes.packed.schema import (
    BYTES,
    FORMAT_VERSION,
    LAYOUT,
    Header,
    open_file,
    read_columns,
    read_header,
    read_names,
)

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_BATCH = 256  # images moved between Python and HDF5 at once


@dataclass(frozen=True)
class Contents:
    """The images of one split, to be written.

    Attributes:
        names: Where each came from.
        labels: Class of each, int64 `[N]`.
        checksums: CRC-32 of each, uint32 `[N]`.
        images: The encoded images, in order.
    """

    names: list[str]
    labels: np.ndarray
    checksums: np.ndarray
    images: Iterable[bytes]


class _Disk(io.FileIO):
    """A file that HDF5 can always write to.

    HDF5 keeps what it could not write and crashes the process over it later. So the first failure
    is kept here instead, nothing is written after it, and HDF5 can close the file.
    """

    _failure: OSError | None = None

    def write(self, data: ReadableBuffer) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while self._failure is None and len(rest):
                rest = rest[super().write(rest) :]
        except OSError as error:
            self._failure = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return self.tell() if self._failure else super().truncate(size)
        except OSError as error:
            self._failure = error
            return self.tell()

    def raise_failure(self) -> None:
        """Raises the first failure, if there was one."""
        if self._failure is not None:
            raise self._failure


def write_packed(path: str, header: Header, splits: dict[str, Contents]) -> None:
    """Writes a file of packed scenes and sees that it reaches the disk.

    Raises:
        OSError: The disk is full or cannot be written to.
    """
    # From "v108" on, attributes may be larger than 64 kB, as many class names need.
    with _Disk(path, "w+") as disk, h5py.File(disk, "w", libver=("v108", "latest")) as file:
        file.attrs["format_version"] = FORMAT_VERSION
        # Of fixed length, and so outside the heaps that HDF5 reads without checking them.
        file.attrs["layout"] = np.bytes_(LAYOUT)
        file.attrs["source"] = np.bytes_(header.source)
        encoded = [name.encode("utf-8", "surrogateescape") for name in header.class_names]
        longest = max(map(len, encoded), default=1)
        utf8 = h5py.string_dtype("utf-8", longest)
        file.attrs.create("class_names", np.array(encoded, utf8), dtype=utf8)
        file.attrs["image_size"] = np.array(header.image_size, np.int64)
        file.attrs["seamless"] = header.seamless
        for name, contents in splits.items():
            _write_split(file.create_group(name), contents, disk)
        file.close()
        disk.raise_failure()
        os.fsync(disk.fileno())


def _write_split(group: h5py.Group, contents: Contents, disk: _Disk) -> None:
    names = [name.encode("utf-8", "surrogateescape") for name in contents.names]
    group.create_dataset("names", data=names, dtype=h5py.string_dtype())
    group["labels"] = contents.labels
    group["crc32"] = contents.checksums
    dataset = group.create_dataset("images", (len(names),), dtype=BYTES)
    extents: list[tuple[int, int]] = []
    for batch in _batches(contents.images):
        start = len(extents)
        # `dataset[rows] = batch` takes images of equal length for a matrix.
        space = dataset.id.get_space()
        space.select_hyperslab((start,), (len(batch),))
        memory = np.empty(len(batch), BYTES)
        for row, image in enumerate(batch):
            memory[row] = np.frombuffer(image, np.uint8)
        dataset.id.write(h5py.h5s.create_simple((len(batch),)), space, memory)
        group.file.flush()
        disk.raise_failure()
        stored = VariableLengthData(dataset, disk.fileno())
        extents += stored.extents(start, start + len(batch))
    group["extents"] = np.array(extents, np.int64)


def verify_packed(path: str, header: Header, splits: dict[str, Contents]) -> None:
    """Compares a file with what should have been written to it.

    Args:
        path: The file.
        header: The attributes it should have.
        splits: What it should hold; the images are compared by checksum.

    Raises:
        SceneError: It differs.
    """
    if read_header(path) != header:
        raise SceneError(path, "the attributes read back differ from those written")
    with open_file(path) as file:
        for name, contents in splits.items():
            columns = read_columns(path, file[name], len(header.class_names))
            if read_names(path, file[name]) != contents.names:
                raise SceneError(path, f"names of {name!r} differ from those written")
            if columns.labels.tolist() != contents.labels.tolist():
                raise SceneError(path, f"labels of {name!r} differ from those written")
            for start in range(0, len(contents.names), _BATCH):
                images = file[name]["images"][start : start + _BATCH]
                actual = [zlib.crc32(image.tobytes()) for image in images]
                if actual != contents.checksums[start : start + _BATCH].tolist():
                    raise SceneError(path, f"images of {name!r} differ from those written")


def _batches(images: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for image in images:
        batch.append(image)
        size += len(image)
        if len(batch) == _BATCH or size > 2**26:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch

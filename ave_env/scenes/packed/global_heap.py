"""Reads the variable-length data of HDF5 files without HDF5.

HDF5 trusts the "global heaps" in which it keeps such data: a block of zeros in one, as an
unfinished download leaves behind, has it loop for ever. Here damage is an error.

Source: HDF5 File Format Specification 3.0, section III.E (global heaps).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

import h5py
import numpy as np

# What stands in a dataset in the place of each element.
_REFERENCE = np.dtype([("length", "<u4"), ("heap", "<u8"), ("index", "<u4")])
_SIGNATURE = b"GCOL\x01\0\0\0"
_HEADER = struct.Struct("<8sQ")  # signature, size of the heap
_OBJECT = struct.Struct("<HHIQ")  # index, reference count, reserved, size


class VariableLengthData:
    """The elements of one variable-length dataset, as bytes.

    Args:
        dataset: A one-dimensional dataset of variable-length elements of one byte.
        descriptor: Of its file, open for reading.

    Raises:
        ValueError: It is stored in a way that only HDF5 can follow (see `is_plain`).
    """

    def __init__(self, dataset: h5py.Dataset, descriptor: int) -> None:
        if not is_plain(dataset):
            raise ValueError(f"{dataset.name} is not stored as one plain block")
        self._start = dataset.id.get_offset()
        self._length = len(dataset)
        self._descriptor = descriptor

    def extents(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Where elements lie in the file: offset and number of bytes of each.

        Args:
            first: The first element.
            last: One past the last.

        Raises:
            ValueError: The file is damaged there.
        """
        width = _REFERENCE.itemsize
        start = self._start + width * first
        table = read_at(self._descriptor, start, width * (last - first))
        objects: dict[int, tuple[int, int]] = {}
        last_heap = -1  # neighbours share one
        for length, heap, index in np.frombuffer(table, _REFERENCE).tolist():
            if not length:
                yield 0, 0
                continue
            if heap != last_heap:
                objects, last_heap = read_heap(self._descriptor, heap), heap
            offset, size = objects.get(index, (0, -1))
            if length > size:
                raise ValueError(f"damaged: no {length} bytes in object {index} of heap {heap}")
            yield offset, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, element: int) -> bytes:
        ((offset, length),) = self.extents(element, element + 1)
        return read_at(self._descriptor, offset, length)

    def __iter__(self) -> Iterator[bytes]:
        for offset, length in self.extents(0, len(self)):
            yield read_at(self._descriptor, offset, length)


def read_at(descriptor: int, offset: int, length: int) -> bytes:
    """Bytes of a file.

    Raises:
        ValueError: The file does not have them.
    """
    size = os.fstat(descriptor).st_size
    if offset < 0 or length < 0 or offset + length > size:
        raise ValueError(f"damaged: {length} bytes at byte {offset} of a file of {size} bytes")
    return os.pread(descriptor, length, offset)


def is_plain(dataset: h5py.Dataset) -> bool:
    """Whether a dataset's references lie in its file in one piece, as `pack` writes them."""
    return (
        dataset.id.get_offset() is not None
        and dataset.id.get_storage_size() == _REFERENCE.itemsize * len(dataset)
        and dataset.file.userblock_size == 0
    )


def read_heap(descriptor: int, address: int) -> dict[int, tuple[int, int]]:
    """Where the objects of a global heap are.

    Args:
        descriptor: Of the file.
        address: Where the heap begins in it.

    Returns:
        Offset in the file and size in bytes of each object, by its index.

    Raises:
        ValueError: There is no sound heap.
    """
    signature, size = _HEADER.unpack(read_at(descriptor, address, _HEADER.size))
    if signature != _SIGNATURE or size < _HEADER.size:
        raise ValueError(f"damaged: no heap at byte {address}")
    content = read_at(descriptor, address, size)
    objects: dict[int, tuple[int, int]] = {}
    position = _HEADER.size
    while position + _OBJECT.size <= len(content):
        index, _, _, length = _OBJECT.unpack_from(content, position)
        if index == 0:  # free space, which reaches to the end
            break
        begin = position + _OBJECT.size
        position = begin + -(-length // 8) * 8
        if position > len(content):
            raise ValueError(f"damaged: object {index} leaves the heap at byte {address}")
        objects[index] = address + begin, length
    return objects

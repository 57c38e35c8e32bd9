"""Scenes in one HDF5 file; `schema` describes it.

HDF5 takes several times as long to find a small image as to open a file. The extents lead straight
to its bytes, and are believed only when these have the right checksum: a tool that moves images
about, such as h5repack, leaves a file that reads just as well, only more slowly.
"""

from __future__ import annotations

import functools
import io
import os
import weakref
import zlib
from collections.abc import Callable

import h5py

from ave_env.scenes.errors import SceneError, enumerate_some
from ave_env.scenes.files.encoded import EncodedScenes
from ave_env.scenes.files.splits import SplitChoice, choose_split
from ave_env.scenes.packed.global_heap import VariableLengthData, read_at
from ave_env.scenes.packed.guarded import GuardedReader
from ave_env.scenes.packed.schema import (
    is_plain_here,
    open_file,
    open_handle,
    read_columns,
    read_header,
    read_names,
)
from encoders.support.notices import warn


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
            others = [
                f"/{name}"
                for name in file
                if name not in header.splits and isinstance(file.get(name), h5py.Group)
            ]
        if self.choice.part == "held out" and others:
            warn(
                f"{self.path}: no val; a tenth of train is held out. Not used: "
                f"{enumerate_some(others, 3)}",
            )
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
        self._reader: GuardedReader | None = None
        self._read_row: Callable[[int], bytes] | None = None  # of the handle or the reader
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
        if self._read_row is None:
            self._handle = open_handle(self.path)
            dataset = self._handle[self.choice.stored]["images"]
            if is_plain_here(self.path, dataset):
                self._read_row = VariableLengthData(dataset, self._descriptor()).__getitem__
            else:
                self._reader = GuardedReader(self.path)
                self._read_row = functools.partial(_read_element, self._reader, dataset.name)
        return self._read_row(int(self._rows[index]))

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
        for file in (self._file, self._handle, self._reader):
            if file is not None:
                file.close()
        self.__dict__.update(_NOTHING_OPEN)

    def forget(self) -> None:
        """Leaves what is open to the parent process, after a fork."""
        if self._reader is not None:
            self._reader.forget()
            self._reader = None
        self.close()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, **_NOTHING_OPEN}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        _OPEN.add(self)


_NOTHING_OPEN = dict.fromkeys(("_file", "_handle", "_reader", "_read_row"))
_OPEN: weakref.WeakSet[Hdf5Scenes] = weakref.WeakSet()


def _close_inherited() -> None:
    # A handle that crosses a fork shares its file position with the parent.
    for scenes in list(_OPEN):
        scenes.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)


def _read_element(reader: GuardedReader, where: str, row: int) -> bytes:
    (element,) = reader.elements(where, row, row + 1)
    return element

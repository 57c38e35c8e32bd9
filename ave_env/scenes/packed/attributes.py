"""Attributes of an HDF5 file, checked for kind and shape before they are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import h5py
import numpy as np

from ave_env.scenes.errors import SceneError, enumerate_some
from ave_env.scenes.packed.guarded import GuardedReader

_KINDS = {"b": "booleans", "i": "integers", "u": "integers", "f": "floating-point numbers"}


class FileAttributes:
    """What a file of packed scenes says of itself.

    Raises:
        SceneError: From every method: an attribute is of another kind, shape or range, or damaged.
    """

    def __init__(self, path: str, file: h5py.File) -> None:
        self._path = path
        self._file = file

    def class_names(self) -> tuple[str, ...]:
        """One name per class, no two alike."""
        names = self._strings("class_names", 1)
        where = f"{self._path}: attribute class_names"
        if not names:
            raise SceneError(where, "there are none")
        require_distinct(where, names)
        return tuple(names)

    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels; 0, 0 where images differ."""
        height, width = self.integers("image_size", (2,), [0, 0])
        if height < 0 or width < 0 or (height == 0) != (width == 0):
            raise self._unlike("image_size", "height and width, or 0 and 0", f"{height}, {width}")
        return height, width

    def text(self, name: str, default: str) -> str:
        """A string."""
        return self._strings(name, 0)[0] if name in self._file.attrs else default

    def flag(self, name: str, default: bool) -> bool:
        """A boolean, or 0 or 1."""
        if name not in self._file.attrs:
            return default
        dtype = self._file.attrs.get_id(name).dtype
        if dtype.kind == "b":
            value = np.asarray(self._file.attrs[name])
            if value.shape == ():
                return bool(value)
        # Languages without booleans write an integer.
        (number,) = self.integers(name, (), expected="True or False")
        if number not in (0, 1):
            raise self._unlike(name, "True or False", str(number))
        return bool(number)

    def integers(
        self,
        name: str,
        shape: tuple[int, ...],
        default: Sequence[int] = (),
        expected: str = "an integer",
    ) -> list[int]:
        """Integers, one where the shape is ()."""
        if name not in self._file.attrs:
            return list(default)
        identifier = self._file.attrs.get_id(name)
        kind = expected if shape == () else f"{shape[0]} integers"
        if identifier.dtype.kind not in "iu" or identifier.shape not in (shape, shape or (1,)):
            raise self._unlike(name, kind, self._show(name))
        return [int(value) for value in np.atleast_1d(self._file.attrs[name])]

    def _strings(self, name: str, dimensions: int) -> list[str]:
        identifier = self._file.attrs.get_id(name)
        strings = h5py.check_string_dtype(identifier.dtype)
        shape = identifier.shape  # None where it is empty
        if strings is None or shape is None or len(shape) != dimensions:
            expected = "a list of strings" if dimensions else "one string"
            raise self._unlike(name, expected, self._show(name))
        return [decode(value) for value in self._read_strings(name)]

    def _read_strings(self, name: str) -> list[bytes]:
        if h5py.check_string_dtype(self._file.attrs.get_id(name).dtype).length is not None:
            return [bytes(value) for value in np.atleast_1d(self._file.attrs[name])]
        reader = GuardedReader(self._path)
        try:
            return reader.attribute("/", name)
        except ValueError as error:
            where = f"{self._path}: attribute {name}"
            raise SceneError(where, f"cannot be read: {error}") from error
        finally:
            reader.close()

    def _show(self, name: str) -> str:
        identifier = self._file.attrs.get_id(name)
        if identifier.shape == () and h5py.check_string_dtype(identifier.dtype) is not None:
            return f"the string {decode(self._read_strings(name)[0])!r}"
        if identifier.dtype.kind in _KINDS and identifier.shape in ((), (1,), (2,), (3,)):
            return str(self._file.attrs[name])
        return describe(identifier)

    def _unlike(self, name: str, expected: str, found: str) -> SceneError:
        return SceneError(f"{self._path}: attribute {name}", f"expected {expected}, found {found}")


def require_distinct(where: str, names: list[str]) -> None:
    """Refuses names of which two are alike."""
    repeated = [repr(name) for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise SceneError(where, f"given more than once: {enumerate_some(repeated, 3)}")


def describe(stored: h5py.Dataset | h5py.Group | h5py.h5a.AttrID | None) -> str:
    """Kind and shape of something in a file, for messages."""
    if stored is None or isinstance(stored, h5py.Group):
        return "a group" if stored is not None else "a link to nothing"
    strings = h5py.check_string_dtype(stored.dtype)
    kind = "strings" if strings else _KINDS.get(stored.dtype.kind, f"type {stored.dtype}")
    return f"{kind} of shape {stored.shape}"


def decode(text: bytes) -> str:
    """Text as HDF5 stores it; bytes that are not UTF-8 survive."""
    return text.decode("utf-8", "surrogateescape")

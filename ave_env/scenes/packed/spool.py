"""Work that an interrupted `pack` need not do again.

A spool is an append-only file of records, one per image that was decoded and checked, and encoded
anew if need be. A record is whole or it is cut off when the file is opened next: neither a kill nor
a full disk can spoil what came before.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import zlib
from dataclasses import dataclass

from ave_env.scenes.errors import SceneError

try:
    import fcntl
except ImportError:  # not a POSIX system: two runs at once are not noticed there
    fcntl = None  # type: ignore[assignment]

_RECORD = struct.Struct("<4sIIIIIII")  # mark, CRC-32 of the rest, and lengths and values as below
_MARK = b"AVE1"


@dataclass(frozen=True)
class Entry:
    """What is known of one image.

    Attributes:
        size: Height and width in pixels.
        length: Bytes of the image as it is to be packed.
        checksum: CRC-32 of those bytes.
        offset: Where they are in the spool; None when they are those of the source file.
    """

    size: tuple[int, int]
    length: int
    checksum: int
    offset: int | None


class Spool:
    """A file of records; a context manager.

    Attributes:
        path: The file.
        entries: Every image recorded so far, by its key.
    """

    def __init__(self, path: str, purpose: str) -> None:
        """Opens or creates a spool.

        Args:
            path: The file.
            purpose: What the images are for. A spool with another purpose is refused.

        Raises:
            SceneError: The spool has another purpose, or is in use.
            OSError: The file cannot be opened.
        """
        self.path = path
        self.entries: dict[bytes, Entry] = {}
        # Unbuffered, so that a failing write cannot come back when the file is closed.
        self._file = open(path, "r+b" if os.path.exists(path) else "w+b", buffering=0)  # noqa: SIM115
        try:
            self._lock()
            self._end = self._read(purpose)
            self._file.truncate(self._end)
            if not self._end:
                self._write(purpose.encode(), Entry((0, 0), 0, 0, None), b"")
        except BaseException:
            self._file.close()
            raise

    def append(self, key: bytes, entry: Entry, data: bytes | None) -> None:
        """Records an image.

        Args:
            key: Names the image and its state.
            entry: What is known of it; its offset is set here.
            data: The bytes to pack, or None if they are those of the source file.

        Raises:
            OSError: The disk is full; the record is then not there.
        """
        offset = self._write(key, entry, data or b"")
        self.entries[key] = Entry(
            entry.size, entry.length, entry.checksum, None if data is None else offset
        )

    def read(self, entry: Entry) -> bytes:
        """Returns the bytes of an image that are in the spool."""
        assert entry.offset is not None
        return os.pread(self._file.fileno(), entry.length, entry.offset)

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            with contextlib.suppress(NotImplementedError):
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SceneError(self.path, "another process is packing to the same file") from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):  # as some network drives do
                raise

    def _write(self, key: bytes, entry: Entry, data: bytes) -> int:
        """Appends a record and returns where its data begin."""
        fields = struct.pack("<6I", len(key), len(data), *entry.size, entry.length, entry.checksum)
        rest = fields + key + data
        record = _MARK + struct.pack("<I", zlib.crc32(rest)) + rest
        self._file.seek(self._end)
        written = 0
        try:
            while written < len(record):
                written += self._file.write(record[written:])
        except BaseException:
            with contextlib.suppress(OSError):
                self._file.truncate(self._end)
            raise
        self._end += len(record)
        return self._end - len(data)

    def _read(self, purpose: str) -> int:
        """Reads all whole records and returns where they end."""
        end = 0
        with open(self.path, "rb") as file:
            while len(head := file.read(_RECORD.size)) == _RECORD.size:
                mark, checksum, key_length, data_length, *values = _RECORD.unpack(head)
                rest = file.read(key_length + data_length) if mark == _MARK else b""
                if mark != _MARK or zlib.crc32(head[8:] + rest) != checksum:
                    break
                key = rest[:key_length]
                if not end and key != purpose.encode():
                    raise SceneError(
                        self.path,
                        f"left by a run with other options ({key.decode(errors='replace')}, now "
                        f"{purpose}): delete it, or repeat those options",
                    )
                height, width, length, image_checksum = values
                offset = end + _RECORD.size + key_length
                is_copy = data_length == length
                if end:
                    self.entries[key] = Entry(
                        (height, width), length, image_checksum, offset if is_copy else None
                    )
                end += _RECORD.size + key_length + data_length
        return end

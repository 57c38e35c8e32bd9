"""Files that appear whole or not at all; imports neither torch nor NumPy."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# How libraries that write files themselves report a device that takes no more; torch gives no
# reason at all.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_WORDS = (
    *(f"(os error {number})" for number in _FULL),
    *(f"errno = {number}" for number in _FULL),
    *(os.strerror(number) for number in _FULL),
    "inline_container.cc",  # torch
)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Lends a temporary name beside `path`, and gives the file its own name once it is written.

    Whoever fails or is interrupted inside the block leaves no file behind, and a file that was
    there before stays as it was. The new file has the permissions that the umask leaves to new
    files, whoever wrote it.

    Args:
        path: File to write; an existing one is replaced. Folders above it are made.

    Yields:
        The temporary name, with the suffix of `path`, to write to.

    Raises:
        OSError: It cannot be written; where the disk is full, whatever the writer raised.
    """
    target = Path(path)
    partial = target.with_name(f".{target.stem}.{os.getpid()}.writing{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = _mode_of_new_files(partial)
        yield partial
        partial.chmod(mode)  # safetensors and others make files that nobody else can read
        os.replace(partial, target)
    except Exception as error:
        if not is_disk_full(error):
            if isinstance(error, OSError) and error.filename == str(partial):
                error.filename = str(target)  # the name that the user knows
            raise
        raise OSError(
            f"{target}: cannot be written, for the disk is full (or a limit on the size of files "
            "reached); a file that was there before is as it was"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that a device takes no more, in the words of whichever library."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return any(words in str(error) for words in _FULL_WORDS)


def _mode_of_new_files(path: Path) -> int:
    """The permissions that a new file gets there, found out by making one."""
    path.unlink(missing_ok=True)
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    path.unlink()
    return mode


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a text file in UTF-8, lines ending as they do in `text`."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file of bytes."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes JSON with sorted keys, so that equal values are equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, default=str) + "\n")

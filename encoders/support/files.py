"""Files that appear whole or not at all; imports neither torch nor NumPy."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Lends a temporary name beside `path`, and gives the file its own name once it is written.

    Whoever fails or is interrupted inside the block leaves no file behind, and a file that was
    there before stays as it was.

    Args:
        path: File to write; an existing one is replaced. Folders above it are made.

    Yields:
        The temporary name, with the suffix of `path`, to write to.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.stem}.{os.getpid()}.writing{target.suffix}")
    try:
        yield partial
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


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

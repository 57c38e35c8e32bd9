"""Reads variable-length data by HDF5, in a process that others can end; see `guarded`.

Usage: python server.py FILE. A request is a line of JSON, {"object": ..., "attribute": ...} or
{"object": ..., "first": ..., "last": ...}; the answer a line of JSON, {"lengths": [...]} and then
so many bytes, or {"error": ...}. It imports nothing of this package, and so works wherever that is.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import h5py
import numpy as np


def read(file: h5py.File, request: dict[str, Any]) -> list[bytes]:
    """What was asked for, in bytes, element by element."""
    source = file[request["object"]]
    if "attribute" in request:
        values = np.atleast_1d(source.attrs[request["attribute"]])
    else:
        values = source[request["first"] : request["last"]]
    return [to_bytes(value) for value in values]


def to_bytes(value: Any) -> bytes:
    """One element: text, bytes, or an array of uint8."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return value if isinstance(value, bytes) else value.tobytes()


def main() -> None:
    """Answers until there are no more requests."""
    with h5py.File(sys.argv[1], "r", locking=False) as file:
        answer(b"", lengths=[])
        for line in sys.stdin.buffer:
            try:
                values = read(file, json.loads(line))
            except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
                answer(b"", error=str(error))
            else:
                answer(b"".join(values), lengths=[len(value) for value in values])


def answer(data: bytes, **head: Any) -> None:
    """Sends an answer."""
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + data)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

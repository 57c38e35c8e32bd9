"""Variable-length data that only HDF5 can follow, read with a time limit.

Over a damaged heap HDF5 loops for ever, or crashes, and nothing in its process can stop it. What
`global_heap` cannot read (attributes, chunked and compressed datasets) is therefore read in another
process, which is ended when it does not answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

START_LIMIT = 60.0  # seconds for the process to begin
TIME_LIMIT = 20.0  # seconds for one answer
MAX_HANGS = 3  # requests without an answer, after which none is made

_SERVER = Path(__file__).with_name("server.py")


class GuardedReader:
    """Reads one file in a process of its own, which begins with the first request.

    Threads may share a reader. After a fork, `forget` it and make another.

    Attributes:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._hangs = 0

    def attribute(self, where: str, name: str) -> list[bytes]:
        """Returns the elements of an attribute of strings.

        Args:
            where: Path of its owner in the file.
            name: The attribute.

        Raises:
            ValueError: It cannot be read, or HDF5 does not come back.
        """
        return self._ask({"object": where, "attribute": name}, f"attribute {name}")

    def elements(self, where: str, first: int, last: int) -> list[bytes]:
        """Returns elements `first` to `last` - 1 of a dataset, as bytes.

        Args:
            where: Path of the dataset in the file.
            first: The first element.
            last: One past the last.

        Raises:
            ValueError: They cannot be read, or HDF5 does not come back.
        """
        return self._ask({"object": where, "first": first, "last": last}, where)

    def close(self) -> None:
        """Ends the process; the next request begins another."""
        if self._process is not None:
            _end(self._process, os.getpid())
            self._process = None

    def forget(self) -> None:
        """Leaves the process to the parent of this one, after a fork."""
        self._lock = threading.Lock()
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                with contextlib.suppress(OSError):
                    pipe.close()
            self._process = None

    def _ask(self, request: dict[str, Any], what: str) -> list[bytes]:
        with self._lock:
            if self._hangs >= MAX_HANGS:
                raise ValueError(f"damaged: HDF5 hung over this file {MAX_HANGS} times")
            if self._process is None:
                self._start()
            assert self._process is not None
            assert self._process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # it will not answer either
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                self._process.stdin.flush()
            return self._answer(what, TIME_LIMIT)

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_SERVER), self.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        weakref.finalize(self, _end, self._process, os.getpid())
        self._answer("the file", START_LIMIT)

    def _answer(self, what: str, limit: float) -> list[bytes]:
        """Waits for an answer; where none comes in time, the process is ended."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        expired = threading.Event()

        def stop() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(limit, stop)
        timer.daemon = True
        timer.start()
        try:
            line = process.stdout.readline()
            head = json.loads(line) if line.endswith(b"\n") else None
            lengths = head.get("lengths", []) if head else []
            data = process.stdout.read(sum(lengths)) if lengths else b""
        finally:
            timer.cancel()
        if head is None or len(data) < sum(lengths):
            self.close()
            if expired.is_set():
                self._hangs += 1
                raise ValueError(f"damaged: HDF5 did not read {what} within {limit:g} seconds")
            raise ValueError(f"damaged: HDF5 crashed over {what}")
        if "error" in head:
            raise ValueError(head["error"])
        elements, begin = [], 0
        for length in lengths:
            elements.append(data[begin : begin + length])
            begin += length
        return elements


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    """Ends a process, if it was begun by this one and not by its parent."""
    if os.getpid() != owner:
        return
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    process.wait()

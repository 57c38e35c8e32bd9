"""The one error of scenes that come from files."""

from __future__ import annotations

import os


class SceneError(ValueError):
    """Images, or the data set they belong to, cannot be used.

    Attributes:
        path: The file or folder at fault, or a place inside an HDF5 file.
        problem: What was found there, what was expected and what to do.
    """

    def __init__(self, path: str | os.PathLike[str], problem: str) -> None:
        # Both go to `args`, so that the error survives the trip out of a worker process.
        super().__init__(os.fspath(path), problem)
        self.path = os.fspath(path)
        self.problem = problem

    def __str__(self) -> str:
        return printable(f"{self.path}: {self.problem}")


def printable(text: str) -> str:
    """Escapes the bytes of a file name that are not valid UTF-8, which `print` would refuse."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def note_unused(paths: list[str]) -> str:
    """Counts what is in a data set and in no split of it, and names some."""
    return f"{len(paths):,} not used: {enumerate_some(sorted(paths), 5)}"


def enumerate_some(items: list[str], limit: int = 8) -> str:
    """Joins the first few items for a message: `"a, b, c and 5 more"`."""
    if not items:
        return "nothing"
    shown = ", ".join(items[:limit])
    return shown if len(items) <= limit else f"{shown} and {len(items) - limit:,} more"

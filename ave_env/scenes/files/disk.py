"""Files and folders of a data set; whatever goes wrong with one is a `SceneError`."""

from __future__ import annotations

import os

from ave_env.scenes.errors import SceneError, enumerate_some
from ave_env.scenes.files.decoding import IMAGE_SUFFIXES


def read_file(path: str) -> bytes:
    """Returns the bytes of a file.

    Raises:
        SceneError: It cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise SceneError(path, f"cannot be read: {error.strerror}") from error


def scan(path: str) -> list[os.DirEntry[str]]:
    """Returns what is in a folder, sorted by name; hidden files are skipped.

    Raises:
        SceneError: There is no such folder, or it cannot be listed.
    """
    try:
        with os.scandir(path) as entries:
            return sorted((e for e in entries if e.name[0] != "."), key=lambda entry: entry.name)
    except FileNotFoundError as error:
        raise SceneError(path, "no such folder") from error
    except OSError as error:
        raise SceneError(path, f"cannot be listed: {error.strerror}") from error


def list_folders(path: str) -> list[str]:
    """Returns the names of the folders in a folder."""
    try:
        return [entry.name for entry in scan(path) if entry.is_dir()]
    except OSError as error:  # a link to itself
        raise SceneError(error.filename or path, f"cannot be read: {error.strerror}") from error


def list_images(path: str) -> tuple[list[str], list[str]]:
    """Returns the names of the images in a folder, and those of everything else."""
    images: list[str] = []
    rest: list[str] = []
    for entry in scan(path):
        # Links are not followed here: the question would cost a system call per file.
        is_image = os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES and not entry.is_dir(
            follow_symlinks=False
        )
        (images if is_image else rest).append(entry.name)
    return images, rest


def show_contents(path: str) -> str:
    """Names some of what is in a folder, for messages."""
    return enumerate_some([entry.name for entry in scan(path)])

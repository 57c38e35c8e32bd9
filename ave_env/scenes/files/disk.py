"""Files and folders of a data set; whatever goes wrong with one is a `SceneError`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from ave_env.scenes.errors import SceneError, enumerate_some
from ave_env.scenes.files.decoding import IMAGE_SUFFIXES
from encoders.support.validation import did_you_mean


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


@dataclass(frozen=True)
class Contents:
    """What is in a folder, each sorted by name.

    Attributes:
        folders: Names of the folders in it, and of links to folders.
        images: Names of the files that are images by their suffix.
        rest: Names of all other files, and of whatever is hidden.
        dangling: Names of links to nowhere; those that are images by their suffix are in `images`.
    """

    folders: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)
    dangling: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """All that is not hidden."""
        shown = [*self.folders, *self.images, *self.rest, *self.dangling]
        return sorted(name for name in shown if name[0] != ".")


def look_into(path: str) -> Contents:
    """Lists a folder.

    Raises:
        SceneError: There is no such folder, or it cannot be listed.
    """
    contents = Contents()
    try:
        with os.scandir(path) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                _kind(entry, contents).append(entry.name)
    except FileNotFoundError as error:
        raise SceneError(path, no_such(path)) from error
    except OSError as error:  # also of a link to itself
        raise SceneError(error.filename or path, f"cannot be listed: {error.strerror}") from error
    return contents


def _kind(entry: os.DirEntry[str], contents: Contents) -> list[str]:
    """The list that an entry belongs to."""
    if entry.name[0] == ".":
        return contents.rest
    # Links to images are not followed: the question would cost a system call per file.
    suffix = os.path.splitext(entry.name)[1].lower()
    if suffix in IMAGE_SUFFIXES and not entry.is_dir(follow_symlinks=False):
        return contents.images
    if entry.is_dir():
        return contents.folders
    return contents.dangling if not os.path.exists(entry.path) else contents.rest


def list_folders(path: str) -> list[str]:
    """Returns the names of the folders in a folder."""
    return look_into(path).folders


def show_contents(path: str) -> str:
    """Names some of what is in a folder, for messages."""
    return enumerate_some(look_into(path).names)


def no_such(path: str) -> str:
    """Says that nothing has a path, and what is near that has another."""
    folder, name = os.path.split(path)
    missing = os.path.dirname(folder) if not os.path.isdir(folder) else ""
    while missing and not os.path.isdir(missing):
        missing = os.path.dirname(missing)
    if missing:
        return f"no such folder; {missing} is the last of its folders that exists"
    try:
        hint = did_you_mean(name, os.listdir(folder or "."))
    except OSError:  # it may be closed to us
        hint = ""
    return f"no such folder{hint}"


def link_to_nowhere(path: str) -> SceneError:
    """Says that a link has no end."""
    return SceneError(path, f"a link to {os.readlink(path)!r}, which is not there")

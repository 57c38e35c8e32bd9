"""The layout `sun360`: panoramas by place and class, divided by a list file or by hash."""

from __future__ import annotations

import os
import unicodedata

import numpy as np

from ave_env.choices import SPLITS
from ave_env.scenes.errors import SceneError, enumerate_some
from ave_env.scenes.files.disk import list_folders, list_images, scan
from ave_env.scenes.files.layouts import LAYOUTS, SUN360_PLACES
from ave_env.scenes.files.scene_folder import Listing, SceneFolder
from ave_env.scenes.files.splits import assign_parts

LIST_FILES = (  # looked for in the folder when no list file is given
    "sun360-dataset26-random.txt",
    "meta/sun360-dataset26-random.txt",
)


class Sun360Folder(SceneFolder):
    """`{indoor,outdoor}/<class>/pano_*.jpg`.

    Attributes:
        list_file: The list of the panoramas, or None.
    """

    def __init__(
        self, root: str | os.PathLike[str], list_file: str | os.PathLike[str] | None = None
    ) -> None:
        """Looks at the top of the folder, and for the list file.

        Args:
            root: The folder.
            list_file: List of the panoramas; a relative path may start at the working directory or
                at `root`. None takes one of `LIST_FILES` in `root`.

        Raises:
            SceneError: The folder does not have that layout, or there is no such list.
        """
        super().__init__(root, "sun360")
        if list_file is None:
            candidates = [os.path.join(self.root, name) for name in LIST_FILES]
        else:
            given = os.path.expanduser(os.fspath(list_file))
            candidates = [os.path.abspath(given), os.path.join(self.root, given)]
        self.list_file = next((path for path in candidates if os.path.isfile(path)), None)
        if list_file is not None and self.list_file is None:
            raise SceneError(candidates[0], "no such list file, neither here nor in data_root")
        if not any(place in list_folders(self.root) for place in SUN360_PLACES):
            raise self.wrong_layout()
        self.splits = SPLITS[:2] if self.list_file else SPLITS

    def list_split(self, split: str) -> Listing:  # noqa: D102
        ignored: list[str] = []
        if self.list_file:
            names = read_list(self.list_file, self.root)
        else:
            names, ignored = self._find_panoramas()
        classes = [unicodedata.normalize("NFC", "/".join(n.split("/")[:2])) for n in names]
        class_names, labels = np.unique(classes, return_inverse=True)
        if self.list_file:
            parts = (np.arange(len(names)) < max(1, len(names) // 10)).astype(np.int64)
        else:
            parts = assign_parts(names, labels, held_out_parts=2)
        rows = np.flatnonzero(parts == SPLITS.index(split))
        if not len(rows):
            raise SceneError(
                self.list_file or self.root, f"{len(names)} panoramas are too few for a {split!r}"
            )
        return Listing(
            self.root,
            [names[row] for row in rows],
            labels[rows].astype(np.int64),
            tuple(str(name) for name in class_names),
            ignored,
        )

    def _find_panoramas(self) -> tuple[list[str], list[str]]:
        """Names of all panoramas, and paths of what else is in the class folders."""
        names: list[str] = []
        ignored: list[str] = []
        for place in SUN360_PLACES:
            if not os.path.isdir(os.path.join(self.root, place)):
                continue
            for directory in list_folders(os.path.join(self.root, place)):
                images, rest = list_images(os.path.join(self.root, place, directory))
                names += [f"{place}/{directory}/{image}" for image in images]
                ignored += [os.path.join(self.root, place, directory, name) for name in rest]
        if not names:
            raise self.no_images(self.root)
        return names, ignored


def read_list(path: str, root: str) -> list[str]:
    """Reads a list of panoramas and makes sure that each is there, once.

    Args:
        path: The list, one path per line.
        root: The folder that these paths are relative to.

    Raises:
        SceneError: The list cannot be read or is empty; a line is not like the layout, or repeats
            another; files are missing.
    """
    first_line: dict[str, int] = {}
    for number, name in _lines(path):
        parts = name.split("/")
        if len(parts) < 3 or not all(parts) or ".." in parts:
            raise SceneError(path, f"line {number}: {name!r} is not like {LAYOUTS['sun360']}")
        if name in first_line:
            raise SceneError(
                path, f"line {number} repeats line {first_line[name]}: {name!r}; the splits overlap"
            )
        first_line[name] = number
    if not first_line:
        raise SceneError(path, "the list is empty")
    _require_files(path, root, first_line)
    return list(first_line)


def _lines(path: str) -> list[tuple[int, str]]:
    """Numbers and contents of the lines of a text file that are not blank."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [(number, line.strip()) for number, line in enumerate(file, 1)]
    except OSError as error:
        raise SceneError(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SceneError(path, f"a list file is UTF-8 text: {error}") from error
    return [(number, line) for number, line in lines if line]


def _require_files(path: str, root: str, first_line: dict[str, int]) -> None:
    """Makes sure that the files of a list are there, looking into each folder once."""
    contents: dict[str, set[str]] = {}
    missing: list[str] = []
    for name, number in first_line.items():
        folder, _, file = name.rpartition("/")
        if folder not in contents:
            location = os.path.join(root, folder)
            found = {entry.name for entry in scan(location)} if os.path.isdir(location) else set()
            contents[folder] = found
        if file not in contents[folder]:
            missing.append(f"{name!r} (line {number})")
    if missing:
        raise SceneError(
            path,
            f"{len(missing):,} of {len(first_line):,} files are not in {root}: "
            f"{enumerate_some(missing, 3)}",
        )

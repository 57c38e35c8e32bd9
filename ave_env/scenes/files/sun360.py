"""The layout `sun360`: panoramas by place and class, divided by a list file or by hash."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections.abc import Iterator

import numpy as np

from ave_env.choices import SPLITS
from ave_env.scenes.errors import SceneError, enumerate_some
from ave_env.scenes.files.disk import link_to_nowhere, look_into
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
        top = look_into(self.root)
        for place in SUN360_PLACES:
            if place in top.dangling:
                raise link_to_nowhere(os.path.join(self.root, place))
        if not any(place in top.folders for place in SUN360_PLACES):
            raise self.wrong_layout()
        self.splits = SPLITS[:2] if self.list_file else SPLITS

    def list_split(self, split: str) -> Listing:  # noqa: D102
        if self.list_file:
            names = read_list(self.list_file, self.root)
        else:
            names = self._find_panoramas()
            if not names:
                raise self.no_images(self.root)
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
        )

    def find_unused(self) -> list[str]:  # noqa: D102
        unused = []
        for folder, names in self._beside():
            unused += [os.path.join(folder, name) for name in names]
        if self.list_file:
            listed = set(read_list(self.list_file, self.root))
            unused += [
                os.path.join(self.root, n) for n in self._find_panoramas() if n not in listed
            ]
        return [path for path in unused if path not in (self.list_file, self._list_folder())]

    def _list_folder(self) -> str | None:
        """The folder of the list; it is in use."""
        return self.list_file and os.path.dirname(self.list_file)

    def _beside(self) -> Iterator[tuple[str, list[str]]]:
        """Folders at the top, of places and of classes, and what is in them besides scenes."""
        top = look_into(self.root)
        others = [name for name in top.folders if name not in SUN360_PLACES]
        yield self.root, [*others, *top.images, *top.rest, *top.dangling]
        for place in self._places():
            inside = look_into(place)
            yield place, [*inside.images, *inside.rest, *inside.dangling]
            for directory in inside.folders:
                path = os.path.join(place, directory)
                contents = look_into(path)
                yield path, [*contents.folders, *contents.rest, *contents.dangling]

    def _places(self) -> list[str]:
        places = [os.path.join(self.root, place) for place in SUN360_PLACES]
        return [place for place in places if os.path.isdir(place)]

    def _find_panoramas(self) -> list[str]:
        """Names of all panoramas."""
        names: list[str] = []
        for path in self._places():
            place, contents = os.path.basename(path), look_into(path)
            for name in contents.dangling:
                raise link_to_nowhere(os.path.join(path, name))
            for directory in contents.folders:
                images = look_into(os.path.join(path, directory)).images
                names += [f"{place}/{directory}/{image}" for image in images]
        return names


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
    for number, line in _lines(path):
        name = posixpath.normpath(line)  # `find .` begins every line with "./"
        parts = name.split("/")
        if len(parts) < 3 or parts[0] not in SUN360_PLACES or ".." in line.split("/"):
            raise SceneError(path, f"line {number}: {line!r} is not like {LAYOUTS['sun360']}")
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
            found = set(look_into(location).names) if os.path.isdir(location) else set()
            contents[folder] = found
        if file not in contents[folder]:
            missing.append(f"{name!r} (line {number})")
    if missing:
        raise SceneError(
            path,
            f"{len(missing):,} of {len(first_line):,} files are not in {root}: "
            f"{enumerate_some(missing, 3)}",
        )

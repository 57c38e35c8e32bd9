"""Which images belong to a split, also where the data were published with fewer splits.

One rule for folders and HDF5 files:

* A split that the data hold is taken as it is.
* Without `val`, a tenth of `train` is held out for it, and `train` is the rest.
* Without `test`, `test` is `val`, which is what papers on ImageNet and SUN360 report on. Whoever
  also selects models on `val` should bring a `test` folder.
* Nothing ever takes the place of `train`, nor `test` that of `val`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import numpy as np

from ave_env.choices import SPLITS
from ave_env.scenes.errors import SceneError

HELD_OUT_SHARE = 0.1
HELD_OUT_NOTE = "no val split: a tenth of train is held out for it"


@dataclass(frozen=True)
class SplitChoice:
    """Where the images of a split are found.

    Attributes:
        stored: The split the data hold them under.
        part: All of it, what is held out of it, or what is kept for training.
    """

    stored: str
    part: Literal["all", "held out", "kept"]

    def rows(self, names: Sequence[str], labels: np.ndarray) -> np.ndarray:
        """Returns which rows of the stored split belong to this choice, int64 `[N]`."""
        if self.part == "all":
            return np.arange(len(labels))
        held_out = assign_parts(names, labels, held_out_parts=1) == 1
        return np.flatnonzero(held_out if self.part == "held out" else ~held_out)

    def __str__(self) -> str:
        return self.stored if self.part == "all" else f"{self.stored} ({self.part})"


def choose_split(split: str, stored: Collection[str], path: str) -> SplitChoice:
    """Finds the images of a split among the splits the data hold.

    Args:
        split: "train", "val" or "test".
        stored: The splits found in the data.
        path: Where they were found, for the error.

    Raises:
        SceneError: The data hold neither the split nor anything that may stand for it.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; expected one of {', '.join(SPLITS)}")
    if split in stored:
        return SplitChoice(split, "kept" if split == "train" and "val" not in stored else "all")
    if split == "test" and "val" in stored:
        return SplitChoice("val", "all")
    if split != "train" and "train" in stored:
        return SplitChoice("train", "held out")
    raise SceneError(path, f"no {split!r} split here, only {', '.join(stored) or 'nothing'}")


def assign_parts(names: Sequence[str], labels: np.ndarray, held_out_parts: int) -> np.ndarray:
    """Divides files into a kept part and equal held-out parts, the same on every machine.

    Within each class the files are ordered by a hash of their name; the first tenth (at least one
    file while one remains to be kept) is part 1, the next tenth part 2, and so on.

    Args:
        names: Paths relative to the data, with forward slashes.
        labels: Class of every file, int64 `[N]`.
        held_out_parts: Number of held-out parts.

    Returns:
        Part of every file, int64 `[N]`: 0 = kept, 1 .. `held_out_parts` = held out.
    """
    keys = np.array([_hash(name) for name in names], dtype=np.uint64)
    parts = np.zeros(len(labels), dtype=np.int64)
    order = np.lexsort((keys, labels))
    for members in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        size = max(1, round(HELD_OUT_SHARE * len(members)))
        for part in range(1, held_out_parts + 1):
            first, last = (part - 1) * size, part * size
            if last < len(members):
                parts[members[first:last]] = part
    return parts


def _hash(name: str) -> int:
    # Composed and decomposed accents are one name: macOS stores the latter.
    name = unicodedata.normalize("NFC", name)
    digest = blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little")

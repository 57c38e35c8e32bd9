"""Images divided into rectangular parts, as TORE is trained and measured; imports no torch.

Sources: the splits of grids of 12x12, 14x14 and 28x28 patches are those of the authors of TORE
("Token Recycling for Efficient Sequential Inference with Vision Transformers", WACV 2025). For
other grids the same rule of bands is stated at `bands`.
"""

from __future__ import annotations

import dataclasses

import numpy as np

# M: bands of rows and of columns, "as specified"; transposed, the other way round.
_SHAPES = {
    1: (1, 1),
    2: (2, 1),
    3: (3, 1),
    4: (2, 2),
    6: (3, 2),
    8: (4, 2),
    9: (3, 3),
    12: (3, 4),
    16: (4, 4),
}
PART_COUNTS = tuple(_SHAPES)
"""Every M, the numbers of parts that TORE is trained and measured with."""

# The authors divide 28 patches as they divide 14, each of twice the size.
_DOUBLED = {28: 14}


@dataclasses.dataclass(frozen=True)
class Division:
    """A way to divide a grid.

    Attributes:
        parts: M, one of `PART_COUNTS`.
        transposed: Whether rows and columns change places.
    """

    parts: int
    transposed: bool = False

    def __post_init__(self) -> None:
        if self.parts not in _SHAPES:
            allowed = ", ".join(map(str, PART_COUNTS))
            raise ValueError(f"parts={self.parts}; expected one of {allowed}")

    @property
    def shape(self) -> tuple[int, int]:
        """Bands of rows and of columns."""
        rows, columns = _SHAPES[self.parts]
        return (columns, rows) if self.transposed else (rows, columns)

    @property
    def orientation(self) -> str:
        """What tables call it: "as specified" or "transposed"."""
        return "transposed" if self.transposed else "as specified"

    def fits(self, grid: tuple[int, int]) -> bool:
        """Whether every part holds a patch."""
        return all(count <= side for count, side in zip(self.shape, grid, strict=True))

    def labels(self, grid: tuple[int, int]) -> np.ndarray:
        """The part of every patch, row-major over the parts, int64 `[rows, columns]`.

        Args:
            grid: Rows and columns of patches.

        Raises:
            ValueError: The grid has fewer rows or columns than there are bands.
        """
        if not self.fits(grid):
            raise ValueError(
                f"a grid of {grid[0]}x{grid[1]} patches cannot be divided into {self.shape[0]}x"
                f"{self.shape[1]} parts; choose of {', '.join(map(str, possible_parts(grid)))}"
            )
        row, column = (
            np.repeat(np.arange(count), bands(side, count))
            for side, count in zip(grid, self.shape, strict=True)
        )
        return (row[:, None] * self.shape[1] + column).astype(np.int64)


def bands(side: int, count: int) -> tuple[int, ...]:
    """Sizes of the bands that a side is divided into.

    Sizes differ by at most one, larger bands lie in pairs at both ends, and one that is left over
    is the middle band, or the one before the middle: 14 patches are 5, 4, 5 or 4, 3, 3, 4. A side
    of 28 is divided as one of 14, each patch twice.

    Args:
        side: Patches along the side.
        count: Bands, at most `side`.
    """
    if count <= _DOUBLED.get(side, 0):
        return tuple(2 * size for size in bands(_DOUBLED[side], count))
    size, extra = divmod(side, count)
    sizes = [size] * count
    for at in range(extra // 2):
        sizes[at] += 1
        sizes[-1 - at] += 1
    if extra % 2:
        sizes[(count - 1) // 2] += 1
    return tuple(sizes)


def divisions(grid: tuple[int, int], parts: tuple[int, ...] | None = None) -> list[Division]:
    """Every division of a grid, in both orientations where these differ.

    Args:
        grid: Rows and columns of patches.
        parts: Numbers of parts; None = all that the grid can be divided into.

    Raises:
        ValueError: A number of parts that the grid cannot be divided into in either orientation.
    """
    found = []
    for count in possible_parts(grid) if parts is None else parts:
        ways = [Division(count, transposed) for transposed in (False, True)]
        if ways[0].shape == ways[1].shape:
            ways.pop()
        fitting = [way for way in ways if way.fits(grid)]
        if not fitting:
            ways[0].labels(grid)  # says why
        found += fitting
    return found


def possible_parts(grid: tuple[int, int]) -> tuple[int, ...]:
    """The numbers of parts that a grid can be divided into, in at least one orientation."""
    return tuple(
        count
        for count in PART_COUNTS
        if Division(count).fits(grid) or Division(count, transposed=True).fits(grid)
    )


def part_ids(labels: np.ndarray) -> np.ndarray:
    """Patch ids of every part, int64 `[M, n]`, ascending; parts of fewer patches end in -1.

    Args:
        labels: int64 `[rows, columns]`, the part of every patch; -1 = none.
    """
    flat = labels.ravel()
    groups = [np.flatnonzero(flat == label) for label in np.unique(flat[flat >= 0])]
    ids = np.full((len(groups), max(map(len, groups), default=0)), -1, np.int64)
    for row, group in zip(ids, groups, strict=True):
        row[: len(group)] = group
    return ids

"""Which cells of a map a change reaches: arithmetic on rectangles; imports neither torch nor NumPy.

A layer with kernel k, stride s and padding p computes output cell o from the input cells
`o*s - p .. o*s - p + k - 1`. Turned round, an input cell that changed is read by the output cells
`ceil((i + p - k + 1) / s) .. floor((i + p) / s)`.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple


class Window(NamedTuple):
    """A rectangle of cells, `top <= y < bottom` and `left <= x < right`."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in cells."""
        return self.bottom - self.top, self.right - self.left

    @property
    def cells(self) -> int:
        """Number of cells."""
        return max(0, self.bottom - self.top) * max(0, self.right - self.left)

    def scaled(self, factor: int) -> Window:
        """The same rectangle where every cell is `factor` cells wide and high."""
        return Window(*(factor * edge for edge in self))

    def within(self, size: tuple[int, int]) -> Window:
        """What of it lies on a map."""
        top, left, bottom, right = self
        return Window(max(top, 0), max(left, 0), min(bottom, size[0]), min(right, size[1]))


def whole(size: tuple[int, int]) -> Window:
    """All cells of a map."""
    return Window(0, 0, *size)


@dataclasses.dataclass(frozen=True)
class Footprint:
    """What a layer reads of its input, in both directions alike.

    Attributes:
        kernel: Input cells that one output cell is made of.
        stride: Input cells from one output cell to the next.
        padding: Cells of zeros around the input.
        tile: The output comes in tiles of so many cells that are computed together, each from
            everything in it.
    """

    kernel: int = 1
    stride: int = 1
    padding: int = 0
    tile: int = 1

    @property
    def overlaps(self) -> bool:
        """Whether an input cell is read by several output cells or tiles."""
        return self.kernel > self.stride or self.padding > 0

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the output of an input of some size.

        Raises:
            ValueError: It is smaller than the kernel, or no whole number of tiles.
        """
        height, width = (
            (side + 2 * self.padding - self.kernel) // self.stride + 1 for side in size
        )
        if height < 1 or width < 1 or height % self.tile or width % self.tile:
            raise ValueError(
                f"a map of {size[0]}x{size[1]} cells becomes {height}x{width}; expected at least "
                f"one cell, and multiples of {self.tile}"
            )
        if not self.overlaps and (size[0] % self.stride or size[1] % self.stride):
            raise ValueError(
                f"a map of {size[0]}x{size[1]} cells; expected multiples of {self.stride}, so that "
                "no cell is left out"
            )
        return height, width

    def reach(self, changed: Window, output_size: tuple[int, int]) -> Window:
        """Output cells that are made of any cell of a changed window of the input."""
        tile = self.tile

        def first(edge: int) -> int:
            cell = -((self.kernel - 1 - self.padding - edge) // self.stride)
            return cell // tile * tile

        def last(edge: int) -> int:
            cell = (edge - 1 + self.padding) // self.stride + 1
            return -(-cell // tile) * tile

        top, left, bottom, right = changed
        return Window(first(top), first(left), last(bottom), last(right)).within(output_size)

    def needs(self, window: Window) -> Window:
        """Input cells that a window of the output is made of; beyond the map stand zeros."""

        def first(edge: int) -> int:
            return edge * self.stride - self.padding

        def last(edge: int) -> int:
            return (edge - 1) * self.stride - self.padding + self.kernel

        top, left, bottom, right = window
        return Window(first(top), first(left), last(bottom), last(right))

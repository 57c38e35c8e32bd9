"""Windows of maps hold the cells that layers read, and no others; counted one by one."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.families.canvas.windows import Footprint, Window


def readers(footprint: Footprint, size: int, changed: range, out: int) -> set[int]:
    """Output cells of one direction that read any changed input cell, by their definition."""
    found = set()
    for cell in range(out):
        tile = cell // footprint.tile * footprint.tile
        together = range(tile, tile + footprint.tile)
        read = {
            each * footprint.stride - footprint.padding + offset
            for each in together
            for offset in range(footprint.kernel)
        }
        if read & set(changed) & set(range(size)):
            found.add(cell)
    return found


def fitting_sizes(footprint: Footprint) -> list[int]:
    """Sides of maps, up to four tiles and some, that a layer takes."""
    found = []
    for side in range(1, 4 * footprint.tile * footprint.stride + 2 * footprint.kernel):
        try:
            footprint.output_size((side, side))
        except ValueError:
            continue
        found.append(side)
    return found


@settings(deadline=None)
@given(st.data())
def test_a_change_reaches_the_cells_that_read_it_and_no_others(data):
    kernel = data.draw(st.integers(1, 9))
    stride = data.draw(st.integers(1, kernel))
    tile = data.draw(st.integers(1, 4))
    footprint = Footprint(kernel, stride, data.draw(st.integers(0, kernel // 2)), tile)
    size = data.draw(st.tuples(*[st.sampled_from(fitting_sizes(footprint))] * 2))
    height, width = footprint.output_size(size)
    edges = []
    for side in size:
        first = data.draw(st.integers(0, side - 1))
        edges.append((first, data.draw(st.integers(first + 1, side))))
    (top, bottom), (left, right) = edges
    window = footprint.reach(Window(top, left, bottom, right), (height, width))
    rows = readers(footprint, size[0], range(top, bottom), height)
    columns = readers(footprint, size[1], range(left, right), width)
    cells = {
        (y, x) for y in range(window.top, window.bottom) for x in range(window.left, window.right)
    }
    assert cells == set(itertools.product(rows, columns))
    if not cells:
        return
    needed = footprint.needs(window)
    assert needed.top == window.top * stride - footprint.padding
    assert needed.size == (
        (window.size[0] - 1) * stride + kernel,
        (window.size[1] - 1) * stride + kernel,
    )


@pytest.mark.parametrize(
    ("footprint", "size", "words"),
    [
        (Footprint(5), (4, 9), "a map of 4x9 cells becomes 0x5"),
        (
            Footprint(tile=4),
            (8, 10),
            "becomes 8x10; expected at least one cell, and multiples of 4",
        ),
        (Footprint(2, 2), (8, 9), "expected multiples of 2, so that no cell is left out"),
    ],
)
def test_maps_that_layers_cannot_read_are_refused(footprint, size, words):
    with pytest.raises(ValueError, match=words):
        footprint.output_size(size)

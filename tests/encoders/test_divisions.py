"""Images are divided as the authors of TORE divide them, and by a rule elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from golden_numbers import Golden
from hypothesis import given
from hypothesis import strategies as st

from encoders.layers.divisions import (
    PART_COUNTS,
    Division,
    bands,
    divisions,
    part_ids,
    possible_parts,
)

sides = st.integers(1, 40)


@pytest.mark.parametrize("side", [12, 14, 28])
def test_the_divisions_are_the_authors(side):
    golden = Golden("dino")
    for parts in PART_COUNTS:
        for transposed, name in ((False, "as_spec"), (True, "transposed")):
            found = Division(parts, transposed).labels((side, side))
            expected = golden[f"divisions/{side}x{side}/M{parts}/{name}"].numpy()
            np.testing.assert_array_equal(found, expected)


@given(sides, sides)
def test_parts_are_rectangles_of_almost_one_size_that_cover_the_grid(rows, columns):
    for way in divisions((rows, columns)):
        labels = way.labels((rows, columns))
        assert labels.dtype == np.int64
        assert sorted(np.unique(labels)) == list(range(way.parts))
        for part in range(way.parts):
            inside = labels == part
            box = np.ix_(inside.any(1), inside.any(0))
            assert inside[box].all()
        ids = part_ids(labels)
        assert sorted(ids[ids >= 0]) == list(range(rows * columns))
        assert all((np.diff(row[row >= 0]) > 0).all() for row in ids)


@given(sides, sides)
def test_bands_are_symmetric_up_to_one(side, count):
    if count > side:
        return
    sizes = bands(side, count)
    assert sum(sizes) == side
    assert min(sizes) >= 1
    if side != 28:  # which is divided as 14
        assert max(sizes) - min(sizes) <= 1
        differences = [abs(a - b) for a, b in zip(sizes, reversed(sizes), strict=True)]
        assert sum(differences) <= 2


def test_both_orientations_where_they_differ():
    grid = (8, 16)
    ways = [(way.parts, way.shape) for way in divisions(grid)]
    assert ways.count((2, (2, 1))) == ways.count((2, (1, 2))) == 1
    assert [shape for parts, shape in ways if parts == 4] == [(2, 2)]
    assert len(ways) == 9 + 5


@pytest.mark.parametrize(
    ("grid", "parts"),
    [((1, 1), (1,)), ((2, 2), (1, 2, 4)), ((1, 3), (1, 2, 3)), ((4, 2), (1, 2, 3, 4, 6, 8))],
)
def test_what_a_grid_can_be_divided_into(grid, parts):
    assert possible_parts(grid) == parts


def test_what_cannot_be_divided_is_a_sentence():
    with pytest.raises(ValueError, match=r"2x2 patches cannot be divided into 4x4.*of 1, 2, 4"):
        divisions((2, 2), (16,))
    with pytest.raises(ValueError, match=r"parts=5; expected one of 1, 2, 3"):
        Division(5)
    assert divisions((2, 4), (8,)) == [Division(8, transposed=True)]  # 2x4 alone

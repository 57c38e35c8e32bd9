"""What parts of a split promise."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from encoders.support.subsets import spread_evenly


@given(st.integers(1, 500), st.integers(1, 500))
def test_spread_indices_are_distinct_and_evenly_apart(count, total):
    indices = spread_evenly(count, total)
    assert len(indices) == min(count, total)
    assert indices[0] == 0
    assert indices[-1] < total
    gaps = np.diff([*indices, total])
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1

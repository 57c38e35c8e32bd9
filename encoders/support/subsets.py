"""Parts of a split that stand for the whole; imports no torch."""

from __future__ import annotations

import numpy as np


def spread_evenly(count: int | None, total: int) -> np.ndarray:
    """At most `count` of `total` indices at even distances, int64, ascending.

    Splits are often sorted by class: their beginning would not stand for them.

    Raises:
        ValueError: A count below 1.
    """
    if count is None:
        return np.arange(total)
    if count < 1:
        raise ValueError(f"{count} scenes asked for; expected at least 1")
    count = min(count, total)
    return np.arange(count) * total // count

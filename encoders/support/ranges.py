"""Numbers that a configuration accepts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def check_ranges(configuration: Any, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Refuses values outside their ranges.

    Args:
        configuration: Whose attributes to look at; one that is None is passed over.
        ranges: The lowest and the highest value by name; `math.inf` where there is none.

    Raises:
        ValueError: A value that is out of range, with what was expected.
    """
    for name, (lowest, highest) in ranges.items():
        value = getattr(configuration, name)
        if value is None or lowest <= value <= highest:
            continue
        expected = f"at least {lowest}" if highest == math.inf else f"{lowest} to {highest}"
        raise ValueError(f"{name}={value}; expected {expected}")

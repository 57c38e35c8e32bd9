"""The area under a curve of something that was measured now and then."""

from __future__ import annotations

import numpy as np


def area_weights(places: np.ndarray, end: float) -> np.ndarray:
    """Weights whose product with values gives the mean height of their curve from 0 to `end`.

    Between places the curve is a straight line, beyond the last it is flat: the trapezoidal rule,
    divided by `end`. Being linear in the values, it can be applied to each scene and averaged.

    Args:
        places: Where the values were measured, ascending, the first at 0, float `[M]`.
        end: Where the area ends, more than 0.

    Returns:
        float64 `[M]`, adding up to 1.

    Raises:
        ValueError: Places that do not start at 0 or descend, or an end that is not positive.
    """
    places = np.asarray(places, np.float64)
    if places.size == 0 or places[0] != 0 or (np.diff(places) < 0).any():
        raise ValueError(f"places {places.tolist()}; expected them to ascend from 0")
    if not end > 0:
        raise ValueError(f"end={end}; expected more than 0")
    # The curve of each unit vector, at every place before the end and at the end itself.
    grid = np.append(places[places < end], end)
    heights = np.stack([np.interp(grid, places, unit) for unit in np.eye(len(places))])
    widths = np.diff(grid)
    return ((heights[:, 1:] + heights[:, :-1]) / 2) @ widths / end

"""Observation space and its bounds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from gymnasium import spaces

from ave_env.sensors.base import Sensor

# Finite, because checkers and normalising wrappers refuse infinite bounds; no belief comes near.
_LARGEST = float(np.finfo(np.float32).max)
_NON_NEGATIVE = ("entropy", "normalised_entropy")


def observation_space(sensor: Sensor, belief: Mapping[str, tuple[int, ...]]) -> spaces.Dict:
    """The flat dictionary that one environment observes.

    Args:
        sensor: Decides the shapes of glimpses and grid.
        belief: Shapes of the parts of the belief that are observed, by name.
    """
    boxes: dict[str, spaces.Space] = {
        "glimpse": spaces.Box(0, 255, sensor.glimpse_shape, np.uint8),
        "position": spaces.Box(0.0, 1.0, (2,), np.float32),
        "visited": spaces.Box(0, 1, sensor.grid, np.uint8),
        "progress": spaces.Box(0.0, 1.0, (1,), np.float32),
    }
    for name, shape in belief.items():
        if name == "reconstruction":
            boxes[name] = spaces.Box(0, 255, shape, np.uint8)
        else:
            low = 0.0 if name in _NON_NEGATIVE else -_LARGEST
            boxes[name] = spaces.Box(low, _LARGEST, shape, np.float32)
    return spaces.Dict(boxes)

"""Observation space and its bounds."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from ave_env.sensors.base import Sensor
from encoders.support.notices import warn

# Finite, because checkers and normalising wrappers refuse infinite bounds; no belief comes near.
_LARGEST = float(np.finfo(np.float32).max)
SMALLEST_IMAGE_OF_SB3 = 36
_REMEDY = "agents.learning.glimpse_features"  # imported by those who need no hint at it
_NON_NEGATIVE = ("entropy", "normalised_entropy")


class ObservationSpace(spaces.Dict):
    """Parts of an observation by name, with a hint for users of Stable-Baselines3.

    SB3 copies a space before it sends images through a network of its own, and would say by the
    size of a kernel that they are too small for it.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> ObservationSpace:
        if "stable_baselines3" in sys.modules and _REMEDY not in sys.modules:
            for name, part in self.spaces.items():
                _hint_at_features(name, part)
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return copied


def observation_space(sensor: Sensor, belief: Mapping[str, tuple[int, ...]]) -> ObservationSpace:
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
    return ObservationSpace(boxes)


def _hint_at_features(name: str, part: spaces.Space) -> None:
    if len(part.shape or ()) != 3 or part.dtype != np.uint8:
        return
    height, width, _ = part.shape or ()
    if min(height, width) < SMALLEST_IMAGE_OF_SB3:
        warn(
            f"the network for images of Stable-Baselines3's MultiInputPolicy and CnnPolicy needs "
            f"{SMALLEST_IMAGE_OF_SB3}x{SMALLEST_IMAGE_OF_SB3} pixels, and {name!r} has "
            f"{height}x{width}: give the policy policy_kwargs="
            "{'features_extractor_class': agents.GlimpseFeatures}, or flatten the observation "
            f"or leave {name!r} out of it"
        )

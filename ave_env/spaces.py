"""Observation space and its bounds."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np
from gymnasium import spaces

from ave_env.sensors.base import Sensor
from encoders.support.notices import warn

# Finite, because checkers and normalising wrappers refuse infinite bounds; no belief comes near.
_LARGEST = float(np.finfo(np.float32).max)
SMALLEST_IMAGE_OF_SB3 = 36
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


def hint_at_features(space: spaces.Dict, unless: str) -> None:
    """Tells users of Stable-Baselines3 which images its own network for images cannot take.

    It would say so by the size of a convolution's kernel.

    Args:
        space: What is observed.
        unless: A module that is imported by those who have read the hint.
    """
    if "stable_baselines3" not in sys.modules or unless in sys.modules:
        return
    for name, box in space.spaces.items():
        is_image = len(box.shape or ()) == 3 and box.dtype == np.uint8
        if is_image and min((box.shape or ())[:2]) < SMALLEST_IMAGE_OF_SB3:
            height, width = (box.shape or ())[:2]
            warn(
                f"the network for images of Stable-Baselines3's MultiInputPolicy and CnnPolicy "
                f"needs {SMALLEST_IMAGE_OF_SB3}x{SMALLEST_IMAGE_OF_SB3} pixels, and {name!r} has "
                f"{height}x{width}: give the policy policy_kwargs="
                "{'features_extractor_class': agents.GlimpseFeatures}, or flatten the observation "
                f"or leave {name!r} out of it"
            )

"""Hyper-parameters that all learners of window policies have; imports no torch."""

from __future__ import annotations

import dataclasses

from encoders.support.choices import TrainingPrecision
from encoders.support.validation import NotNegative, Positive, check_fields

_LOWEST_RATE = 0.02  # of the learning rate, at the end of a run


@dataclasses.dataclass(frozen=True)
class WindowLearnerConfig:
    """Shape of the policy network, and how it is computed.

    Attributes:
        precision: Of the matrix products of updates, and of a teacher and looking ahead: "float32",
            "bfloat16", or "auto" for bfloat16 where the device has it.
        policy_width: Hidden channels per cell and window of the policy network.
        policy_overview: Hidden units that read all cells by their place; 0 = none.
        policy_surroundings: Hidden channels of a column that reads all cells by their distance; 0 =
            none.

    Raises:
        TypeError: A value of another type.
        ValueError: A number out of range.
    """

    precision: TrainingPrecision = "auto"
    policy_width: Positive = 64
    policy_overview: NotNegative = 192
    policy_surroundings: NotNegative = 64

    def __post_init__(self) -> None:
        check_fields(self)


def falling(learning_rate: float, remaining: float) -> float:
    """A learning rate that falls linearly to 2 % of what it was.

    Args:
        learning_rate: At the start.
        remaining: Share of the run that is left, 1 at the start.
    """
    return learning_rate * max(remaining, _LOWEST_RATE)

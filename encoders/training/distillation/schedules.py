"""How learning rate, weight decay, momentum and temperature change in the course of a run."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class CosineSchedule:
    """A linear warm-up, then half a cosine.

    Source: DINO (Caron et al., ICCV 2021), section 3.2 and its code's `cosine_scheduler`.

    Attributes:
        base: Value when the warm-up ends.
        final: Value that the cosine leads to; the last step is one short of it.
        steps: Of the whole run.
        warmup_steps: Of the warm-up, which begins at `start` and reaches `base` in its last step.
        start: Value at the first step of the warm-up.
    """

    base: float
    final: float
    steps: int
    warmup_steps: int = 0
    start: float = 0.0

    def at(self, step: int) -> float:
        """The value of a step, counted from 0."""
        if step < self.warmup_steps:
            share = step / max(self.warmup_steps - 1, 1)
            return self.start + share * (self.base - self.start)
        length = max(self.steps - self.warmup_steps, 1)
        angle = math.pi * min((step - self.warmup_steps) / length, 1.0)
        return self.final + 0.5 * (self.base - self.final) * (1 + math.cos(angle))


@dataclasses.dataclass(frozen=True)
class LinearSchedule:
    """From one value to another, then constant.

    Attributes:
        start: Value at 0.
        final: Value at `length - 1` and after it.
        length: Epochs or steps of the change; 0 = `final` from the beginning.
    """

    start: float
    final: float
    length: int

    def at(self, position: int) -> float:
        """The value at an epoch or step, counted from 0."""
        if position >= self.length:
            return self.final
        share = position / (self.length - 1) if self.length > 1 else 0.0
        return self.start + share * (self.final - self.start)

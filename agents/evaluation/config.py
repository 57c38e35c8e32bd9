"""How agents are compared; imports neither torch nor NumPy."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from encoders.support.validation import NotNegative, Positive, Range, check_fields


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """How agents are compared.

    Attributes:
        num_scenes: Most scenes, spread evenly over the split; None = the whole split.
        num_envs: Most scenes explored at a time.
        seeds: Seeds of agents that use chance; the others are run once.
        episodes: Episodes to draw per agent, of the same scenes for all.
        resamples: Bootstrap resamples of the scenes.
        stop_confidence: Probability of the most probable class at which an episode would be ended,
            to show what that costs and saves; None = not shown in tables.
        allow_other_encoder: Let trained agents act with another encoder, or other options of it,
            than they were trained with; results say in what it differs.
        progress: Show progress bars.

    Raises:
        TypeError: A value of another type.
        ValueError: A number out of range, or a seed given twice.
    """

    num_scenes: Positive | None = None
    num_envs: Positive = 256
    seeds: tuple[NotNegative, ...] = (0,)
    episodes: NotNegative = 2
    resamples: Positive = 2_000
    stop_confidence: Annotated[float, Range(0, 1, open=True)] | None = None
    allow_other_encoder: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds={self.seeds}; expected at least one, and each only once")

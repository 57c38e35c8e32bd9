"""How agents are compared; imports neither torch nor NumPy."""

from __future__ import annotations

import dataclasses
import math

from encoders.support.ranges import check_ranges


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
        progress: Show progress bars.
    """

    num_scenes: int | None = None
    num_envs: int = 256
    seeds: tuple[int, ...] = (0,)
    episodes: int = 2
    resamples: int = 2_000
    stop_confidence: float | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        lowest = {"num_scenes": 1, "num_envs": 1, "episodes": 0, "resamples": 1}
        check_ranges(self, {name: (least, math.inf) for name, least in lowest.items()})
        if self.stop_confidence is not None and not 0 < self.stop_confidence <= 1:
            raise ValueError(
                f"stop_confidence={self.stop_confidence}; expected more than 0 and at most 1"
            )
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds={self.seeds}; expected different numbers of at least 0")

"""What an encoder that recycles tokens does to have fewer of them; imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

from encoders.reduction.config import PLACES, Reduction, ReductionPlace, parse_reduction

OPTIONS = ("reduction", "reduction_in", "max_tokens")
"""Names of the options that make up a plan."""


@dataclasses.dataclass(frozen=True)
class ReductionPlan:
    """Which tokens are reduced where.

    Attributes:
        reduction: What happens within blocks.
        place: In which blocks: those of the extractor, which see one glimpse, so that fewer tokens
            are remembered; those of the aggregator, which see everything; or both.
        max_tokens: Most patch tokens that are remembered of a row; beyond it the most similar are
            merged. 0 = no bound.
    """

    reduction: Reduction = dataclasses.field(default_factory=Reduction)
    place: ReductionPlace = "aggregator"
    max_tokens: int = 0

    @property
    def in_extractor(self) -> Reduction | None:
        """What happens in the extractor's blocks; None = nothing."""
        return self._where("extractor")

    @property
    def in_aggregator(self) -> Reduction | None:
        """What happens in the aggregator's blocks; None = nothing."""
        return self._where("aggregator")

    @property
    def halts_in_extractor(self) -> bool:
        """Whether tokens may halt in the extractor's blocks."""
        return self.in_extractor is not None and self.in_extractor.depends_on_data

    @property
    def proportional(self) -> bool:
        """Whether attention weighs how many patches a token stands for."""
        return bool(getattr(self.reduction, "proportional", True))

    def _where(self, place: str) -> Reduction | None:
        nothing = self.reduction.name == Reduction.name or self.place not in (place, "both")
        return None if nothing else self.reduction

    def options(self) -> dict[str, Any]:
        """The options that make up this plan, of plain JSON types; without those of no effect."""
        options: dict[str, Any] = {}
        if self.reduction.name != Reduction.name:
            options |= {"reduction": str(self.reduction), "reduction_in": self.place}
        if self.max_tokens:
            options["max_tokens"] = self.max_tokens
        return options

    def __str__(self) -> str:
        """The plan in a few words, e.g. "tome:r=4 in the aggregator, at most 64 tokens"."""
        words = []
        if self.reduction.name != Reduction.name:
            place = "extractor and aggregator" if self.place == "both" else self.place
            words.append(f"{self.reduction} in the {place}")
        if self.max_tokens:
            words.append(f"at most {self.max_tokens} tokens")
        return ", ".join(words)


def make_plan(options: Mapping[str, Any]) -> ReductionPlan:
    """Reads a plan from options; those that are left out or None have their defaults.

    Args:
        options: `reduction`, a text or a `Reduction`; `reduction_in`, "aggregator" by default;
            `max_tokens`, 0 for no bound.

    Raises:
        ValueError: A value that they cannot take.
    """
    reduction, place, most = (options.get(name) for name in OPTIONS)
    if reduction is None:
        reduction = Reduction()
    elif not isinstance(reduction, Reduction):
        reduction = parse_reduction(str(reduction))
    if place is None:
        place = "aggregator"
    if place not in PLACES:
        raise ValueError(f"reduction_in={place!r}; expected one of {', '.join(PLACES)}")
    most = 0 if most is None else most
    if isinstance(most, bool) or not hasattr(most, "__index__") or most < 0:
        raise ValueError(
            f"max_tokens={most!r}; expected the most patch tokens to remember, or 0 for no bound"
        )
    return ReductionPlan(reduction, cast(ReductionPlace, place), int(most))

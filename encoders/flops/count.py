"""Multiply-accumulates by part; imports no torch."""

from __future__ import annotations

import dataclasses

import numpy as np

FLOPS_CONVENTION = "one multiply-accumulate counts as one"  # everywhere in this project

PARTS = ("extractor", "aggregator", "decoder", "head")


@dataclasses.dataclass(frozen=True)
class FlopCount:
    """Multiply-accumulates of one step, by part; integers or int64 arrays of one shape.

    Attributes:
        extractor: What runs on the new glimpse alone: patch embedding and, of TORE, the first K
            blocks.
        aggregator: What runs on everything that is remembered.
        decoder: The decoder, as far as the outputs asked for need it.
        head: The heads.
    """

    extractor: int | np.ndarray
    aggregator: int | np.ndarray
    decoder: int | np.ndarray
    head: int | np.ndarray

    @property
    def total(self) -> int | np.ndarray:
        """Sum of the parts."""
        return self.extractor + self.aggregator + self.decoder + self.head

    def by_part(self) -> np.ndarray:
        """The parts one below the other in the order of `PARTS`, int64 `[4, ...]`."""
        return np.stack([np.asarray(getattr(self, part), np.int64) for part in PARTS])


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one step of every row took.

    Attributes:
        spent: What really ran, int64 `[B]` in each part.
        without_recycling: What the same encoder would have run had it encoded anew all that it
            remembers.
    """

    spent: FlopCount
    without_recycling: FlopCount

"""Which first glimpse pays: found by trying, since nothing has been seen that could tell."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class FirstGlimpses:
    """First windows that still compete, and how the episodes went that began with them.

    Before the first glimpse every row believes the same, so that the best first window is one and
    the same for all scenes, and what it is worth shows in what follows. Episodes begin with windows
    drawn from those that compete; in each of some rounds the worse half drops out, until one is
    left.

    Source: Karnin et al., "Almost Optimal Exploration in Multi-Armed Bandits" (ICML 2013),
    sequential halving.

    Args:
        num_windows: Windows to choose from.

    Attributes:
        competing: Numbers of the windows that compete, int64; the best of the last round first.
    """

    def __init__(self, num_windows: int) -> None:
        self.competing = torch.arange(num_windows)
        self._sizes = [num_windows]  # of the field, round by round
        while self._sizes[-1] > 1:
            self._sizes.append(math.ceil(self._sizes[-1] / 2))
        self._returns = torch.zeros(num_windows, dtype=torch.float64)
        self._counts = torch.zeros(num_windows, dtype=torch.int64)

    @property
    def targets(self) -> Tensor:
        """How often each window should come first: the same for all that compete, `[windows]`."""
        targets = torch.zeros(len(self._counts))
        targets[self.competing] = 1 / len(self.competing)
        return targets

    def draw(self, rows: int, generator: torch.Generator) -> Tensor:
        """Windows to begin episodes with, int64 `[rows]`: all that compete equally often.

        Args:
            rows: How many.
            generator: Of their order, and of who comes once more than others.
        """
        count = len(self.competing)
        turns = [torch.randperm(count, generator=generator) for _ in range(math.ceil(rows / count))]
        return self.competing[torch.cat(turns)[:rows]]

    def learn(self, windows: Tensor, returns: Tensor) -> None:
        """Takes in how episodes went.

        Args:
            windows: What they began with, int64 `[N]`.
            returns: What they brought, float `[N]`.
        """
        self._returns.index_add_(0, windows, returns.double())
        self._counts.index_add_(0, windows, torch.ones_like(windows))

    def narrow(self, progress: float) -> None:
        """Lets the worse half of the windows drop out where a round is over.

        A window that was not tried in a round stays before those that were.

        Args:
            progress: Share of all rounds that is over; from 1 on, one window is left.
        """
        rounds = len(self._sizes) - 1
        size = self._sizes[min(int(progress * rounds), rounds)]
        if size >= len(self.competing):
            return
        counts = self._counts[self.competing]
        mean = self._returns[self.competing] / counts
        mean = torch.where(counts > 0, mean, torch.inf)
        best_first = mean.argsort(descending=True, stable=True)
        self.competing = self.competing[best_first][:size]
        self._returns.zero_()
        self._counts.zero_()

    def state(self) -> dict[str, Any]:
        """All it knows, as tensors."""
        return {
            "competing": self.competing.clone(),
            "returns": self._returns.clone(),
            "counts": self._counts.clone(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what `state` returned."""
        self.competing = state["competing"]
        self._returns, self._counts = state["returns"], state["counts"]

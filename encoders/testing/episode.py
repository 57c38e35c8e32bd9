"""Random episodes on which the laws of encoders are tried."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.flops.count import FlopCount
from encoders.protocol import OUTPUTS, Belief, Encoder, Observed
from encoders.support.laws import require

ROWS = 4
GLIMPSES = 4
_PER_GLIMPSE = 3


class Episode:
    """One episode per row, drawn once, on which every law is tried.

    Args:
        encoder: What is checked.
        seed: Of the glimpses.
        options: Of the encoder's family; None = its own.
    """

    def __init__(
        self, encoder: Encoder, seed: int, options: Mapping[str, Any] | None = None
    ) -> None:
        self.encoder = encoder
        self.options = encoder.resolve_options(options or {})
        # `tokens` are as many as the longest row has, so that rows cannot be compared by them.
        self.outputs = tuple(name for name in encoder.outputs if name != "tokens")
        rows, columns = encoder.grid
        self.patches = rows * columns
        self.count = max(1, min(_PER_GLIMPSE, self.patches // GLIMPSES))
        side = encoder.config.patch_size
        random = np.random.default_rng(seed)
        ids = np.stack(
            [random.permutation(self.patches)[: GLIMPSES * self.count] for _ in range(ROWS)]
        ).reshape(ROWS, GLIMPSES, self.count)
        ids[1, 1, 0] = -1  # a glimpse with less to encode
        ids[2, 2] = -1  # and one with nothing
        self.ids = torch.from_numpy(ids)
        shape = (ROWS, GLIMPSES, self.count, 3, side, side)
        self.pixels = torch.from_numpy(random.integers(0, 256, shape, np.uint8))
        self.expected = self.run(range(GLIMPSES))[0]

    def see(self, state: Any, step: int, rows: Any = slice(None)) -> Observed:
        """Observes glimpse `step` of some rows."""
        return self.observe(self.pixels[rows, step], self.ids[rows, step], state)

    def observe(self, pixels: Tensor, ids: Tensor, state: Any) -> Observed:
        """Observes patches, uint8 `[B, n, 3, p, p]`."""
        patches = self.encoder.normalise(pixels)
        return self.encoder.observe(
            patches, ids, state, outputs=self.outputs, **copy.copy(self.options)
        )

    def run(self, steps: Collection[int], rows: Any = slice(None)) -> tuple[Belief, Any]:
        """A new state after some glimpses, and the belief after the last."""
        state = self.encoder.init_state(len(self.ids[rows]))
        for step in steps:
            belief, state = self.see(state, step, rows)
        return belief, state

    def nothing(self, state: Any) -> Observed:
        """Observes padding alone."""
        return self.observe(self.pixels[: len(state), 0], self.ids[: len(state), 0] * 0 - 1, state)

    def same(self, law: str, found: Belief, expected: Belief, rows: Any = slice(None)) -> None:
        """Requires beliefs to be equal but for rounding."""
        for name in self.outputs:
            one, other = found[name].detach().float(), expected[name][rows].float()
            require(one.shape == other.shape, law, f"{name} {list(one.shape)}, {list(other.shape)}")
            largest = float(other.abs().max())
            apart = float((one - other).abs().max())
            require(apart <= 1e-4 * max(1.0, largest), law, f"{name} differ by up to {apart:.3g}")

    def run_with(self, encoder: Encoder) -> Belief:
        """The belief that another encoder comes to from the same glimpses."""
        mine, self.encoder = self.encoder, encoder
        try:
            return self.run(range(GLIMPSES))[0]
        finally:
            self.encoder = mine

    def formula(self, new: Any, cached: Any) -> FlopCount:
        """The closed formula."""
        return self.encoder.flops(new, cached, outputs=self.outputs, **self.options)

    def part(self, belief: Belief, rows: list[int]) -> Belief:
        """Some rows of a belief."""
        heads = {name: belief[name][rows] for name in self.outputs if name not in OUTPUTS}
        known: Mapping[str, Any] = {
            name: belief[name][rows] for name in self.outputs if name in OUTPUTS
        }
        return Belief(**known, heads=heads or None)

    def spoil(self, state: Any) -> None:
        """Lets a state see what it has not seen, and forget."""
        rows = len(state)
        _, state = self.observe(255 - self.pixels[:rows, 3], self.ids[:rows, 3].roll(1, 0), state)
        state.reset(torch.arange(rows))
        self.observe(255 - self.pixels[:rows, 0], self.ids[:rows, 0].roll(1, 0), state)

    def counts(self, state: Any, expected: list[int], law: str) -> None:
        """Requires a state's tokens to be these."""
        tokens = state.tokens
        good = isinstance(tokens, Tensor) and tokens.dtype == torch.int64
        good = good and tokens.device.type == "cpu" and tokens.tolist() == expected
        require(good, f"{law} (int64 on the CPU, {expected})", f"{tokens!r}")

"""Heads: from an encoder's tokens to an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Head(NamedTuple):
    """One named output of an encoder beyond its tokens.

    Attributes:
        run: From the tokens after the final norm `[B, P+N, D]` and the latent `[B, D]` to the
            output `[B, ...]`.
        flops: Multiply-accumulates of one row.
    """

    run: Callable[[Tensor, Tensor], Tensor]
    flops: int

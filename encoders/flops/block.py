"""What one transformer block costs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import nn

Count = TypeVar("Count", int, np.ndarray)


@dataclasses.dataclass(frozen=True)
class BlockCost:
    """Cost of one transformer block on n tokens: `n * linear + n^2 * pair`.

    Where tokens are taken away between attention and MLP, fewer go through the latter.

    Attributes:
        linear: Multiply-accumulates of all linear layers per token.
        mlp_linear: Of `linear`, the part of the MLP.
        pair: Multiply-accumulates of both attention products per pair of tokens.
        attention_linear: Of `linear`, the part of the query and key projections; half of it is
            that of the queries, or the keys, or the values.
        attention_pair: Of `pair`, the part of the query-key product.
    """

    linear: int
    mlp_linear: int
    pair: int
    attention_linear: int
    attention_pair: int

    @classmethod
    def of(cls, block: nn.Module) -> BlockCost:
        """Reads the cost off a timm block's layers."""
        from torch import nn  # here, for the command's --help does without

        def weights_of(module: Any) -> int:
            layers = (layer for layer in module.modules() if isinstance(layer, nn.Linear))
            return sum(layer.in_features * layer.out_features for layer in layers)

        attention: Any = block.attn
        width = attention.num_heads * attention.head_dim
        return cls(
            linear=weights_of(block),
            mlp_linear=weights_of(block.mlp),
            pair=2 * width,
            attention_linear=2 * width * attention.qkv.in_features,
            attention_pair=width,
        )

    def __call__(self, tokens: Count, mlp_tokens: Count | None = None) -> Count:
        """Cost of the whole block.

        Args:
            tokens: How many go in.
            mlp_tokens: How many go through its MLP; None = all.
        """
        cost = tokens * self.linear + tokens * tokens * self.pair
        return cost if mlp_tokens is None else cost - (tokens - mlp_tokens) * self.mlp_linear

    def leading(self, tokens: Count, leading: int) -> Count:
        """Cost of the block where only some tokens come out.

        Args:
            tokens: How many go in: the others are keys and values.
            leading: How many come out, at least where there are so many.
        """
        count = np.minimum(tokens, leading)
        keys_and_values = self.attention_linear
        cost = tokens * keys_and_values + count * (self.linear - keys_and_values)
        return cost + count * tokens * self.pair

    def attention_only(self, tokens: int) -> int:
        """Cost of the block's attention map alone."""
        return tokens * self.attention_linear + tokens * tokens * self.attention_pair

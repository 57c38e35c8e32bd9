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

    Of angular attention `pair` is 0.

    Where tokens are taken away between attention and MLP, fewer go through the latter.

    Attributes:
        linear: Multiply-accumulates of all linear layers per token.
        mlp_linear: Of `linear`, the part of the MLP.
        pair: Multiply-accumulates of both attention products per pair of tokens.
        attention_linear: Of `linear`, the part of the query and key projections; half of it is
            that of the queries, or the keys, or the values.
        attention_pair: Of `pair`, the part of the query-key product.
        keys_and_values: Of `linear`, what a token costs that is key and value alone.
    """

    linear: int
    mlp_linear: int
    pair: int
    attention_linear: int
    attention_pair: int
    keys_and_values: int

    @classmethod
    def of(cls, block: nn.Module) -> BlockCost:
        """Reads the cost off a timm block's layers."""
        from torch import nn  # here, for the command's --help does without

        def weights_of(module: Any) -> int:
            layers = (layer for layer in module.modules() if isinstance(layer, nn.Linear))
            return sum(layer.in_features * layer.out_features for layer in layers)

        attention: Any = block.attn
        width = attention.num_heads * attention.head_dim
        projections = 2 * width * attention.qkv.in_features
        linear, mlp_linear = weights_of(block), weights_of(block.mlp)
        if (taps := getattr(attention, "neighbourhood", None)) is None:
            return cls(
                linear=linear,
                mlp_linear=mlp_linear,
                pair=2 * width,
                attention_linear=projections,
                attention_pair=width,
                keys_and_values=projections,
            )
        # Angular: a key times a value is added up, and a query is multiplied by the sum.
        product = width * attention.head_dim
        return cls(
            linear=linear + 2 * product + taps * width,
            mlp_linear=mlp_linear,
            pair=0,
            attention_linear=projections,
            attention_pair=0,
            keys_and_values=projections + product,
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
        cost = tokens * self.keys_and_values + count * (self.linear - self.keys_and_values)
        return cost + count * tokens * self.pair

    def attention_only(self, tokens: int) -> int:
        """Cost of the block's attention map alone."""
        return tokens * self.attention_linear + tokens * tokens * self.attention_pair

"""Linear-angular attention: cost in proportion to the tokens, not to their pairs.

The angular kernel `1 - theta / pi` of the angle between a query and a key is
`1/2 + (q . k) / pi + ...` for vectors of length one. Its first terms factor, so that keys and
values are summed once, `sum_j k_j v_j^T`, and every query is multiplied by that sum. A depthwise
convolution along the axis of the tokens stands in for the terms of higher order, and, while the
model is trained, the large entries of softmax attention do (the auxiliary sparse branch).

Source: You et al., "Castling-ViT: Compressing Self-Attention via Switching Towards Linear-Angular
Attention at Vision Transformer Inference", CVPR 2023, section 4. As in the authors' code the
constant term is each token's own value, `v / 2`, where the formula has the sum of all values, and
what a head has mixed is brought to length one.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.layers.calls import call, call_rows
from encoders.support.choices import TOKEN_ORDERS, TokenOrder

NEIGHBOURHOOD = 9
"""Tokens that the depthwise branch looks at, the token itself in the middle."""

SPARSE_THRESHOLD = 0.02
"""Softmax attention above this takes part in the sparse branch."""


class AngularAttention(nn.Module):
    """Linear-angular attention in the place of a block's softmax attention.

    Args:
        dim: Channels D.
        num_heads: Heads; they divide D.
        qkv_bias: Whether queries, keys and values have a bias.
        order: What lies next to what in the depthwise branch.
        neighbourhood: Tokens that it looks at, an odd number.

    Attributes:
        sparse_threshold: Softmax attention above it is added in training mode; at 1 or more there
            is no sparse branch, and training mode computes what evaluation mode does.

    Raises:
        ValueError: Heads that do not divide the channels, an even neighbourhood, or another order.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        qkv_bias: bool = True,
        order: TokenOrder = "grid",
        neighbourhood: int = NEIGHBOURHOOD,
    ) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"{num_heads} attention heads do not divide {dim} channels")
        if order not in TOKEN_ORDERS:
            raise ValueError(
                f"attention_order={order!r}; expected one of {', '.join(TOKEN_ORDERS)}"
            )
        if neighbourhood < 1 or neighbourhood % 2 == 0:
            raise ValueError(f"neighbourhood={neighbourhood}; expected an odd number")
        self.num_heads = num_heads
        self.head_dim = dim // num_heads
        self.scale = self.head_dim**-0.5
        self.order: TokenOrder = order
        self.neighbourhood = neighbourhood
        self.sparse_threshold = SPARSE_THRESHOLD
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.dconv = nn.Conv2d(
            num_heads,
            num_heads,
            (neighbourhood, 1),
            padding=(neighbourhood // 2, 0),
            groups=num_heads,
            bias=False,
        )

    @property
    def reach(self) -> int:
        """How many tokens away the farthest neighbour is."""
        return self.neighbourhood // 2

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        near: Tensor | None = None,
        leading: int | None = None,
    ) -> Tensor:
        """Mixes every token with all others.

        Args:
            x: `[B, n, D]`.
            mask: bool `[B, n]`, False for padding; None = no padding.
            near: int64 `[B, n, neighbourhood]`, the token in each place of a token's neighbourhood,
                n for none, as `neighbours` gives it; None = those before and after it in `x`.
            leading: How many tokens, from the first, come out; the others are keys and values
                alone. None = all.

        Returns:
            `[B, n, D]`, or `[B, leading, D]`.
        """
        if leading is None:
            query, key, value = map(self._heads, call(self._modules["qkv"], x).chunk(3, dim=-1))
        else:
            query, (key, value) = self.queries(x[:, :leading]), self.keys_and_values(x)
        count = query.shape[2]
        unit = F.normalize(key, dim=-1)
        if mask is not None:
            unit = unit * mask[:, None, :, None].to(unit)
        extra = None
        if self.training and self.sparse_threshold < 1:
            extra = self._sparse(query, key, value, mask)
        mixed = self.from_sum(query, value[:, :, :count], unit.mT @ value, extra)
        return self.finish(mixed, self._near_values(value, near, count))

    def keys_and_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of tokens `[B, n, D]`, each `[B, heads, n, d]`."""
        key, value = self._project(x, 1, 3).chunk(2, dim=-1)
        return self._heads(key), self._heads(value)

    def queries(self, x: Tensor) -> Tensor:
        """Queries of tokens `[B, n, D]`, `[B, heads, n, d]`."""
        return self._heads(self._project(x, 0, 1))

    def from_sum(
        self, query: Tensor, own: Tensor, summed: Tensor, extra: Tensor | None = None
    ) -> Tensor:
        """The angular branch, each head's mixture brought to length one.

        Args:
            query: `[B, heads, m, d]`.
            own: The same tokens' values.
            summed: Keys of length one times values, over all tokens: `[B, heads, d, d]`.
            extra: What is added before the length is taken, `[B, heads, m, d]`; None = nothing.
        """
        mixed = own / 2 + (F.normalize(query, dim=-1) @ summed) / math.pi
        if extra is not None:
            mixed = mixed + extra
        return F.normalize(mixed, dim=-1)

    def finish(self, mixed: Tensor, near: Tensor) -> Tensor:
        """Adds the depthwise branch, joins the heads and projects, `[B, m, D]`.

        Args:
            mixed: Of the angular branch, `[B, heads, m, d]`.
            near: Of the depthwise branch, `[B, heads, m, d]`.
        """
        joined = (mixed + near).transpose(1, 2).flatten(2)
        return call(self._modules["proj"], joined)

    def weigh(self, near: Tensor) -> Tensor:
        """The depthwise branch, from the values in each token's neighbourhood.

        Args:
            near: `[B, heads, neighbourhood, m, d]`, zeros where there is no token.

        Returns:
            `[B, heads, m, d]`.
        """
        weight = self.dconv.weight.view(self.num_heads, 1, self.neighbourhood).to(near.dtype)
        # A product per head, which `torch.utils.flop_counter` counts as it counts others.
        return (weight @ near.flatten(3)).view(*near.shape[:2], *near.shape[3:])

    def _near_values(self, value: Tensor, near: Tensor | None, count: int) -> Tensor:
        batch, heads, tokens, _ = value.shape
        if near is None and count == tokens:
            return self.dconv(value)
        if near is None:
            # The first `count` tokens have their neighbours among the first few more.
            few = F.pad(value[:, :, : count + self.reach], (0, 0, self.reach, self.reach))
            return self.weigh(few.unfold(2, self.neighbourhood, 1)[:, :, :count].movedim(-1, 2))
        lines = F.pad(value, (0, 0, 0, 1)).flatten(0, 2)
        starts = (tokens + 1) * torch.arange(batch * heads, device=near.device)
        index = near[:, None, :count].mT + starts.view(batch, heads, 1, 1)
        # Not by indexing, whose gradients several threads add up in any order.
        return self.weigh(F.embedding(index, lines))

    def _sparse(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Softmax attention, of which only what is above the threshold counts."""
        scores = (query * self.scale) @ key.mT
        if scores.dtype in (torch.bfloat16, torch.float16):
            scores = scores.float()
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min)
        attention = scores.softmax(dim=-1)
        kept = attention * (attention > self.sparse_threshold)
        return kept.to(value.dtype) @ value

    def _project(self, x: Tensor, first: int, last: int) -> Tensor:
        """Some of query, key and value (0, 1, 2), side by side."""
        size = self.num_heads * self.head_dim
        return call_rows(self._modules["qkv"], x, first * size, last * size)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, self.head_dim)).transpose(1, 2)


def neighbours(
    order: TokenOrder,
    reach: int,
    count: int,
    *,
    mask: Tensor | None,
    source: Tensor | None,
    num_prefix_tokens: int,
) -> Tensor | None:
    """Which token lies in each place of a token's neighbourhood.

    In the order of the grid, prefix tokens come first and patches follow in row-major order, each
    in its own place whether or not others were seen: a whole image in row-major order has the
    neighbours of the published code, and part of it those of them that are there. A token whose
    patch was seen again later has no neighbours and is nobody's. In the order of arrival, tokens
    that are no padding stand side by side.

    Args:
        order: The order.
        reach: How far a neighbourhood goes to either side.
        count: Tokens n.
        mask: bool `[B, n]`, False for padding; None = no padding.
        source: int64 `[B, G]`, which patch token stands for each patch, counted from 1; 0 = none.
            None = nobody knows, and the order is that of arrival.
        num_prefix_tokens: Tokens before those of patches.

    Returns:
        int64 `[B, n, 2 * reach + 1]`, n where there is no token; None where neighbours are simply
        the tokens before and after.
    """
    if order == "grid" and source is not None:
        places, table = _places_in_grid(source, count, num_prefix_tokens, reach)
    elif mask is not None:
        places, table = _places_by_arrival(mask, reach)
    else:
        return None
    offsets = torch.arange(2 * reach + 1, device=table.device)
    around = (places.clamp(min=0)[..., None] + offsets).flatten(1)
    index = table.gather(1, around).unflatten(1, (count, -1))
    index = index.masked_fill((places < 0)[..., None], count)
    index[..., reach] = torch.arange(count, device=index.device)
    return index


def set_sparse_threshold(module: nn.Module, threshold: float) -> None:
    """Sets from where on softmax attention takes part in training, in every angular layer."""
    for layer in module.modules():
        if isinstance(layer, AngularAttention):
            layer.sparse_threshold = threshold


def risen_threshold(share: float) -> float:
    """The threshold of the sparse branch when a share of its time has passed; 1 switches it off."""
    return SPARSE_THRESHOLD + (1 - SPARSE_THRESHOLD) * min(max(share, 0.0), 1.0)


def _places_in_grid(
    source: Tensor, count: int, num_prefix_tokens: int, reach: int
) -> tuple[Tensor, Tensor]:
    """Places of tokens `[B, n]`, -1 = none; and the token in each place `[B, P + G + 2 reach]`."""
    batch, patches = source.shape
    first = num_prefix_tokens
    seen = source > 0
    prefix = torch.arange(first, device=source.device).expand(batch, -1)
    tokens = torch.where(seen, source - 1 + first, count)
    table = F.pad(torch.cat([prefix, tokens], 1), (reach, reach), value=count)
    places = source.new_full((batch, count + 1), -1)
    places[:, :first] = prefix
    there = torch.arange(first, first + patches, device=source.device).expand(batch, -1)
    places.scatter_(1, tokens, there)  # those of patches not seen go to the place behind the last
    return places[:, :count], table


def _places_by_arrival(mask: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    batch, count = mask.shape
    ranks = mask.cumsum(1) - 1
    table = mask.new_full((batch, count + 2 * reach + 1), count, dtype=torch.int64)
    tokens = torch.arange(count, device=mask.device).expand(batch, -1)
    # Padding goes to a place behind all others, which nobody reads.
    table.scatter_(1, torch.where(mask, ranks + reach, count + 2 * reach), tokens)
    return ranks.masked_fill(~mask, -1), table[:, :-1]


def angular_layer(module: Any) -> AngularAttention | None:
    """The attention of a block where it is angular."""
    layer = module._modules["attn"]
    return layer if isinstance(layer, AngularAttention) else None

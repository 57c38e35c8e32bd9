"""ToMe: the most similar tokens are merged, by bipartite soft matching.

Source: Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023, section 3.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.layers import vit
from encoders.layers.vit import Attended, TokenSet
from encoders.reduction.base import ReductionPass
from encoders.reduction.config import Tome


@dataclasses.dataclass(frozen=True, eq=False)
class Matching:
    """Which tokens become one.

    Attributes:
        target: int64 `[B, n]`, the place of each token among the merged ones; `count` for padding.
        lengths: int64 `[B]`, merged tokens of each row.
        count: Merged tokens of the longest row.
    """

    target: Tensor
    lengths: Tensor
    count: int

    @property
    def padding(self) -> Tensor | None:
        """Bool `[B, count]`, False for padding; None where there is none."""
        places = torch.arange(self.count, device=self.target.device)
        valid = places < self.lengths[:, None]
        return None if bool(valid.all()) else valid


def match_alternating(
    metric: Tensor, merged: int, num_prefix_tokens: int = 0, lengths: Tensor | None = None
) -> Matching:
    """ToMe's matching: every other token is offered to the most similar of the rest.

    Args:
        metric: float `[B, n, d]`, compared by their cosine; padding behind each row's tokens.
        merged: Tokens to merge away in each row, r; at most half of the patch tokens.
        num_prefix_tokens: Tokens at the front that are neither merged nor merged into.
        lengths: int64 `[B]`, tokens of each row; None = all.

    Returns:
        Prefix tokens first, then those that were offered and kept, then those offered to. Without
        prefix tokens the second group is in falling order of similarity, as published.
    """
    batch, count, _ = metric.shape
    device, first = metric.device, num_prefix_tokens
    if lengths is None:
        lengths = torch.full((batch,), count, device=device)
    metric = F.normalize(metric, dim=-1)
    places = torch.arange(count, device=device)
    valid = places < lengths[:, None]
    mergeable = valid & (places >= first)
    similar = as_levels(metric[:, 0::2] @ metric[:, 1::2].transpose(1, 2))
    similar = similar.masked_fill(~mergeable[:, 1::2][:, None], -torch.inf)
    similar = similar.masked_fill(~mergeable[:, 0::2][:, :, None], -torch.inf)
    offered = similar.shape[1]
    if similar.shape[2] == 0:
        return Matching(torch.where(valid, places, count), lengths, count)
    value, best = similar.max(-1)
    order = value.argsort(dim=1, descending=True, stable=True)
    position = torch.arange(offered, device=device).expand(batch, -1)
    ranks = torch.empty_like(order).scatter_(1, order, position)
    number = ((lengths - first) // 2).clamp(min=0, max=merged)
    gone = torch.zeros(batch, count, dtype=torch.bool, device=device)
    gone[:, 0::2] = ranks < number[:, None]
    # Places are numbered by group, and within a group by a key.
    key = torch.where(places % 2 == 0, count + places, 2 * count + places).expand(batch, -1).clone()
    key[:, :first] = places[:first]
    if first == 0:
        key[:, 0::2] = count + ranks
    key = key.masked_fill(gone | ~valid, 4 * count)
    target = key.argsort(dim=1, stable=True).argsort(1)
    target[:, 0::2] = torch.where(gone[:, 0::2], target[:, 1::2].gather(1, best), target[:, 0::2])
    remaining = lengths - number
    longest = int(remaining.max()) if batch else 0
    return Matching(target.masked_fill(~valid, longest), remaining, longest)


def as_levels(cosine: Tensor) -> Tensor:
    """Cosines as whole numbers of steps that are a little coarser than rounding errors.

    Pairs of equal tokens, such as patches that were seen twice, are equally similar then, whatever
    else is computed beside them, and their order decides.
    """
    wide = torch.float64 if cosine.dtype == torch.float64 else torch.float32
    return (cosine / (8 * torch.finfo(wide).eps)).round()


def match_every_kth(metric: Tensor, k: int) -> Matching:
    """Every k-th token takes up the others, each of which goes to the most similar.

    Args:
        metric: float `[B, n, d]`, compared by their cosine.
        k: At least 2; tokens beyond a multiple of k are dropped.
    """
    whole = metric.shape[1] // k * k
    metric = F.normalize(metric[:, :whole], dim=-1).unflatten(1, (-1, k))
    takers, others = metric[:, :, -1], metric[:, :, :-1].flatten(1, 2)
    best = (others @ takers.transpose(1, 2)).argmax(-1)
    number = torch.arange(takers.shape[1], device=metric.device).expand(len(metric), -1)
    target = torch.cat([best.unflatten(1, (-1, k - 1)), number[..., None]], 2).flatten(1)
    lengths = torch.full((len(metric),), takers.shape[1], device=metric.device)
    return Matching(target, lengths, takers.shape[1])


def merge(
    values: Tensor, matching: Matching, reduce: Literal["sum", "mean", "amax"] = "mean"
) -> Tensor:
    """Values of merged tokens, `[B, count, D]`, from those of all `[B, n, D]`; padding is 0."""
    index = matching.target[..., None].expand(-1, -1, values.shape[2])
    values = values[:, : index.shape[1]]
    merged = values.new_zeros(len(values), matching.count + 1, values.shape[2])
    merged = merged.scatter_reduce(1, index, values, reduce, include_self=False)
    return merged[:, :-1]


def unmerge(values: Tensor, matching: Matching) -> Tensor:
    """Copies of merged tokens `[B, count, D]` where those stood that they are made of."""
    index = matching.target.clamp(max=max(matching.count - 1, 0))
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))


def merge_weighted(values: Tensor, sizes: Tensor, matching: Matching) -> tuple[Tensor, Tensor]:
    """Means weighted by size, and the sizes of merged tokens.

    Args:
        values: `[B, n, D]`.
        sizes: `[B, n]`, how many patches each token stands for.
        matching: What becomes one.

    Returns:
        `[B, count, D]` and `[B, count]`; padding has value 0 and size 1.
    """
    total = sizes.new_zeros(len(sizes), matching.count + 1)
    total = total.scatter_add(1, matching.target, sizes)
    total = torch.where(total > 0, total, 1.0)
    # A token that stays alone has a share of exactly one, and so stays as it is.
    wide = torch.promote_types(values.dtype, torch.float32)
    shares = sizes.to(wide) / total.to(wide).gather(1, matching.target)
    shares = shares.to(values.dtype)[..., None]
    index = matching.target[..., None].expand_as(values)
    merged = values.new_zeros(len(values), matching.count + 1, values.shape[2])
    return merged.scatter_add(1, index, values * shares)[:, :-1], total[:, :-1]


def merge_tokens(tokens: TokenSet, matching: Matching) -> TokenSet:
    """Merged tokens with their sizes; `source` names those that patches went into."""
    sizes = tokens.sizes
    if sizes is None:
        sizes = torch.ones_like(tokens.values[..., 0])
    values, sizes = merge_weighted(tokens.values, sizes, matching)
    return dataclasses.replace(
        tokens,
        values=values,
        mask=matching.padding,
        sizes=sizes,
        source=tokens.moved_source(matching.target),
    )


class TomePass(ReductionPass):
    """ToMe on the tokens of one pass.

    Args:
        config: r and its schedule.
        depth: Blocks of the model.
    """

    def __init__(self, config: Tome, depth: int) -> None:
        self.config = config
        self.per_block = config.per_block(depth)

    def begin(self, tokens: TokenSet) -> TokenSet:
        """As `ReductionPass.begin`."""
        if not any(self.per_block):
            return tokens
        return dataclasses.replace(tokens, proportional=self.config.proportional)

    def within(self, block: int) -> vit.Reduction | None:
        """As `ReductionPass.within`."""
        number = self.per_block[block]
        if not number:
            return None

        return _MergeSimilar(number)


@dataclasses.dataclass(frozen=True)
class _MergeSimilar:
    """ToMe in one block.

    Attributes:
        number: Tokens to merge away.
    """

    number: int
    reads_attention: ClassVar[bool] = False

    def __call__(self, tokens: TokenSet, attended: Attended) -> TokenSet:
        """As `encoders.layers.vit.Reduction`.

        Raises:
            ValueError: Padding among the tokens: which of them face each other depends on places.
        """
        places = torch.arange(tokens.values.shape[1], device=tokens.values.device)
        if tokens.mask is not None:
            behind = tokens.mask == (places < tokens.lengths[:, None])
            if not bool(behind.all()):
                raise ValueError("tokens with padding among them; see TokenSet.without_padding")
        metric, first = attended.keys.mean(1), tokens.num_prefix_tokens
        return merge_tokens(tokens, match_alternating(metric, self.number, first, tokens.lengths))

"""A bounded memory of tokens: the most similar ones are merged until few enough are left.

The pair with the highest cosine becomes one token, the mean of both weighted by how many patches
they stand for; then the next pair, which may hold the token just made. The order of arrival decides
between equally similar pairs alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.layers.vit import TokenSet
from encoders.reduction.tome import Matching, as_levels, merge_tokens


def merge_down_to(tokens: TokenSet, most: int) -> TokenSet:
    """Merges patch tokens until no row has more than `most` of them.

    Args:
        tokens: Prefix and patch tokens, padding behind each row's tokens; prefix tokens stay as
            they are.
        most: Patch tokens that a row may keep.

    Returns:
        The tokens given where no row has too many. A merged token stands where the earliest of its
        own stood; rows with few enough tokens are unchanged.
    """
    first = tokens.num_prefix_tokens
    excess = tokens.lengths - first - most
    if not bool((excess > 0).any()):
        return tokens
    valid = torch.ones_like(tokens.values[..., 0], dtype=torch.bool)
    if tokens.mask is not None:
        valid = tokens.mask
    sizes = tokens.sizes
    if sizes is None:
        sizes = torch.ones_like(tokens.values[..., 0])
    # In full precision, for a merged token is there for good.
    with torch.no_grad(), torch.autocast(tokens.values.device.type, enabled=False):
        parent = most_similar_pairs(
            tokens.values[:, first:], sizes[:, first:], valid[:, first:], excess.clamp(min=0)
        )
    return merge_tokens(tokens, _as_matching(parent, valid, first))


def merging_cost(tokens: int, most: int, width: int) -> int:
    """Multiply-accumulates of `merge_down_to` for one row with so many patch tokens."""
    return tokens * tokens * width if tokens > most else 0


def most_similar_pairs(values: Tensor, sizes: Tensor, valid: Tensor, number: Tensor) -> Tensor:
    """Greedily merges the pairs with the highest cosine.

    Args:
        values: float `[B, n, D]`.
        sizes: float `[B, n]`.
        valid: bool `[B, n]`, False for padding.
        number: int64 `[B]`, how many tokens to merge away in each row, fewer than it has.

    Returns:
        int64 `[B, n]`: the earliest token of the group that each token belongs to.
    """
    batch, count, _ = values.shape
    values = values.float() if values.dtype != torch.float64 else values
    sizes = sizes.to(values.dtype).clone()
    places = torch.arange(count, device=values.device)
    parent = places.expand(batch, -1).clone()
    # Products with a merged token are the weighted means of those with its two, so that they are
    # computed once.
    products = values @ values.transpose(1, 2)
    lengths = products.diagonal(dim1=1, dim2=2).clamp(min=1e-30).sqrt()
    allowed = (places[:, None] > places) & valid[:, :, None] & valid[:, None]
    cosine = as_levels(products / (lengths[:, :, None] * lengths[:, None]))
    cosine = cosine.masked_fill_(~allowed, -torch.inf)
    alive = valid.clone()
    rows = torch.arange(batch, device=values.device)
    for step in range(int(number.max())):
        # The first of equal pairs: the earliest later token, with the earliest before it.
        pair = cosine.flatten(1).argmax(1)
        gone, kept = pair // count, pair % count
        active = number > step
        weight = sizes[rows, kept] / (sizes[rows, kept] + sizes[rows, gone])
        weight = torch.where(active, weight, 1.0)[:, None]
        mixed = weight * products[rows, kept] + (1 - weight) * products[rows, gone]
        square = weight[:, 0] * mixed[rows, kept] + (1 - weight[:, 0]) * mixed[rows, gone]
        products[rows, kept] = products[rows, :, kept] = mixed
        products[rows, kept, kept] = square
        lengths[rows, kept] = square.clamp(min=1e-30).sqrt()
        sizes[rows, kept] += torch.where(active, sizes[rows, gone], 0.0)
        alive[rows, gone] &= ~active
        similar = as_levels(mixed / (lengths * lengths[rows, kept][:, None]))
        before, behind = places < kept[:, None], places > kept[:, None]
        column = torch.where(behind & alive, similar, -torch.inf)
        cosine[rows, :, kept] = column
        cosine[rows, kept] = torch.where(before & alive, similar, -torch.inf)
        cosine[rows, gone] = torch.where(active[:, None], -torch.inf, cosine[rows, gone])
        cosine[rows, :, gone] = torch.where(active[:, None], -torch.inf, cosine[rows, :, gone])
        moved = (parent == gone[:, None]) & active[:, None]
        parent = torch.where(moved, kept[:, None], parent)
    return parent


def _as_matching(parent: Tensor, valid: Tensor, first: int) -> Matching:
    """Groups of patch tokens as a matching of all tokens, in the order of their earliest."""
    count = valid.shape[1]
    places = torch.arange(count, device=valid.device)
    prefix = places[:first].expand(len(valid), -1)
    own = torch.cat([prefix, parent + first], 1)
    heads = (own == places) & valid
    numbers = heads.cumsum(1) - 1
    lengths = heads.sum(1)
    longest = int(lengths.max())
    target = numbers.gather(1, own).masked_fill(~valid, longest)
    return Matching(target, lengths, longest)

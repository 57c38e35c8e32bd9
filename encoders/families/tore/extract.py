"""TORE's extractor: one glimpse at a time through the first K blocks."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from encoders.families.tore.surgery import PatchVit
from encoders.layers.patches import token_sources
from encoders.layers.vit import BlockCount, TokenSet
from encoders.reduction.base import ReductionPass
from encoders.reduction.memory import merge_down_to


def extract(
    vit: PatchVit,
    patches: Tensor,
    patch_ids: Tensor,
    split_block: int,
    reduction: ReductionPass | None = None,
) -> tuple[TokenSet, dict[int, BlockCount]]:
    """The extractor: one glimpse per row through the first K blocks.

    Args:
        vit: The Vision Transformer.
        patches: float `[B, n, 3, p, p]`, normalised.
        patch_ids: int64 `[B, n]` on any device; -1 = padding.
        split_block: K.
        reduction: What takes tokens away in these blocks.

    Returns:
        Prefix and patch tokens at depth K, and the counts of `PatchVit.run_blocks`. Without a
        reduction there is a token in the place of every patch, padding among them, and no `source`;
        with one, `source` is int64 `[B, n]`, which patch token stands for each patch given.
    """
    prefix = vit.embed_prefix(len(patches))
    ids = patch_ids.to(patches.device)
    embedded = vit.embed_patches(patches, ids)
    # A matrix product under autocast may have another dtype than the parameters.
    values = torch.cat([prefix.to(embedded), embedded], 1)
    mask = None
    valid = patch_ids >= 0
    if not valid.all():
        mask = torch.cat([valid.new_ones(prefix.shape[:2], device=valid.device), valid], 1)
        mask = mask.to(patches.device)
    tokens = TokenSet(values, mask, num_prefix_tokens=vit.num_prefix_tokens)
    if vit.knows_places and split_block > 0:
        source = token_sources(ids, vit.grid[0] * vit.grid[1])
        tokens = dataclasses.replace(tokens, source=source)
    if reduction is None or split_block == 0:
        tokens, counts = vit.run_blocks(tokens, 0, split_block)
        return dataclasses.replace(tokens, source=None), counts
    places = torch.arange(1, ids.shape[1] + 1, device=ids.device).expand_as(ids)
    tokens = dataclasses.replace(tokens, source=places.masked_fill(ids < 0, 0))
    return vit.run_blocks(tokens.without_padding(), 0, split_block, reduction)


def extract_nothing(
    vit: PatchVit, split_block: int, batch_size: int = 1, reduction: ReductionPass | None = None
) -> TokenSet:
    """The prefix tokens alone through the first K blocks, in every row: nothing seen yet."""
    alone = TokenSet(vit.embed_prefix(1), num_prefix_tokens=vit.num_prefix_tokens)
    tokens, _ = vit.run_blocks(alone, 0, split_block, reduction)
    prefix = tokens.values.expand(batch_size, -1, -1)
    nowhere = torch.zeros(
        batch_size, vit.grid[0] * vit.grid[1], dtype=torch.int64, device=prefix.device
    )
    return TokenSet(prefix, source=nowhere, num_prefix_tokens=vit.num_prefix_tokens)


def extract_all(
    vit: PatchVit,
    patches: Tensor,
    patch_ids: Tensor,
    split_block: int,
    reduction: ReductionPass | None = None,
    nothing: ReductionPass | None = None,
    max_tokens: int = 0,
) -> TokenSet:
    """All glimpses of an episode through the first K blocks: what a `ToreState` would hold.

    Args:
        vit: The Vision Transformer.
        patches: float `[B, T, n, 3, p, p]`, normalised.
        patch_ids: int64 `[B, T, n]`; -1 = padding; a glimpse may be padding altogether.
        split_block: K.
        reduction: What takes tokens away in these blocks.
        nothing: The same once more, for rows without any glimpse.
        max_tokens: Most patch tokens that are remembered; the most similar are merged as they
            arrive, glimpse after glimpse. 0 = no bound.

    Returns:
        The mean of the glimpses' prefix tokens, then all patch tokens in the order of arrival.
    """
    batch, glimpses, _ = patch_ids.shape
    if glimpses == 0:
        return extract_nothing(vit, split_block, batch, nothing)
    extracted, _ = extract(
        vit, patches.flatten(0, 1), patch_ids.flatten(0, 1), split_block, reduction
    )
    ids = patch_ids.to(patches.device)
    prefix = _mean_prefix(vit, extracted, ids, split_block, nothing)
    if extracted.source is None and not max_tokens:
        return _in_order_of_arrival(vit, prefix, extracted, ids)
    return _one_after_another(vit, prefix, extracted, ids, max_tokens)


def _mean_prefix(
    vit: PatchVit,
    extracted: TokenSet,
    ids: Tensor,
    split_block: int,
    nothing: ReductionPass | None,
) -> Tensor:
    """The mean over the glimpses that show something, `[B, P, D]`."""
    prefix = extracted.values[:, : vit.num_prefix_tokens]
    valid = ids >= 0
    weights = valid.any(2).to(prefix.dtype)
    weights = weights / weights.sum(1, keepdim=True).clamp(min=1)
    mean = (prefix.unflatten(0, ids.shape[:2]) * weights[..., None, None]).sum(1)
    blind = ~valid.flatten(1).any(1)
    if bool(blind.any()):
        alone = extract_nothing(vit, split_block, 1, nothing).values.to(mean)
        mean = torch.where(blind[:, None, None], alone, mean)
    return mean


def _in_order_of_arrival(
    vit: PatchVit, prefix: Tensor, extracted: TokenSet, ids: Tensor
) -> TokenSet:
    """All patch tokens side by side, as many as there are patches."""
    tokens = extracted.values[:, vit.num_prefix_tokens :]
    tokens = tokens.reshape(len(ids), ids.shape[1] * ids.shape[2], -1)
    ids = ids.flatten(1)
    valid = ids >= 0
    mask = None
    if not bool(valid.all()):
        used = valid.any(0)  # what is padding in every row need not be aggregated
        tokens, ids, valid = tokens[:, used], ids[:, used], valid[:, used]
    if not bool(valid.all()):
        mask = torch.cat([valid.new_ones(prefix.shape[:2]), valid], dim=1)
    return TokenSet(
        torch.cat([prefix, tokens], dim=1),
        mask,
        source=token_sources(ids, vit.grid[0] * vit.grid[1]),
        num_prefix_tokens=vit.num_prefix_tokens,
    )


def _one_after_another(
    vit: PatchVit, prefix: Tensor, extracted: TokenSet, ids: Tensor, max_tokens: int
) -> TokenSet:
    """Glimpse after glimpse, the most similar tokens merged where there are too many."""
    batch, glimpses, _ = ids.shape
    first = vit.num_prefix_tokens
    source = ids.new_zeros(batch, vit.grid[0] * vit.grid[1])
    held = TokenSet(prefix, source=source, num_prefix_tokens=first)
    each = extracted.values[:, first:].unflatten(0, (batch, glimpses))
    valid = ids >= 0
    among: Tensor | None = None
    sizes: Tensor | None = None
    if extracted.source is not None:
        among = extracted.source.unflatten(0, (batch, glimpses))
        tokens = torch.ones_like(extracted.values[..., 0], dtype=torch.bool)
        tokens = tokens if extracted.mask is None else extracted.mask
        valid = tokens[:, first:].unflatten(0, (batch, glimpses)) & valid.any(2)[..., None]
    if extracted.sizes is not None:
        sizes = extracted.sizes[:, first:].unflatten(0, (batch, glimpses))
    for step in range(glimpses):
        held = _with_glimpse(
            held,
            each[:, step],
            valid[:, step],
            None if sizes is None else sizes[:, step],
            None if among is None else among[:, step],
            ids[:, step],
        )
        if max_tokens:
            held = merge_down_to(held, max_tokens)
    return held


def _with_glimpse(
    held: TokenSet,
    tokens: Tensor,
    valid: Tensor,
    sizes: Tensor | None,
    among: Tensor | None,
    ids: Tensor,
) -> TokenSet:
    """What is held, and one more glimpse behind it; padding last."""
    first = held.num_prefix_tokens
    before = held.values.shape[1] - first
    places = before + torch.arange(1, tokens.shape[1] + 1, device=ids.device).expand_as(valid)
    dropped = torch.zeros_like(ids, dtype=torch.bool)
    if among is not None:
        stands = places.gather(1, (among - 1).clamp(min=0)) if places.shape[1] else among * 0
        places, dropped = torch.where(among > 0, stands, 0), (among < 0) & (ids >= 0)
    else:
        places = places.masked_fill(ids < 0, 0)
    assert held.source is not None
    # A later token has the larger number; the lowest changes nothing.
    places = torch.where(places > 0, places, -1)
    source = held.source.scatter_reduce(1, ids.clamp(min=0), places, reduce="amax")
    gone = torch.zeros_like(source).scatter_reduce(
        1, ids.clamp(min=0), dropped.to(source), reduce="amax"
    )
    source = source.masked_fill((gone > 0) & (source == 0), -1)
    mask = torch.ones_like(held.values[..., 0], dtype=torch.bool)
    mask = torch.cat([mask if held.mask is None else held.mask, valid], 1)
    both = None
    if held.sizes is not None or sizes is not None:
        ones = torch.ones_like(held.values[..., 0]), torch.ones_like(tokens[..., 0])
        both = torch.cat(
            [
                ones[0] if held.sizes is None else held.sizes,
                ones[1] if sizes is None else sizes.to(ones[1]),
            ],
            1,
        )
    joined = TokenSet(
        torch.cat([held.values, tokens.to(held.values)], 1),
        None if bool(mask.all()) else mask,
        both,
        source,
        first,
    )
    return joined.without_padding()

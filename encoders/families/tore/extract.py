"""TORE's extractor: one glimpse at a time through the first K blocks."""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.families.tore.surgery import PatchVit
from encoders.layers.patches import token_sources
from encoders.layers.vit import TokenSet


def extract(
    vit: PatchVit, patches: Tensor, patch_ids: Tensor, split_block: int
) -> tuple[Tensor, Tensor]:
    """The extractor: one glimpse per row through the first K blocks.

    Args:
        vit: The Vision Transformer.
        patches: float `[B, n, 3, p, p]`, normalised.
        patch_ids: int64 `[B, n]` on any device; -1 = padding.
        split_block: K.

    Returns:
        Prefix tokens `[B, P, D]` and patch tokens `[B, n, D]` at depth K.
    """
    prefix = vit.embed_prefix(len(patches))
    ids = patch_ids.to(patches.device)
    embedded = vit.embed_patches(patches, ids)
    if split_block == 0:
        return prefix, embedded
    mask = None
    valid = patch_ids >= 0
    if not valid.all():
        mask = torch.cat([valid.new_ones(prefix.shape[:2], device=valid.device), valid], 1)
        mask = mask.to(patches.device)
    # A matrix product under autocast may have another dtype than the parameters.
    tokens = TokenSet(torch.cat([prefix.to(embedded), embedded], 1), mask)
    tokens, _ = vit.run_blocks(tokens, 0, split_block)
    first = vit.num_prefix_tokens
    return tokens.values[:, :first], tokens.values[:, first:]


def extract_nothing(vit: PatchVit, split_block: int, batch_size: int = 1) -> TokenSet:
    """The prefix tokens alone through the first K blocks, in every row: nothing seen yet."""
    tokens, _ = vit.run_blocks(TokenSet(vit.embed_prefix(1)), 0, split_block)
    prefix = tokens.values.expand(batch_size, -1, -1)
    nowhere = torch.zeros(
        batch_size, vit.grid[0] * vit.grid[1], dtype=torch.int64, device=prefix.device
    )
    return TokenSet(prefix, source=nowhere, num_prefix_tokens=vit.num_prefix_tokens)


def extract_all(vit: PatchVit, patches: Tensor, patch_ids: Tensor, split_block: int) -> TokenSet:
    """All glimpses of an episode through the first K blocks: what a `ToreState` would hold.

    Args:
        vit: The Vision Transformer.
        patches: float `[B, T, n, 3, p, p]`, normalised.
        patch_ids: int64 `[B, T, n]`; -1 = padding; a glimpse may be padding altogether.
        split_block: K.

    Returns:
        The mean of the glimpses' prefix tokens, then all patch tokens in the order of arrival.
    """
    batch, glimpses, count = patch_ids.shape
    if glimpses == 0:
        return extract_nothing(vit, split_block, batch)
    prefix, tokens = extract(vit, patches.flatten(0, 1), patch_ids.flatten(0, 1), split_block)
    valid = patch_ids.to(patches.device) >= 0
    weights = valid.any(2).to(prefix.dtype)
    weights = weights / weights.sum(1, keepdim=True).clamp(min=1)
    mean_prefix = (prefix.unflatten(0, (batch, glimpses)) * weights[..., None, None]).sum(1)
    blind = ~valid.flatten(1).any(1)
    if bool(blind.any()):
        nothing = extract_nothing(vit, split_block).values.to(mean_prefix)
        mean_prefix = torch.where(blind[:, None, None], nothing, mean_prefix)
    tokens = tokens.reshape(batch, glimpses * count, -1)
    ids, valid = patch_ids.flatten(1).to(patches.device), valid.flatten(1)
    mask = None
    if not bool(valid.all()):
        used = valid.any(0)  # what is padding in every row need not be aggregated
        tokens, ids, valid = tokens[:, used], ids[:, used], valid[:, used]
    if not bool(valid.all()):
        mask = torch.cat([valid.new_ones(mean_prefix.shape[:2]), valid], dim=1)
    return TokenSet(
        torch.cat([mean_prefix, tokens], dim=1),
        mask,
        source=token_sources(ids, vit.grid[0] * vit.grid[1]),
        num_prefix_tokens=vit.num_prefix_tokens,
    )

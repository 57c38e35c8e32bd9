"""TORE's extractor: one glimpse at a time through the first K blocks."""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.families.tore.surgery import PatchVit
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
    valid = patch_ids >= 0
    mask = None
    if not bool(valid.all()):
        mask = torch.cat([valid.new_ones(prefix.shape[:2], device=valid.device), valid], 1)
        mask = mask.to(patches.device)
    # A matrix product under autocast may have another dtype than the parameters.
    tokens = TokenSet(torch.cat([prefix.to(embedded), embedded], 1), mask)
    tokens, _ = vit.run_blocks(tokens, 0, split_block)
    first = vit.num_prefix_tokens
    return tokens.values[:, :first], tokens.values[:, first:]


def extract_nothing(vit: PatchVit, split_block: int) -> Tensor:
    """The prefix tokens alone through the first K blocks, `[1, P, D]`: nothing seen yet."""
    tokens, _ = vit.run_blocks(TokenSet(vit.embed_prefix(1)), 0, split_block)
    return tokens.values

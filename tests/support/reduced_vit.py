"""A Vision Transformer on whole images with a reduction in its blocks, taken apart."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from encoders import GlimpseEncoder
from encoders.layers.patches import patchify
from encoders.layers.vit import TokenSet
from encoders.reduction.base import ReductionPass
from encoders.reduction.config import Reduction
from encoders.reduction.passes import make_pass


class Reduced(NamedTuple):
    logits: Tensor
    latent: Tensor
    normalised: Tensor
    tokens: TokenSet
    counts: list[list[int]]
    reduction: ReductionPass


def embed(encoder: GlimpseEncoder, images: Tensor) -> TokenSet:
    vit = encoder.backbone
    patches = patchify(images, encoder.config.patch_size)
    ids = torch.arange(patches.shape[1]).expand(len(images), -1)
    values = torch.cat([vit.embed_prefix(len(images)), vit.embed_patches(patches, ids)], 1)
    return TokenSet(values, source=ids + 1, num_prefix_tokens=vit.num_prefix_tokens)


@torch.no_grad()
def run_reduced(
    encoder: GlimpseEncoder,
    images: Tensor,
    reduction: Reduction,
    reduction_pass: ReductionPass | None = None,
) -> Reduced:
    vit = encoder.backbone
    run = reduction_pass or make_pass(reduction, vit.depth, 0, vit.depth)
    tokens, counts = vit.run_blocks(embed(encoder, images), 0, vit.depth, run)
    normalised, latent = vit.pool(tokens.values, tokens.mask, tokens.sizes)
    logits = encoder.heads["logits"].run(normalised, latent)
    after = [count.mlp.tolist() for count in counts.values()]
    return Reduced(logits, latent, normalised, tokens, after, run)

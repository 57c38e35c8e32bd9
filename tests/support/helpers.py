"""What several test modules build."""

from __future__ import annotations

import torch
from torch import Tensor

from encoders import DecoderConfig, EncoderConfig, GlimpseEncoder, build_encoder
from encoders.layers.patches import patchify

ALL_OUTPUTS = ("latent", "logits", "entropy", "normalised_entropy", "cells", "pixels", "attention")


def tiny_config(**changes) -> EncoderConfig:
    values = {
        "name": "tiny",
        "vit": {"embed_dim": 24, "depth": 3, "num_heads": 3},
        "image_size": (32, 64),
        "patch_size": 8,
        "num_classes": 5,
        "decoder": DecoderConfig(width=16, depth=2, num_heads=4),
    }
    return EncoderConfig(**{**values, **changes})


def tiny_encoder(seed: int = 0, dtype: torch.dtype = torch.float32, **changes) -> GlimpseEncoder:
    """A small random encoder whose every parameter matters: biases and position rows are random."""
    encoder = build_encoder(tiny_config(**changes), seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return encoder.to(dtype)


def random_images(encoder: GlimpseEncoder, batch: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, 3, *encoder.config.image_size)
    return torch.randn(shape, generator=generator).to(next(encoder.parameters()).dtype)


def take_patches(encoder: GlimpseEncoder, images: Tensor, patch_ids: Tensor) -> Tensor:
    """Patches of each row's ids, `[B, ..., 3, p, p]`; padding gets the row's patch 0."""
    patches = patchify(images, encoder.config.patch_size)
    rows = torch.arange(len(images)).view(-1, *[1] * (patch_ids.ndim - 1))
    return patches[rows, patch_ids.clamp(min=0)]

"""From a configuration to an encoder with fresh weights, and changes of head and grid."""

from __future__ import annotations

import dataclasses
from typing import Any

import timm
import torch
from timm.layers import resample_abs_pos_embed
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from encoders.config import EncoderConfig
from encoders.decoder import GlimpseDecoder
from encoders.model import GlimpseEncoder
from encoders.vit import PatchVit


def build_encoder(config: EncoderConfig, seed: int = 0) -> GlimpseEncoder:
    """Builds an encoder with random weights, in evaluation mode, on the CPU.

    Args:
        config: What to build.
        seed: Of the initial weights; torch's global generator is left as it was.

    Raises:
        ValueError: A model that TORE cannot split, or arguments it does not know.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vit = PatchVit(_build_vit(config))
        decoder = None
        if config.decoder is not None:
            decoder = GlimpseDecoder(config.decoder, vit.width, config.grid, config.patch_size)
        return GlimpseEncoder(config, vit, decoder).eval()


def replace_head(
    encoder: GlimpseEncoder, class_names: tuple[str, ...], seed: int = 0
) -> GlimpseEncoder:
    """Returns the encoder with a new, untrained class head; everything else is shared.

    Args:
        encoder: The encoder whose head does not fit.
        class_names: Classes of the new head; the configuration does not list them until trained.
        seed: Of the head's initial weights.
    """
    config = dataclasses.replace(encoder.config, num_classes=len(class_names), class_names=None)
    vit = encoder.backbone.vit
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vit.reset_classifier(len(class_names))
        for name in ("head", "head_dist"):
            if isinstance(head := getattr(vit, name, None), nn.Linear):
                nn.init.trunc_normal_(head.weight, std=0.02)
                nn.init.zeros_(head.bias)
    vit.to(encoder.device)
    return GlimpseEncoder(config, encoder.backbone, encoder.decoder).train(encoder.training)


def resize_grid(encoder: GlimpseEncoder, image_size: tuple[int, int]) -> GlimpseEncoder:
    """Returns the encoder for scenes of another size, its position tables resampled."""
    height, width = image_size
    if (height, width) == encoder.config.image_size:
        return encoder
    config = dataclasses.replace(encoder.config, image_size=(height, width))
    resized = build_encoder(config)
    state = encoder.state_dict()
    for key, rows in (("backbone.vit.pos_embed", None), ("decoder.pos_embed", 1)):
        if state.get(key) is None:
            continue
        if rows is None:
            vit = encoder.backbone.vit
            rows = 0 if vit.no_embed_class else vit.num_prefix_tokens
        state[key] = resample_abs_pos_embed(
            state[key], list(config.grid), list(encoder.grid), num_prefix_tokens=rows
        )
    resized.load_state_dict(state)
    return resized.to(encoder.device).train(encoder.training)


def _build_vit(config: EncoderConfig) -> nn.Module:
    sizes: dict[str, Any] = {"img_size": config.image_size, "num_classes": config.num_classes}
    if config.timm_model is not None:
        return timm.create_model(config.timm_model, pretrained=False, **sizes, **config.vit)
    arguments = dict(config.vit)
    family = VisionTransformerDistilled if arguments.pop("distilled", False) else VisionTransformer
    try:
        return family(patch_size=config.patch_size, **sizes, **arguments)
    except TypeError as error:
        raise ValueError(f"cannot build a Vision Transformer from {arguments}: {error}") from error

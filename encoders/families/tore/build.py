"""From a configuration to an encoder with fresh weights, and changes of head and grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from encoders.config import EncoderConfig
from encoders.families.tore.model import GlimpseEncoder
from encoders.families.tore.surgery import PatchVit
from encoders.layers.decoder import GlimpseDecoder
from encoders.layers.positions import fit_positions


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
    encoder = GlimpseEncoder(config, vit, decoder)
    if config.norm_eps is not None:
        for module in encoder.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = config.norm_eps
    return encoder.eval()


def from_dict(values: Mapping[str, Any]) -> GlimpseEncoder:
    """Builds the encoder that a `config.json` describes, with random weights.

    Raises:
        ValueError: A description that is not understood.
    """
    return build_encoder(EncoderConfig.from_dict(values))


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
    """Returns the encoder for scenes of another size, its position tables fitted to the grid.

    Sine-cosine tables are computed anew, learned ones resampled. The weights are copies.
    """
    height, width = image_size
    if (height, width) == encoder.config.image_size:
        return encoder
    config = dataclasses.replace(encoder.config, image_size=(height, width))
    vit = encoder.backbone
    resized = build_encoder(config).to(vit.vit.patch_embed.proj.weight)  # its dtype and device
    state = encoder.state_dict()
    prefixes = {
        "backbone.vit.pos_embed": 0 if vit.vit.no_embed_class else vit.num_prefix_tokens,
        "decoder.pos_embed": 1,
    }
    for key, prefix in prefixes.items():
        if key in state:
            state[key] = fit_positions(state[key], config.grid, prefix, source_grid=encoder.grid)
    resized.load_state_dict(state)
    return resized.train(encoder.training)


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

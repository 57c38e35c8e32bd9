"""The parts of a TORE encoder, and which of them an output reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from encoders.config import EncoderConfig
from encoders.families.tore.surgery import PatchVit
from encoders.layers.angular import angular_layer
from encoders.layers.decoder import GlimpseDecoder
from encoders.parts import EncoderPart
from encoders.protocol import DECODER_OUTPUTS

_CLASS_HEAD = ("backbone.vit.head.", "backbone.vit.head_dist.")
_PIXEL_HEAD = ("decoder.norm.", "decoder.pred.")


def tore_parts(
    config: EncoderConfig,
    backbone: PatchVit,
    decoder: GlimpseDecoder | None,
    state: Mapping[str, Tensor],
) -> dict[str, EncoderPart]:
    """Backbone, class head, decoder and pixel head, those that an encoder has.

    Where TORE divides the backbone is an option of each run (`split_block`), so that extractor and
    aggregator are one part here.

    Args:
        config: The encoder's.
        backbone: Its Vision Transformer.
        decoder: Its decoder, or None.
        state: All its tensors, by the names of its `state_dict`.
    """
    tensors: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        tensors.setdefault(_part_of(name), {})[name] = tensor
    settings = {
        "backbone": _backbone_settings(config, backbone),
        "class_head": {},
        "decoder": {} if decoder is None else _block_settings(decoder),
        "pixel_head": {"patch_normalised": config.patch_normalised_pixels},
    }
    outputs: dict[str, frozenset[str] | None] = {
        "backbone": None,
        "class_head": frozenset(("logits",)),
        "decoder": frozenset(DECODER_OUTPUTS),
        "pixel_head": frozenset(("pixels",)),
    }
    return {
        name: EncoderPart(tensors[name], settings[name], outputs[name])
        for name in settings
        if name in tensors
    }


def _part_of(name: str) -> str:
    """The part to which a tensor belongs."""
    if name.startswith(_CLASS_HEAD):
        return "class_head"
    if name.startswith(_PIXEL_HEAD):
        return "pixel_head"
    return "decoder" if name.startswith("decoder.") else "backbone"


def _backbone_settings(config: EncoderConfig, backbone: PatchVit) -> dict[str, Any]:
    angular = angular_layer(backbone.blocks[0])
    attention = {} if angular is None else {"attention": f"angular, {angular.order}"}
    return {
        **_block_settings(backbone),
        **attention,
        "first_position_row": backbone.first_position_row,
        "grid": list(backbone.grid),
        "mean": list(config.mean),
        "pools_patches": backbone.pools_patches,
        "pools_prefix": bool(backbone.vit.pool_include_prefix),
        "std": list(config.std),
    }


def _block_settings(module: Any) -> dict[str, Any]:
    """What no tensor of a stack of blocks says; read off the layers, however they were named."""
    return {
        "activations": sorted({_activation(block.mlp.act) for block in module.blocks}),
        "norm_epsilons": sorted({each.eps for each in module.modules() if hasattr(each, "eps")}),
        "num_heads": [block.attn.num_heads for block in module.blocks],
    }


def _activation(layer: nn.Module) -> str:
    kind = type(layer).__name__
    approximate = getattr(layer, "approximate", "none")
    return kind if approximate == "none" else f"{kind}({approximate})"

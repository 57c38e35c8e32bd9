"""From published tensors to an encoder: its shape is read off them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from encoders.checkpoints.published import PublishedWeights
from encoders.checkpoints.tensors import check_tensors, listed
from encoders.checkpoints.weight_files import CheckpointError
from encoders.config import DecoderConfig, EncoderConfig
from encoders.families.tore.model import GlimpseEncoder, build_encoder
from encoders.layers.positions import fit_positions, recognise_sincos

# Dimensions of the tensors that sizes are read from.
_RANKS = {
    "patch_embed.proj.weight": 4,
    "pos_embed": 3,
    "reg_token": 3,
    "blocks.0.mlp.fc1.weight": 2,
    "head.weight": 2,
    "decoder_embed.weight": 2,
}


def assemble(weights: PublishedWeights, name: str, patch_size: int | None = None) -> GlimpseEncoder:
    """Builds the encoder that tensors describe, and loads them.

    Args:
        weights: Tensors under published names, and what is known beside them.
        name: What the encoder is called.
        patch_size: Checked against the tensors when given.

    Returns:
        An encoder in evaluation mode on the CPU, with the tensors' dtype but at least float32.

    Raises:
        CheckpointError: The tensors do not make up such a model, or something that no tensor tells
            is not known.
    """
    tensors = dict(weights.tensors)
    try:
        config = _read_config(weights, name, patch_size)
        encoder = build_encoder(config)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    encoder.to(torch.promote_types(tensors["patch_embed.proj.weight"].dtype, torch.float32))
    ours = {_published_name(name): name for name in encoder.state_dict()}
    vit = encoder.backbone.vit
    prefixes = {"pos_embed": 0 if vit.no_embed_class else vit.num_prefix_tokens}
    for table, prefix in {**prefixes, "decoder_pos_embed": 1}.items():
        if table in tensors and table in ours and tensors[table].ndim == 3:
            try:
                tensors[table] = fit_positions(tensors[table], config.grid, prefix)
            except ValueError as error:
                raise CheckpointError(f"{table}: {error}") from error
    expected = {name: encoder.state_dict()[key] for name, key in ours.items()}
    check_tensors(expected, tensors, weights.kind)
    encoder.load_state_dict({ours[name]: tensor for name, tensor in tensors.items()})
    return encoder


def _published_name(name: str) -> str:
    """The name under which MAE and timm publish one of our tensors."""
    if name == "decoder.mask_token":
        return "mask_token"
    return re.sub(r"^decoder\.", "decoder_", name.removeprefix("backbone.vit."))


def _read_config(weights: PublishedWeights, name: str, patch_size: int | None) -> EncoderConfig:
    tensors = weights.tensors
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    required = ("pos_embed", "blocks.0.attn.qkv.weight", "blocks.0.mlp.fc1.weight")
    if missing := [key for key in required if key not in tensors]:
        raise CheckpointError(f"no plain Vision Transformer: missing {listed(missing)}")
    for key, rank in _RANKS.items():
        if key in shapes and len(shapes[key]) != rank:
            raise CheckpointError(f"{key} has shape {shapes[key]}, expected {rank} dimensions")
    patches = shapes["patch_embed.proj.weight"]
    if patches[1] != 3 or patches[2] != patches[3]:
        raise CheckpointError(
            f"patch_embed.proj.weight has shape {patches}, expected (width, 3, side, side)"
        )
    width, side = patches[0], patches[2]
    if patch_size is not None and patch_size != side:
        raise CheckpointError(f"the patch embedding has patches of {side} pixels, not {patch_size}")
    mlp_width = shapes["blocks.0.mlp.fc1.weight"][0]
    if weights.timm_model is None:
        _check_heads(weights.num_heads, width, "num_heads")
    vit: dict[str, Any] = {
        "embed_dim": width,
        "depth": _depth(tensors, "blocks"),
        "num_heads": weights.num_heads,
        # timm rounds the product down, so aim at the middle where the ratio is no round number.
        "mlp_ratio": (mlp_width if mlp_width % width == 0 else mlp_width + 0.5) / width,
        "qkv_bias": "blocks.0.attn.qkv.bias" in tensors,
        "qk_norm": "blocks.0.attn.q_norm.weight" in tensors,
        "init_values": 1e-5 if "blocks.0.ls1.gamma" in tensors else None,
        "class_token": "cls_token" in tensors,
        "reg_tokens": shapes["reg_token"][1] if "reg_token" in tensors else 0,
        "pre_norm": "norm_pre.weight" in tensors,
        "distilled": "dist_token" in tensors,
        "fc_norm": "fc_norm.weight" in tensors,
    }
    pools = vit["fc_norm"] or not vit["class_token"]
    vit["global_pool"] = "avg" if pools else "token"
    prefix = int(vit["class_token"]) + int(vit["distilled"]) + vit["reg_tokens"]
    layer_scale = vit["init_values"] is not None
    vit["no_embed_class"], image_size = _read_positions(
        tensors["pos_embed"], prefix, side, weights.image_size, layer_scale
    )
    return EncoderConfig(
        name=name,
        vit={} if weights.timm_model else vit,
        timm_model=weights.timm_model,
        image_size=image_size,
        patch_size=side,
        num_classes=shapes["head.weight"][0] if "head.weight" in tensors else 0,
        decoder=_read_decoder(weights),
        weights="pretrained",
        norm_eps=weights.norm_eps,
        patch_normalised_pixels=weights.patch_normalised_pixels,
        **{key: value for key in ("mean", "std") if (value := getattr(weights, key))},
    )


def _read_positions(
    table: Tensor, prefix: int, side: int, image_size: tuple[int, int] | None, layer_scale: bool
) -> tuple[bool, tuple[int, int]]:
    """Whether the table has rows for the patches alone, and the image size (its own by default)."""
    rows = table.shape[1]
    for count in sorted({prefix, 0}, reverse=True):
        if layout := recognise_sincos(table, count):
            height, width = image_size or (layout.grid[0] * side, layout.grid[1] * side)
            return count < prefix, (height, width)
    patches_only = math.isqrt(rows) ** 2 == rows
    square = math.isqrt(max(rows - prefix, 0)) ** 2 == rows - prefix
    if image_size is None:
        if not (patches_only or square):
            raise CheckpointError(
                f"pos_embed has {rows} rows, which are no square grid; give the image size"
            )
        edge = side * math.isqrt(rows if patches_only else rows - prefix)
        return patches_only and prefix > 0, (edge, edge)
    height, width = image_size
    asked = (height // side) * (width // side)
    if rows == asked + prefix:
        return False, (height, width)
    if rows == asked:
        # Could also be a square table with prefix rows; patches alone go with layer scale.
        return layer_scale or not square, (height, width)
    return patches_only and not square, (height, width)


def _read_decoder(weights: PublishedWeights) -> DecoderConfig | None:
    embedding = weights.tensors.get("decoder_embed.weight")
    if embedding is None:
        return None
    width = len(embedding)
    heads = _check_heads(weights.decoder_num_heads, width, "decoder_num_heads")
    return DecoderConfig(width, _depth(weights.tensors, "decoder_blocks"), heads)


def _check_heads(heads: int | None, width: int, name: str) -> int:
    if heads is None:
        flag = name.replace("_", "-")
        raise CheckpointError(
            f"give {name} (--{flag}): no tensor tells how many heads a width of {width} has"
        )
    if heads < 1 or width % heads:
        raise CheckpointError(f"{name}: width {width} cannot be divided into {heads} heads")
    return heads


def _depth(tensors: Mapping[str, Tensor], stem: str) -> int:
    pattern = re.compile(rf"^{stem}\.(\d+)\.")
    return 1 + max(
        (int(match[1]) for name in tensors if (match := pattern.match(name))), default=-1
    )

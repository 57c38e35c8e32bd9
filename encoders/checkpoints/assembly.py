"""From published tensors to an encoder: its shape is read off them."""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor

from encoders.checkpoints.published import PublishedWeights
from encoders.checkpoints.shapes import WeightsShape
from encoders.checkpoints.tensors import check_tensors
from encoders.checkpoints.weight_files import CheckpointError
from encoders.config import IMAGENET_MEAN, IMAGENET_STD, DecoderConfig, EncoderConfig
from encoders.families.tore.model import GlimpseEncoder, build_encoder
from encoders.layers.positions import fit_positions, recognise_sincos


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
    prefixes = {"pos_embed": encoder.backbone.first_position_row, "decoder_pos_embed": 1}
    for table, prefix in prefixes.items():
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
    """Describes the encoder that the tensors, and what is known beside them, make up.

    Raises:
        CheckpointError: They make up none, or something is not known.
        ValueError: The image size does not go with the patch size.
    """
    shape = WeightsShape.of(weights.tensors)
    if patch_size not in (None, shape.patch_size):
        raise CheckpointError(
            f"the patch embedding has patches of {shape.patch_size} pixels, not {patch_size}"
        )
    named = weights.timm_model is not None  # then the name stands for all arguments
    num_heads = 0 if named else _check_heads(weights.num_heads, shape.width, "num_heads")
    no_embed_class, image_size = _read_positions(
        weights.tensors["pos_embed"], shape, weights.image_size
    )
    decoder = None
    if shape.decoder is not None:
        width, depth = shape.decoder
        heads = _check_heads(weights.decoder_num_heads, width, "decoder_num_heads")
        decoder = DecoderConfig(width, depth, heads)
    return EncoderConfig(
        name=name,
        vit={} if named else shape.vit_arguments(num_heads, no_embed_class),
        timm_model=weights.timm_model,
        image_size=image_size,
        patch_size=shape.patch_size,
        num_classes=shape.num_classes,
        decoder=decoder,
        weights="pretrained",
        norm_eps=weights.norm_eps,
        patch_normalised_pixels=weights.patch_normalised_pixels,
        mean=weights.mean or IMAGENET_MEAN,
        std=weights.std or IMAGENET_STD,
    )


def _read_positions(
    table: Tensor, shape: WeightsShape, image_size: tuple[int, int] | None
) -> tuple[bool, tuple[int, int]]:
    """Finds out what the rows of a position table stand for.

    Args:
        table: `[1, rows, D]`.
        shape: Of the model it belongs to.
        image_size: Height and width asked for; None = those the table was made for.

    Returns:
        Whether the patches alone have rows, and not the prefix tokens; and the image size.

    Raises:
        CheckpointError: The rows do not tell the image size.
    """
    rows, prefix, side = table.shape[1], shape.num_prefix_tokens, shape.patch_size
    for count in sorted({prefix, 0}, reverse=True):
        if layout := recognise_sincos(table, count):
            height, width = image_size or (layout.grid[0] * side, layout.grid[1] * side)
            return count < prefix, (height, width)
    # Learned tables were made for square images, except where the image size asked for fits.
    square_without, square_with = _is_square(rows), _is_square(rows - prefix)
    if image_size is None:
        if not (square_without or square_with):
            raise CheckpointError(
                f"pos_embed has {rows} rows, which do not form a square grid; give the image size"
            )
        edge = side * math.isqrt(rows if square_without else rows - prefix)
        return square_without and prefix > 0, (edge, edge)
    height, width = image_size
    patches = (height // side) * (width // side)
    if rows == patches + prefix:
        return False, (height, width)
    if rows == patches:
        # Could also be a square table with prefix rows; patches alone go with layer scale.
        return shape.layer_scale or not square_with, (height, width)
    return square_without and not square_with, (height, width)


def _is_square(count: int) -> bool:
    return count >= 0 and math.isqrt(count) ** 2 == count


def _check_heads(heads: int | None, width: int, name: str) -> int:
    if heads is None:
        flag = name.replace("_", "-")
        raise CheckpointError(
            f"give {name} (--{flag}): no tensor tells how many heads a width of {width} has"
        )
    if heads < 1 or width % heads:
        raise CheckpointError(f"{name}: width {width} cannot be divided into {heads} heads")
    return heads

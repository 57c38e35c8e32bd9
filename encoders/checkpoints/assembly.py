"""From published tensors to an encoder: its shape is read off them."""

from __future__ import annotations

import dataclasses
import math
import re

import torch

from encoders.checkpoints.assumptions import complete
from encoders.checkpoints.published import PublishedWeights
from encoders.checkpoints.shapes import WeightsShape
from encoders.checkpoints.tensors import check_tensors
from encoders.checkpoints.weight_files import CheckpointError
from encoders.config import DecoderConfig, EncoderConfig
from encoders.families.tore.model import GlimpseEncoder, build_encoder
from encoders.layers.positions import fit_positions, recognise_sincos

_USUAL_EPS = 1e-6  # of timm's VisionTransformer


def assemble(
    weights: PublishedWeights,
    name: str,
    *,
    image_size: tuple[int, int] | None = None,
    patch_size: int | None = None,
) -> GlimpseEncoder:
    """Builds the encoder that tensors describe, and loads them.

    Args:
        weights: Tensors under published names, and what is known beside them.
        name: What the encoder is called.
        image_size: Height and width of the scenes to encode; position tables are fitted. None =
            those it was trained on.
        patch_size: Checked against the tensors when given.

    Returns:
        An encoder in evaluation mode on the CPU, with the tensors' dtype but at least float32.

    Raises:
        CheckpointError: The tensors do not make up such a model, or something that no tensor tells
            is not known.
    """
    tensors = dict(weights.tensors)
    shape = WeightsShape.of(tensors)
    if patch_size not in (None, shape.patch_size):
        raise CheckpointError(
            f"the patch embedding has patches of {shape.patch_size} pixels, not {patch_size}"
        )
    try:
        weights = complete(weights)
        positions = _read_positions(weights, shape)
        config = _describe(weights, shape, positions, name, image_size)
        encoder = build_encoder(config)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    encoder.to(torch.promote_types(tensors["patch_embed.proj.weight"].dtype, torch.float32))
    ours = {_published_name(name): name for name in encoder.state_dict()}
    prefixes = {"pos_embed": encoder.backbone.first_position_row, "decoder_pos_embed": 1}
    for table, prefix in prefixes.items():
        if table in tensors and table in ours and tensors[table].ndim == 3:
            try:
                tensors[table] = fit_positions(
                    tensors[table], config.grid, prefix, source_grid=positions.grid
                )
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


def _describe(
    weights: PublishedWeights,
    shape: WeightsShape,
    positions: _Positions,
    name: str,
    image_size: tuple[int, int] | None,
) -> EncoderConfig:
    """Describes the encoder that the tensors, and what is known beside them, make up.

    Raises:
        CheckpointError: Something is not known.
        ValueError: The image size does not go with the patch size.
    """
    assert weights.mean is not None  # `complete` leaves nothing open but heads
    assert weights.std is not None
    assumed = weights.assumed | ({"trained_image_size"} if positions.assumed else set())
    if weights.timm_model is not None:  # then the name stands for all arguments
        vit = dict(weights.timm_arguments)
        assumed -= {"num_heads"}
    else:
        heads = _check_heads(weights.num_heads, shape.width, "num_heads")
        vit = shape.vit_arguments(heads, positions.no_embed_class)
        if weights.activation != "gelu":
            vit["act_layer"] = weights.activation
    decoder = None
    if shape.decoder is not None:
        width, depth = shape.decoder
        heads = _check_heads(weights.decoder_num_heads, width, "decoder_num_heads")
        decoder = DecoderConfig(width, depth, heads)
    trained_size = tuple(count * shape.patch_size for count in positions.grid)
    return EncoderConfig(
        name=name,
        vit=vit,
        timm_model=weights.timm_model,
        image_size=image_size or (trained_size[0], trained_size[1]),
        patch_size=shape.patch_size,
        num_classes=shape.num_classes,
        decoder=decoder,
        weights="pretrained",
        norm_eps=weights.norm_eps if weights.timm_model or weights.norm_eps != _USUAL_EPS else None,
        patch_normalised_pixels=bool(weights.patch_normalised_pixels),
        mean=weights.mean,
        std=weights.std,
        interpolation=weights.interpolation,
        assumed=tuple(sorted(assumed)),
    )


@dataclasses.dataclass(frozen=True)
class _Positions:
    """What the rows of a position table stand for.

    Attributes:
        no_embed_class: Whether the patches alone have rows, and not the prefix tokens.
        grid: Rows and columns of patches that it was made for.
        assumed: Whether the grid is but the likeliest.
    """

    no_embed_class: bool
    grid: tuple[int, int]
    assumed: bool = False


def _read_positions(weights: PublishedWeights, shape: WeightsShape) -> _Positions:
    """Finds out which grid a position table was made for.

    A sine-cosine table says so. Of a learned one the number of rows tells nothing but the number of
    patches, so that the grid must be known; a square is assumed where the number allows it.

    Raises:
        CheckpointError: It is not known.
    """
    table, prefix, side = weights.tensors["pos_embed"], shape.num_prefix_tokens, shape.patch_size
    firsts = [prefix, 0] if prefix else [0]
    if weights.no_embed_class is not None:
        firsts = [0 if weights.no_embed_class else prefix]
    for first in firsts:
        if layout := recognise_sincos(table, first):
            return _Positions(first < prefix, layout.grid)
    counts = {first: table.shape[1] - first for first in firsts}
    for size in (weights.image_size, weights.usual_image_size):
        if size is None:
            continue
        grid = (size[0] // side, size[1] // side)
        for first, count in counts.items():
            if count == math.prod(grid):
                return _Positions(first < prefix, grid)
        if size == weights.image_size:
            raise CheckpointError(
                f"pos_embed has {table.shape[1]} rows, which are not those of the "
                f"{grid[0]}x{grid[1]} patches of {size[0]}x{size[1]} pixels; give the image size "
                "it was trained at (--trained-size)"
            )
    squares = {first: math.isqrt(max(count, 0)) for first, count in counts.items()}
    squares = {first: edge for first, edge in squares.items() if 0 < edge**2 == counts[first]}
    if len(squares) != 1:
        which = "are no square grid" if not squares else "may be one of several grids"
        raise CheckpointError(
            f"pos_embed has {table.shape[1]} rows, which {which}; give the image size it was "
            "trained at (--trained-size)"
        )
    ((first, edge),) = squares.items()
    return _Positions(first < prefix, (edge, edge), assumed=True)


def _check_heads(heads: int | None, width: int, name: str) -> int:
    if heads is None:
        flag = name.replace("_", "-")
        raise CheckpointError(
            f"give {name} (--{flag}): no tensor tells how many heads a width of {width} has"
        )
    if heads < 1 or width % heads:
        raise CheckpointError(f"{name}: width {width} cannot be divided into {heads} heads")
    return heads

"""Where the class token looks in the last block, head by head, and which patches carry its gaze.

Source: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers" (DINO), ICCV
2021, section 4.2.2: maps of the last block's heads, and masks of the patches with 60 % of the mass.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from encoders.families.tore.extract import extract, extract_all
from encoders.layers.patches import patchify
from encoders.layers.vit import TokenSet, run_block_with_attention
from encoders.support.precision import autocast, resolve_precision

MASS = 0.6
_IMAGES_AT_ONCE = 32


def attention_maps(
    encoder: Any,
    images: Tensor,
    *,
    split_block: int = 0,
    parts: Tensor | None = None,
    precision: str = "float32",
) -> Tensor:
    """Attention from the class token to every patch in the last block, of whole images.

    Args:
        encoder: Of the family "tore", with a class token. Tokens are not reduced, whatever its
            configuration says.
        images: uint8 `[B, H, W, 3]`, of the encoder's image size.
        split_block: TORE's K, which makes no difference unless the image is divided.
        parts: int64 `[grid_h, grid_w]`, the part of the image that every patch belongs to, as for
            `GlimpseEncoder.forward_divided`; None = the image is one part.
        precision: Of matrix products: "float32", "bfloat16", or "auto" for bfloat16 where native.

    Returns:
        float32 `[B, heads, grid_h, grid_w]` on the CPU: softmax shares, which sum to less than one
        because prefix tokens have a share too; NaN where a patch belongs to no part.

    Raises:
        ValueError: An encoder without such attention, images of another size, parts or a K that do
            not fit.
    """
    patch_ids = _part_ids(encoder, parts)
    dtype = resolve_precision(precision, encoder.device)
    maps = []
    for chosen in images.split(_IMAGES_AT_ONCE):
        pixels = encoder.normalise(chosen.permute(0, 3, 1, 2).contiguous())
        if tuple(pixels.shape[2:]) != encoder.config.image_size:
            raise ValueError(
                f"images of {tuple(pixels.shape[2:])} pixels, and encoder "
                f"{encoder.config.name!r} is for {encoder.config.image_size}; scale them, or take "
                "encoder.resized"
            )
        patches = patchify(pixels, encoder.config.patch_size)
        seen = patches[:, patch_ids.clamp(min=0).to(patches.device)]
        with autocast(encoder.device, dtype):
            ids = patch_ids.expand(len(seen), -1, -1)
            maps.append(class_attention(encoder, seen, ids, split_block).float().cpu())
    return torch.cat(maps)


@torch.no_grad()
def class_attention(
    encoder: Any, patches: Tensor, patch_ids: Tensor, split_block: int = 0
) -> Tensor:
    """Attention from the class token to every patch seen, in the last block.

    At K = depth the glimpses never meet: each one's class token attends to its own patches, and
    the map is the mean of these, as the class token is.

    Args:
        encoder: Of the family "tore", with a class token.
        patches: float `[B, T, n, 3, p, p]`, normalised, on the encoder's device.
        patch_ids: int64 `[B, T, n]`; -1 = padding.
        split_block: TORE's K.

    Returns:
        `[B, heads, grid_h, grid_w]`, in the precision of the softmax; NaN where nothing was seen;
        the sum of all its tokens where a patch was seen several times.

    Raises:
        ValueError: An encoder without class token, or of another family; a K outside [0, depth].
    """
    _require_class_token(encoder)
    vit = encoder.backbone
    split = encoder.resolve_options({"split_block": split_block})["split_block"]
    last, first = vit.depth - 1, vit.num_prefix_tokens
    flat = patch_ids.flatten(1)
    if split < vit.depth:
        tokens = extract_all(vit, patches, patch_ids, split)
        tokens, _ = vit.run_blocks(tokens, split, last)
        _, attention = run_block_with_attention(vit.blocks[last], tokens)
        flat = flat[:, (flat >= 0).any(0)]  # what is padding in every row is no token
        shares = attention[:, :, 0, first:]
    else:
        shares = _apart(vit, patches, patch_ids)
    batch, heads, _ = shares.shape
    target = flat.clamp(min=0).to(shares.device)[:, None].expand(-1, heads, -1)
    seen = (flat >= 0).to(shares.device)[:, None]
    grid = shares.new_zeros(batch, heads, vit.grid[0] * vit.grid[1])
    grid.scatter_add_(2, target, shares * seen)
    counts = torch.zeros_like(grid).scatter_add_(2, target, seen.to(grid).expand_as(shares))
    return grid.masked_fill(counts == 0, torch.nan).unflatten(2, vit.grid)


def mass_mask(attention: Tensor, mass: float = MASS) -> Tensor:
    """The fewest patches that carry a share of each map's mass.

    Args:
        attention: float `[..., grid_h, grid_w]`, at least 0; NaN = not seen.
        mass: The share, in (0, 1].

    Returns:
        bool, of the same shape: patches sorted by attention, the lowest of them left out as long as
        they hold at most `1 - mass` together. False where nothing was seen.

    Raises:
        ValueError: `mass` is outside (0, 1].
    """
    if not 0 < mass <= 1:
        raise ValueError(f"mass={mass}; expected more than 0, and at most 1")
    values = attention.nan_to_num(0.0).flatten(-2)
    order = values.argsort(dim=-1, stable=True)
    sorted_values = values.gather(-1, order)
    total = sorted_values.sum(-1, keepdim=True)
    shares = sorted_values / total.clamp(min=torch.finfo(values.dtype).tiny)
    carried = torch.zeros_like(values, dtype=torch.bool)
    carried = carried.scatter(-1, order, shares.cumsum(-1) > 1 - mass)
    return (carried & (values > 0)).unflatten(-1, attention.shape[-2:])


def _apart(vit: Any, patches: Tensor, patch_ids: Tensor) -> Tensor:
    """The last block's attention of every glimpse by itself, `[B, heads, T * n]`."""
    batch, glimpses, _ = patch_ids.shape
    ids = patch_ids.flatten(0, 1)
    tokens: TokenSet
    tokens, _ = extract(vit, patches.flatten(0, 1), ids, vit.depth - 1)
    _, attention = run_block_with_attention(vit.blocks[-1], tokens)
    shares = attention[:, :, 0, vit.num_prefix_tokens :].unflatten(0, (batch, glimpses))
    shows = (patch_ids >= 0).any(2).to(shares)
    weights = shows / shows.sum(1, keepdim=True).clamp(min=1)
    return (shares * weights[..., None, None]).transpose(1, 2).flatten(2)


def _part_ids(encoder: Any, parts: Tensor | None) -> Tensor:
    """Patch ids `[T, n]` of the parts, -1 = padding."""
    _require_class_token(encoder)
    rows, columns = encoder.grid
    if parts is None:
        return torch.arange(rows * columns)[None]
    if tuple(parts.shape) != (rows, columns):
        raise ValueError(f"parts of shape {tuple(parts.shape)}; expected {(rows, columns)}")
    groups = list(_groups(parts.flatten().cpu()))
    longest = max((len(group) for group in groups), default=0)
    ids = torch.full((len(groups), longest), -1)
    for row, group in enumerate(groups):
        ids[row, : len(group)] = group
    return ids


def _groups(labels: Tensor) -> Iterator[Tensor]:
    for label in labels.unique():
        if label >= 0:
            yield (labels == label).nonzero()[:, 0]


def _require_class_token(encoder: Any) -> None:
    name = encoder.config.name
    backbone = getattr(encoder, "backbone", None)
    if encoder.family != "tore" or backbone is None:
        raise ValueError(
            f"encoder {name!r} of family {encoder.family!r} has no class token whose attention "
            "could be shown; take one of the family 'tore'"
        )
    if getattr(backbone.vit, "cls_token", None) is None:
        raise ValueError(
            f"encoder {name!r} has no class token, so there are no maps of its attention; take one "
            "that has"
        )

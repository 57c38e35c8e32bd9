"""Regions of interest of latent tokens: moved, sampled, encoded.

A region is (x1, y1, x2, y2), in units of the image's width and height; nothing keeps it inside.

Source: Gao et al., "SparseFormer: Sparse Visual Recognition via Limited Latent Tokens", ICLR 2024,
section 3.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Padding = Literal["zeros", "border"]
"""What lies beyond the image's edges: nothing, or what is at the edge."""

_SPREAD = 3.0  # standard deviations of the offsets that a region's side is long
_EPS = 1e-5


def adjust_regions(regions: Tensor, change: Tensor) -> Tensor:
    """Moves regions by a share of their size, and scales them; a change of zeros leaves them.

    Args:
        regions: `[B, N, 4]`.
        change: `[B, N, 4]`: dx, dy, and logarithms of the scales of width and height.
    """
    size = regions[..., 2:] - regions[..., :2]
    centre = (regions[..., :2] + regions[..., 2:]) / 2 + change[..., :2] * size
    half = size * change[..., 2:].exp() / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def sampling_points(regions: Tensor, offsets: Tensor) -> Tensor:
    """Where to look: offsets, standardised over the points of a region, in units of its size.

    Args:
        regions: `[B, N, 4]`.
        offsets: `[B, N, P, 2]`, x and y.

    Returns:
        `[B, N, P, 2]`, x and y.
    """
    centred = offsets - offsets.mean(2, keepdim=True)
    scale = _SPREAD * (offsets.std(2, keepdim=True) + _EPS)
    size = regions[..., 2:] - regions[..., :2]
    centre = (regions[..., :2] + regions[..., 2:]) / 2
    return centre[:, :, None] + centred / scale * size[:, :, None]


def sample(features: Tensor, points: Tensor, padding: Padding) -> Tensor:
    """Bilinear samples of a map.

    Args:
        features: `[B, C, h, w]`.
        points: `[B, N, P, 2]`, x and y in units of the map's width and height.
        padding: What lies beyond its edges.

    Returns:
        `[B, N, P, C]`.
    """
    taken = F.grid_sample(
        features, points.to(features) * 2 - 1, padding_mode=padding, align_corners=False
    )
    return taken.permute(0, 2, 3, 1)


def encode_regions(regions: Tensor, width: int) -> Tensor:
    """Sines and cosines of the coordinates, `[B, N, width]`.

    Each coordinate has `width / 4` frequencies from pi to 128 pi in equal ratios; those with even
    numbers give sines, the others cosines.

    Args:
        regions: `[B, N, 4]`.
        width: Channels, a multiple of 8.

    Raises:
        ValueError: Another number.
    """
    if width % 8:
        raise ValueError(f"the encoding of regions needs a width divisible by 8, not {width}")
    exponents = torch.linspace(0, math.log(128), width // 4, dtype=torch.float64)
    angles = regions[..., None] * (math.pi * exponents.exp()).to(regions)
    waves = torch.cat([angles[..., 0::2].sin(), angles[..., 1::2].cos()], dim=-1)
    return waves.flatten(2)

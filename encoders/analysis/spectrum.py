"""Frequencies and variance of feature maps: what attention smooths away.

Source: Park & Kim, "How Do Vision Transformers Work?", ICLR 2022, figures 2a and 9: attention is a
low-pass filter, and reduces the variance of feature maps; convolutions do the opposite.
"""

from __future__ import annotations

import torch
from torch import Tensor

_FLOOR = 1e-6  # added to amplitudes before their logarithm


def relative_log_amplitude(maps: Tensor) -> Tensor:
    """Log amplitude along the diagonal of the spectrum, relative to that of frequency zero.

    The natural logarithm of the amplitudes of the two-dimensional Fourier transform is averaged
    over images and channels. The diagonal runs from frequency zero towards the highest of both
    axes; on maps that are not square, the longer axis is read where its frequency is nearest to
    that of the shorter one.

    Args:
        maps: float `[B, D, h, w]`, both sides at least 2.

    Returns:
        `[min(h, w) // 2]`, of the dtype of `maps`: at frequencies `diagonal_frequencies`. The first
        is 0; negative = weaker than the mean of the map.

    Raises:
        ValueError: Another shape.
    """
    _check(maps)
    height, width = maps.shape[2:]
    spectrum = torch.fft.fftshift(torch.fft.fft2(maps), dim=(2, 3))
    log_amplitude = (spectrum.abs() + _FLOOR).log().mean((0, 1))
    steps = torch.arange(min(height, width) // 2, dtype=torch.float64)
    rows, columns = (
        (steps * side / min(height, width)).round().long() + side // 2 for side in (height, width)
    )
    diagonal = log_amplitude[rows.to(maps.device), columns.to(maps.device)]
    return diagonal - diagonal[0]


def diagonal_frequencies(height: int, width: int) -> Tensor:
    """Frequencies of `relative_log_amplitude` in units of pi per position, float64, from 0 below 1.

    Args:
        height: Rows of the map.
        width: Columns of the map.
    """
    side = min(height, width)
    return 2 * torch.arange(side // 2, dtype=torch.float64) / side


def feature_map_variance(maps: Tensor) -> Tensor:
    """Variance over the positions of a map (unbiased), averaged over images and channels.

    Args:
        maps: float `[B, D, h, w]`, both sides at least 2.

    Returns:
        A scalar of the dtype of `maps`.

    Raises:
        ValueError: Another shape.
    """
    _check(maps)
    return maps.flatten(2).var(dim=2).mean()


def maps_of_tokens(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Patch tokens as maps.

    Args:
        tokens: `[B, G, D]`, in raster order.
        grid: Rows and columns of patches.

    Returns:
        `[B, D, rows, columns]`.
    """
    return tokens.transpose(1, 2).unflatten(2, grid)


def _check(maps: Tensor) -> None:
    if maps.ndim != 4 or min(maps.shape[2:]) < 2 or not maps.shape[0] * maps.shape[1]:
        raise ValueError(
            f"feature maps of shape {tuple(maps.shape)}; expected [B, D, h, w] with sides of at "
            "least 2"
        )

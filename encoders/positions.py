"""Position tables of Vision Transformers."""

from __future__ import annotations

import torch
from torch import Tensor


def sincos_positions(width: int, grid: tuple[int, int], num_prefix_tokens: int) -> Tensor:
    """The fixed two-dimensional sine-cosine table of MAE.

    The first half of the channels encodes the column and the second half the row, each as
    `[sin(p w_i), cos(p w_i)]` with `w_i = 10000^(-i / (width / 4))`; prefix tokens get zeros.

    Args:
        width: Channels, a multiple of 4.
        grid: Rows and columns.
        num_prefix_tokens: Rows of zeros before the patches.

    Returns:
        float32 `[1, prefix + rows * columns, width]`.

    Raises:
        ValueError: `width` is not a multiple of 4.
    """
    if width % 4:
        raise ValueError(f"sine-cosine positions need a width divisible by 4, not {width}")
    frequencies = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width / 4))
    rows, columns = torch.meshgrid(
        torch.arange(grid[0], dtype=torch.float64),
        torch.arange(grid[1], dtype=torch.float64),
        indexing="ij",
    )
    halves = []
    for coordinate in (columns, rows):
        angles = coordinate.reshape(-1, 1) * frequencies
        halves += [angles.sin(), angles.cos()]
    table = torch.cat(halves, dim=1)
    return torch.cat([table.new_zeros(num_prefix_tokens, width), table])[None].float()

"""Position tables of Vision Transformers: made, recognised, and carried to other grids."""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import Tensor


def sincos_positions(
    width: int,
    grid: tuple[int, int],
    num_prefix_tokens: int,
    *,
    row_first: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The fixed two-dimensional sine-cosine table of MAE.

    The first half of the channels encodes the column and the second half the row, each as
    `[sin(p w_i), cos(p w_i)]` with `w_i = 10000^(-i / (width / 4))`; prefix tokens get zeros.

    Args:
        width: Channels, a multiple of 4.
        grid: Rows and columns.
        num_prefix_tokens: Rows of zeros before the patches.
        row_first: Encode the row in the first half, as MoCo v3 does.
        dtype: Of the result; computed in float64.

    Returns:
        `[1, prefix + rows * columns, width]`.

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
    for coordinate in (rows, columns) if row_first else (columns, rows):
        angles = coordinate.reshape(-1, 1) * frequencies
        halves += [angles.sin(), angles.cos()]
    table = torch.cat(halves, dim=1)
    return torch.cat([table.new_zeros(num_prefix_tokens, width), table])[None].to(dtype)


@dataclasses.dataclass(frozen=True)
class SincosLayout:
    """What tells one sine-cosine table from another.

    Attributes:
        grid: Rows and columns.
        row_first: Whether the first half of the channels encodes the row.
    """

    grid: tuple[int, int]
    row_first: bool


def recognise_sincos(table: Tensor, num_prefix_tokens: int) -> SincosLayout | None:
    """Finds the grid that a sine-cosine table was made for; None for a learned table.

    Args:
        table: `[1, prefix + patches, D]`.
        num_prefix_tokens: Rows before the patches.
    """
    _, rows, width = table.shape
    count = rows - num_prefix_tokens
    if not table.is_floating_point():
        return None
    if width % 4 or count < 1 or bool(table[:, :num_prefix_tokens].any()):
        return None
    tolerance = max(1e-5, 4 * torch.finfo(table.dtype).eps)
    values = table.detach().cpu().double()
    heights = [height for height in range(1, count + 1) if count % height == 0]
    for row_first in (False, True):
        for height in heights:
            layout = SincosLayout((height, count // height), row_first)
            expected = sincos_positions(
                width, layout.grid, num_prefix_tokens, row_first=row_first, dtype=torch.float64
            )
            if torch.allclose(values, expected, rtol=0, atol=tolerance):
                return layout
    return None


def fit_positions(
    table: Tensor,
    grid: tuple[int, int],
    num_prefix_tokens: int,
    *,
    source_grid: tuple[int, int] | None = None,
) -> Tensor:
    """Carries a position table to another grid.

    A sine-cosine table is computed anew; a learned one is resampled (bicubic, antialiased), its
    prefix rows kept. A table that is already for `grid` is returned as it is.

    Args:
        table: `[1, prefix + patches, D]`.
        grid: Rows and columns wanted.
        num_prefix_tokens: Rows before the patches.
        source_grid: Rows and columns that a learned table was made for, which its number of rows
            does not tell; a sine-cosine table says so itself.

    Returns:
        `[1, prefix + rows * columns, D]`, with the table's dtype and device.

    Raises:
        ValueError: A learned table without `source_grid`, or with another number of rows.
    """
    if layout := recognise_sincos(table, num_prefix_tokens):
        if layout.grid == grid:
            return table
        fresh = sincos_positions(
            table.shape[2], grid, num_prefix_tokens, row_first=layout.row_first, dtype=table.dtype
        )
        return fresh.to(table.device)
    count = table.shape[1] - num_prefix_tokens
    if source_grid is None:
        raise ValueError(
            f"a learned position table for {count} patches does not tell its grid; give the image "
            "size it was trained at"
        )
    if count != math.prod(source_grid):
        raise ValueError(
            f"a learned position table for {count} patches is not for a grid of "
            f"{source_grid[0]}x{source_grid[1]}; give the image size it was trained at"
        )
    if source_grid == grid:
        return table
    from timm.layers import resample_abs_pos_embed  # timm takes seconds to import

    return resample_abs_pos_embed(
        table, list(grid), list(source_grid), num_prefix_tokens=num_prefix_tokens
    )


def resample_as_dino(
    table: Tensor, grid: tuple[int, int], num_prefix_tokens: int, source_grid: tuple[int, int]
) -> Tensor:
    """Carries a position table to another grid as DINO's code does, with gradients.

    Bicubic without antialiasing, and for a grid a tenth of a patch too large, against rounding;
    timm, and so `fit_positions`, gives other numbers. Prefix rows are kept.

    Source: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021,
    whose code does so for every image of another size than it was made for.

    Args:
        table: `[1, prefix + patches, D]`.
        grid: Rows and columns wanted; the table's own return it as it is.
        num_prefix_tokens: Rows before the patches.
        source_grid: Rows and columns of the table.

    Returns:
        `[1, prefix + rows * columns, D]`.
    """
    if grid == source_grid:
        return table
    prefix, patches = table[:, :num_prefix_tokens], table[:, num_prefix_tokens:]
    image = patches.unflatten(1, source_grid).permute(0, 3, 1, 2)
    height, width = ((side + 0.1) / source for side, source in zip(grid, source_grid, strict=True))
    resampled = F.interpolate(image, scale_factor=(height, width), mode="bicubic")
    return torch.cat([prefix, resampled.flatten(2).transpose(1, 2)], dim=1)

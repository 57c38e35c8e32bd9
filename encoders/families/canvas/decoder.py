"""The light decoder of canvas encoders: what the last map says of every cell, and its colours."""

from __future__ import annotations

from collections.abc import Collection

import torch.nn.functional as F
from torch import Tensor, nn


class CanvasDecoder(nn.Module):
    """Brings the last map and the latent to the grid of patches and paints each of them.

    The map is narrowed, brought to the grid (a coarser map is repeated, a finer one averaged),
    given the latent everywhere, and mixed by one residual 3x3 depthwise and one pointwise
    convolution: the `cells`. A layer norm and a linear map make pixels of them.

    Args:
        channels: Of the last map and the latent.
        width: Of the cells.
        grid: Rows and columns of patches.
        patch_size: Side of a patch in pixels.
    """

    def __init__(self, channels: int, width: int, grid: tuple[int, int], patch_size: int) -> None:
        super().__init__()
        self.width = width
        self.grid = grid
        self.embed = nn.Conv2d(channels, width, 1)
        self.context = nn.Linear(channels, width)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.pointwise = nn.Conv2d(width, width, 1)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pred = nn.Linear(width, patch_size**2 * 3)

    def forward(self, last: Tensor, latent: Tensor, outputs: Collection[str]) -> dict[str, Tensor]:
        """Computes `cells` `[B, grid_h, grid_w, width]` and `pixels` `[B, G, p*p*3]`, if asked.

        Args:
            last: The last map, `[B, C, h, w]`.
            latent: `[B, C]`.
            outputs: Names of parts of a belief; others are passed over.
        """
        if {"cells", "pixels"}.isdisjoint(outputs):
            return {}
        values = self._to_grid(self.embed(last)) + self.context(latent)[:, :, None, None]
        values = values + self.pointwise(F.gelu(self.depthwise(values)))
        cells = values.permute(0, 2, 3, 1)
        parts = {"cells": cells} if "cells" in outputs else {}
        if "pixels" in outputs:
            parts["pixels"] = self.pred(self.norm(cells)).flatten(1, 2)
        return parts

    def macs(self, size: tuple[int, int], outputs: Collection[str]) -> int:
        """Multiply-accumulates for a last map of some height and width."""
        if {"cells", "pixels"}.isdisjoint(outputs):
            return 0
        patches = self.grid[0] * self.grid[1]
        per_patch = self.depthwise.weight.numel() + self.pointwise.weight.numel()
        if "pixels" in outputs:
            per_patch += self.pred.weight.numel()
        before = size[0] * size[1] * self.embed.weight.numel() + self.context.weight.numel()
        return before + patches * per_patch

    def _to_grid(self, values: Tensor) -> Tensor:
        if tuple(values.shape[-2:]) == self.grid:
            return values
        if values.shape[-1] > self.grid[1]:
            return F.adaptive_avg_pool2d(values, self.grid)
        return F.interpolate(values, self.grid, mode="nearest")

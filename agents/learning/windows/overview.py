"""Scores of windows by what is believed of all cells, however far away."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_CHANNELS = 32  # of a cell, where all cells are read at once


class Cells(NamedTuple):
    """Cells with the visited bit as one channel more, never put together in memory.

    Attributes:
        values: `[B, grid_h, grid_w, channels]`, normalised.
        visited: 0/1, `[B, grid_h, grid_w]`.
    """

    values: Tensor
    visited: Tensor

    def through(self, layer: nn.Linear) -> Tensor:
        """A linear layer of `channels + 1` inputs, `[B, grid_h, grid_w, outputs]`."""
        weight = layer.weight
        values = F.linear(self.values, weight[:, :-1], layer.bias)
        return values + self.visited[..., None] * weight[:, -1]


class Overview(nn.Module):
    """Scores every window by all cells of the grid.

    A sun in the left half of a scene says where its opposite is: the cells of a window alone do
    not. Cells are read by their place in the scene; by their distance along the azimuth, with the
    same weights from every column; or both.

    Args:
        grid: Rows and columns of patches.
        channels: Of a cell, without the visited bit.
        overall: Numbers that describe the whole scene.
        glimpse_size: Side of a window in patches.
        wrap_azimuth: Whether windows go on at the left edge.
        seamless: Whether the left and right edges of the grid meet.
        by_place: Hidden units that read cells by their place; 0 = none.
        by_distance: Hidden channels of a column that reads cells by their distance; 0 = none.
    """

    by_place: nn.Sequential | None
    by_distance: nn.Conv1d | None
    overall: nn.Linear
    windows: nn.Conv1d

    def __init__(
        self,
        grid: tuple[int, int],
        channels: int,
        overall: int,
        *,
        glimpse_size: int,
        wrap_azimuth: bool,
        seamless: bool,
        by_place: int,
        by_distance: int,
    ) -> None:
        super().__init__()
        rows, columns = grid
        self.seamless, self.wrap_azimuth = seamless, wrap_azimuth
        window_rows = rows - glimpse_size + 1
        window_columns = columns if wrap_azimuth else columns - glimpse_size + 1
        self.cells = nn.Linear(channels + 1, _CHANNELS)
        self.by_place, self.by_distance = None, None
        if by_place:
            self.by_place = nn.Sequential(
                nn.Linear(rows * columns * _CHANNELS, by_place),
                nn.GELU(),
                nn.Linear(by_place, window_rows * window_columns),
            )
        if by_distance:
            # Every column reads all: once round, or as far as the grid goes on both sides.
            reach = columns if seamless else 2 * columns - 1
            self.by_distance = nn.Conv1d(rows * _CHANNELS, by_distance, reach)
            self.overall = nn.Linear(overall, by_distance)
            self.windows = nn.Conv1d(by_distance, window_rows, glimpse_size)
        # Multiply-accumulates of one row's forward pass.
        self.flops = rows * columns * channels * _CHANNELS
        if by_place:
            self.flops += by_place * (rows * columns * _CHANNELS + window_rows * window_columns)
        if self.by_distance is not None:
            self.flops += columns * self.by_distance.weight.numel() + self.overall.weight.numel()
            self.flops += window_columns * self.windows.weight.numel()

    def forward(self, cells: Cells, overall: Tensor) -> Tensor:
        """Scores of all windows, `[B, windows]`.

        Args:
            cells: What is believed of each cell.
            overall: What is known of the whole scene, `[B, overall]`.
        """
        hidden = F.gelu(cells.through(self.cells))
        scores = hidden.new_zeros(())
        if self.by_place is not None:
            scores = scores + self.by_place(hidden.flatten(1))
        if self.by_distance is not None:
            columns = hidden.shape[2]
            strips = hidden.permute(0, 1, 3, 2).flatten(1, 2)  # [B, rows * channels, columns]
            if self.seamless:
                strips = torch.cat([strips, strips[..., : columns - 1]], dim=2)
            else:
                strips = F.pad(strips, (columns - 1, columns - 1))
            read = F.gelu(self.by_distance(strips) + self.overall(overall)[..., None])
            if self.wrap_azimuth:
                read = torch.cat([read, read[..., : self.windows.kernel_size[0] - 1]], dim=2)
            scores = scores + self.windows(read).flatten(1)
        return scores

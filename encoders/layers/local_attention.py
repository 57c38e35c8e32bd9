"""Multi-head attention within square windows of a map.

Source: Park and Kim, "How Do Vision Transformers Work?", ICLR 2022, section 4 (its local attention
without shifts, as in AlterNet).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def relative_positions(window: int) -> Tensor:
    """Where a key is, seen from a query: key minus query coordinate plus `window - 1`.

    Args:
        window: Side of a window in cells.

    Returns:
        int64 `[window**2, window**2, 2]`: query, key, (row, column), from 0 to `2 * window - 2`.
    """
    rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    places = torch.stack([rows.flatten(), columns.flatten()], 1)
    return places[None, :] - places[:, None] + window - 1


class LocalAttention(nn.Module):
    """Softmax attention within windows that tile a map, with a relative bias shared by the heads.

    Args:
        channels: Of the input.
        out_channels: Of the output.
        num_heads: Heads.
        head_dim: Channels of a query, key or value of one head.
        window: Side of a window in cells.
    """

    places: Tensor

    def __init__(
        self, channels: int, out_channels: int, num_heads: int, head_dim: int, window: int
    ) -> None:
        super().__init__()
        inner = num_heads * head_dim
        self.num_heads = num_heads
        self.window = window
        self.query = nn.Conv2d(channels, inner, 1, bias=False)
        self.key_value = nn.Conv2d(channels, 2 * inner, 1, bias=False)
        self.out = nn.Conv2d(inner, out_channels, 1)
        self.position_bias = nn.Parameter(0.02 * torch.randn(2 * window - 1, 2 * window - 1))
        self.register_buffer("places", relative_positions(window), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """From `[B, channels, h, w]` to `[B, out_channels, h, w]`; h and w are whole windows."""
        height, width = values.shape[-2:]
        query = self._by_window(self.query(values))
        key, value = (self._by_window(each) for each in self.key_value(values).chunk(2, 1))
        bias = self.position_bias[self.places[..., 0], self.places[..., 1]]
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        attended = (scores + bias).softmax(-1).to(value.dtype) @ value
        rows, columns, side = height // self.window, width // self.window, self.window
        attended = attended.reshape(-1, rows, columns, self.num_heads, side, side, value.shape[-1])
        attended = attended.permute(0, 3, 6, 1, 4, 2, 5).reshape(len(values), -1, height, width)
        return self.out(attended)

    def macs(self, height: int, width: int) -> int:
        """Multiply-accumulates for a map of some size."""
        inner = self.query.weight.shape[0]
        weights = (self.query, self.key_value, self.out)
        per_cell = sum(layer.weight.numel() for layer in weights)
        return height * width * (per_cell + 2 * self.window**2 * inner)

    def _by_window(self, values: Tensor) -> Tensor:
        """`[B, heads * d, h, w]` to `[B * windows, heads, window**2, d]`."""
        batch, channels, height, width = values.shape
        side, heads = self.window, self.num_heads
        values = values.reshape(
            batch, heads, channels // heads, height // side, side, width // side, side
        )
        return values.permute(0, 3, 5, 1, 4, 6, 2).reshape(-1, heads, side**2, channels // heads)

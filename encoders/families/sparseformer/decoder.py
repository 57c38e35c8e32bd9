"""A light decoder: what the latent tokens say of every cell of the grid."""

from __future__ import annotations

from collections.abc import Collection

import torch.nn.functional as F
from torch import Tensor, nn

from encoders.layers.positions import sincos_positions
from encoders.layers.transformer import FeedForward

_HEADS = 4
_EPS = 1e-6
_DECODED = frozenset({"cells", "pixels"})


class LatentDecoder(nn.Module):
    """Every cell asks the latent tokens once, and is painted.

    A cell's question is its place and what the map holds there; the tokens answer with what they
    are and where they looked.

    Args:
        latent_width: Channels of a latent token.
        features: Channels of the map.
        width: Channels of a cell.
        grid: Rows and columns of patches.
        patch_size: Side of a patch in pixels.
    """

    positions: Tensor

    def __init__(
        self, latent_width: int, features: int, width: int, grid: tuple[int, int], patch_size: int
    ) -> None:
        super().__init__()
        self.width = width
        self.grid = grid
        self.register_buffer("positions", sincos_positions(width, grid, 0), persistent=False)
        self.look = nn.Linear(features, width)
        self.embed = nn.Linear(latent_width, width)
        self.place = nn.Linear(4, width)
        self.norm_cells = nn.LayerNorm(width, eps=_EPS)
        self.norm_tokens = nn.LayerNorm(width, eps=_EPS)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.answer = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width, eps=_EPS)
        self.mlp = FeedForward(width, 4 * width)
        self.norm = nn.LayerNorm(width, eps=_EPS)
        self.pred = nn.Linear(width, patch_size**2 * 3)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(
        self, tokens: Tensor, regions: Tensor, features: Tensor, outputs: Collection[str]
    ) -> dict[str, Tensor]:
        """Computes `cells` `[B, grid_h, grid_w, width]` and `pixels` `[B, G, p*p*3]`, if asked.

        Args:
            tokens: `[B, P+N, D]` after the final norm.
            regions: `[B, N, 4]` of the last N of them.
            features: The map, `[B, C, h, w]`.
            outputs: Names of parts of a belief; others are passed over.
        """
        if _DECODED.isdisjoint(outputs):
            return {}
        # Not by waves, whose shortest are shorter than what half precision tells apart.
        places = self.place(regions.to(tokens))
        places = F.pad(places, (0, 0, tokens.shape[1] - regions.shape[1], 0))
        memory = self.embed(tokens)
        memory = self.norm_tokens(memory + places.to(memory))
        seen = F.adaptive_avg_pool2d(features, self.grid).flatten(2).mT
        cells = self.look(seen)
        cells = cells + self.positions.to(cells)
        query = self._heads(self.query(self.norm_cells(cells)))
        key, value = map(self._heads, self.key_value(memory).chunk(2, dim=-1))
        scores = query @ key.mT * (self.width // _HEADS) ** -0.5
        mixed = (scores.softmax(-1).to(value) @ value).transpose(1, 2).flatten(2)
        cells = cells + self.answer(mixed)
        cells = cells + self.mlp(self.norm_mlp(cells))
        parts = {"cells": cells.unflatten(1, self.grid)} if "cells" in outputs else {}
        if "pixels" in outputs:
            parts["pixels"] = self.pred(self.norm(cells))
        return parts

    def macs(self, tokens: int, regions: int, outputs: Collection[str]) -> int:
        """Multiply-accumulates of one row with so many latent tokens, and regions of them."""
        if _DECODED.isdisjoint(outputs):
            return 0
        cells, width = self.grid[0] * self.grid[1], self.width
        per_cell = self.look.weight.numel() + 10 * width**2
        if "pixels" in outputs:
            per_cell += self.pred.weight.numel()
        per_token = self.embed.weight.numel() + 2 * width**2
        places = regions * self.place.weight.numel()
        return cells * per_cell + tokens * per_token + places + 2 * cells * tokens * width

    def _heads(self, values: Tensor) -> Tensor:
        return values.unflatten(2, (_HEADS, -1)).transpose(1, 2)

"""A light decoder: what the latent tokens say of every cell of the grid."""

from __future__ import annotations

from collections.abc import Collection

import torch.nn.functional as F
from torch import Tensor, nn

from encoders.layers.entropy import entropy_of_rows
from encoders.layers.positions import sincos_positions
from encoders.layers.transformer import FeedForward

_HEADS = 4
_EPS = 1e-6
_PAINTED = frozenset({"cells", "pixels"})
ENTROPIES = {"entropy": False, "normalised_entropy": True}  # whether rows are renormalised


class LatentDecoder(nn.Module):
    """Every cell asks the latent tokens once, and is painted.

    A cell's question is its place and what the map holds there; the tokens answer with what they
    are and where they looked. How its attention spreads over them says how unsure it is whom to
    ask: an entropy map as AME's, over latent tokens in the place of patches.

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
        self,
        tokens: Tensor,
        regions: Tensor,
        features: Tensor,
        known: Tensor,
        outputs: Collection[str],
    ) -> dict[str, Tensor]:
        """What is asked of `cells` `[B, grid_h, grid_w, width]`, `pixels` and entropy maps.

        Args:
            tokens: `[B, P+N, D]` after the final norm.
            regions: `[B, N, 4]` of the last N of them.
            features: The map, `[B, C, h, w]`.
            known: bool `[B, G]`, patches that were seen.
            outputs: Names of parts of a belief; others are passed over.
        """
        painted, entropies = _PAINTED.intersection(outputs), ENTROPIES.keys() & {*outputs}
        if not painted and not entropies:
            return {}
        prefix = tokens.shape[1] - regions.shape[1]
        # Not by waves, whose shortest are shorter than what half precision tells apart.
        places = self.place(regions.to(tokens))
        places = F.pad(places, (0, 0, prefix, 0))
        memory = self.embed(tokens)
        memory = self.norm_tokens(memory + places.to(memory))
        seen = F.adaptive_avg_pool2d(features, self.grid).flatten(2).mT
        cells = self.look(seen)
        cells = cells + self.positions.to(cells)
        query = self._heads(self.query(self.norm_cells(cells)))
        key, value = map(self._heads, self.key_value(memory).chunk(2, dim=-1))
        attention = (query @ key.mT * (self.width // _HEADS) ** -0.5).softmax(-1)
        parts = {}
        for name in entropies:
            bits = entropy_of_rows(
                attention.float(), num_prefix_tokens=prefix, renormalise=ENTROPIES[name]
            )
            parts[name] = bits.masked_fill(known, 0.0).unflatten(1, self.grid)
        if not painted:
            return parts
        mixed = (attention.to(value) @ value).transpose(1, 2).flatten(2)
        cells = cells + self.answer(mixed)
        cells = cells + self.mlp(self.norm_mlp(cells))
        if "cells" in painted:
            parts["cells"] = cells.unflatten(1, self.grid)
        if "pixels" in painted:
            parts["pixels"] = self.pred(self.norm(cells))
        return parts

    def macs(self, tokens: int, regions: int, outputs: Collection[str]) -> int:
        """Multiply-accumulates of one row with so many latent tokens, and regions of them."""
        painted = _PAINTED.intersection(outputs)
        if not painted and ENTROPIES.keys().isdisjoint(outputs):
            return 0
        cells, width = self.grid[0] * self.grid[1], self.width
        per_cell = self.look.weight.numel() + width**2 + tokens * width
        if painted:
            per_cell += 9 * width**2 + tokens * width
        if "pixels" in painted:
            per_cell += self.pred.weight.numel()
        per_token = self.embed.weight.numel() + 2 * width**2
        return cells * per_cell + tokens * per_token + regions * self.place.weight.numel()

    def _heads(self, values: Tensor) -> Tensor:
        return values.unflatten(2, (_HEADS, -1)).transpose(1, 2)

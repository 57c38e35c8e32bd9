"""The ledger where tokens are reduced: what ran, and what will, as far as numbers alone tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from encoders.reduction.config import Reduction

if TYPE_CHECKING:
    from encoders.flops.block import BlockCost
    from encoders.layers.vit import BlockCount


@dataclasses.dataclass(frozen=True)
class ReducedBlocks:
    """A model's blocks, whose tokens become fewer on the way.

    Attributes:
        blocks: Cost of each block.
        prefix: Tokens that no reduction takes away.
        width: Channels of a token.
        head_width: Channels of one attention head.
    """

    blocks: tuple[BlockCost, ...]
    prefix: int
    width: int
    head_width: int

    def merging(self, patches: np.ndarray, most: int) -> np.ndarray:
        """Multiply-accumulates of merging a memory down to `most` tokens, where it holds more."""
        return np.where((patches > most) & (most > 0), patches * patches * self.width, 0)

    def run(
        self,
        patches: np.ndarray,
        start: int | np.ndarray,
        stop: int | np.ndarray,
        reduction: Reduction | None,
        leading: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """What blocks cost, by the closed formula.

        Of a reduction whose effect depends on what the tokens hold, an upper bound.

        Args:
            patches: Patch tokens that go in, int64.
            start: First block, for all rows or each.
            stop: One past the last block, for all rows or each.
            reduction: What happens in them; None = nothing.
            leading: How many tokens come out of the model's last block; None = all.

        Returns:
            Multiply-accumulates, and the patch tokens that come out.
        """
        depth = len(self.blocks)
        total = np.zeros_like(patches)
        for index, block in enumerate(self.blocks):
            runs = (start <= index) & (index < stop)
            tokens = self.prefix + patches
            all_needed = reduction is not None and not reduction.keeps_prefix
            if leading is not None and index == depth - 1 and not all_needed:
                total = total + np.where(runs, block.leading(tokens, leading), 0)
                continue
            after, own = patches, np.zeros_like(patches)
            if reduction is not None:
                after = reduction.patches_after(patches, index, depth)
                own = reduction.own_cost(tokens, index, depth, self.head_width)
            total = total + np.where(runs, block(tokens, self.prefix + after) + own, 0)
            patches = np.where(runs, after, patches)
        return total, patches

    def ran(self, counts: Mapping[int, BlockCount], reduction: Reduction | None) -> Any:
        """What blocks did cost, int64 `[B]`; 0 where none ran.

        Args:
            counts: Of every block that ran, how many tokens of each row took part.
            reduction: What took them away; None = nothing did.
        """
        reduction = Reduction() if reduction is None else reduction
        total: Any = 0
        for index, count in counts.items():
            block, tokens = self.blocks[index], count.attention.cpu().numpy()
            if count.leading is not None:
                total = total + block.leading(tokens, count.leading)
                continue
            own = reduction.own_cost(tokens, index, len(self.blocks), self.head_width)
            total = total + block(tokens, count.mlp.cpu().numpy()) + own
        return total

"""One pass of tokens through some blocks with a reduction: the seam that all reductions share."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from encoders.layers import vit
from encoders.layers.vit import BlockCount, TokenSet, run_block


class ReductionPass:
    """What a reduction does to the tokens of one pass; without changes, nothing.

    A pass is made for one call and thrown away: it may remember what happened in earlier blocks.
    Every method returns the tokens that go on and leaves those it was given alone.
    """

    halted_after: Tensor | None = None
    """Blocks of this pass that every token went through, int64 `[B, n]`, where tokens halt."""

    halting: Any = None
    """How its tokens halted: an `encoders.reduction.avit.Halting`; None where they do not."""

    def begin(self, tokens: TokenSet) -> TokenSet:
        """Called before the first block."""
        return tokens

    @property
    def needs_all_tokens(self) -> bool:
        """Whether it reads all tokens after the last block, so that none may be left out there."""
        return False

    def run(
        self, module: Any, block: int, tokens: TokenSet, *, leading: int | None = None
    ) -> tuple[TokenSet, BlockCount | None]:
        """Runs one block, with what `within` takes away in it.

        Args:
            module: The block.
            block: Its number in the model, from 0.
            tokens: What goes in; at least one.
            leading: As for `run_block`.
        """
        return run_block(module, tokens, self.within(block), leading=leading)

    def within(self, block: int) -> vit.Reduction | None:
        """What takes tokens away between attention and MLP of a block; None = nothing.

        Args:
            block: Number of the block in the model, from 0.
        """
        return None

    def after(self, block: int, tokens: TokenSet) -> TokenSet:
        """Called after every block."""
        return tokens

    def finish(self, tokens: TokenSet) -> TokenSet:
        """Called after the last block."""
        return tokens

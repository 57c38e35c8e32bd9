"""A-ViT as the two published codes compute it: halted tokens are masked, and nothing is saved.

Halted tokens keep running through the blocks as zeros that nobody attends to, and what comes out of
that is thrown away; but their halting scores enter the distribution loss, and in the student's code
(a re-implementation for a university project) their outputs too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from encoders.layers.vit import BlockCount, TokenSet
from encoders.reduction.avit import Halting
from encoders.reduction.base import ReductionPass
from encoders.reduction.config import Avit

_MASK_BIAS = {"nvidia": -1e3, "student": -1e8}


class MaskedAvitPass(ReductionPass):
    """A-ViT with all tokens in all blocks.

    Args:
        config: Gate, epsilon and form.
        start: First block of the pass.
        stop: One past its last block.
    """

    def __init__(self, config: Avit, start: int, stop: int) -> None:
        self.config = config
        self.last = stop - 1
        self._scores: list[Tensor] = []

    @property
    def needs_all_tokens(self) -> bool:
        """As `ReductionPass.needs_all_tokens`."""
        return True

    def begin(self, tokens: TokenSet) -> TokenSet:
        """As `ReductionPass.begin`."""
        values = tokens.values
        self._all = tokens
        valid = torch.ones_like(values[..., 0], dtype=torch.bool)
        self._valid = valid if tokens.mask is None else tokens.mask
        self._alive = self._valid.to(values.dtype)
        self._total = torch.zeros_like(values[..., 0])
        self._rest = torch.ones_like(self._total)
        self._ponder = torch.zeros_like(self._total)
        self._blocks = self._valid.to(values.dtype)
        self._output = torch.zeros_like(values)
        return tokens

    def run(
        self, module: Any, block: int, tokens: TokenSet, *, leading: int | None = None
    ) -> tuple[TokenSet, BlockCount | None]:
        """As `ReductionPass.run`: a block whose halted tokens are zeros."""
        alive = self._alive[..., None]
        x = tokens.values * alive
        bias = (1 - self._alive) * _MASK_BIAS[self.config.form]
        if tokens.sizes is not None and tokens.proportional:
            bias = bias + tokens.sizes.to(x.dtype).log()
        mixed = module.attn(module.norm1(x) * alive, attn_mask=bias[:, None, None])
        x = x + module.drop_path1(module.ls1(mixed))
        x = x + module.drop_path2(module.ls2(module.mlp(module.norm2(x * alive) * alive)))
        return tokens.with_values(x), None

    def after(self, block: int, tokens: TokenSet) -> TokenSet:
        """As `ReductionPass.after`."""
        config, values, alive = self.config, tokens.values, self._alive
        score = (config.gate_scale * values[..., 0] - config.gate_center).sigmoid()
        if config.form == "nvidia":
            self._scores.append(score)
        if block == self.last:
            score = torch.ones_like(score)
        if config.form == "student":
            self._scores.append(score)
        self._total = self._total + score
        self._ponder = self._ponder + alive
        goes_on = (self._total < 1 - config.epsilon).to(values.dtype)
        if config.form == "student":
            done, kept = 1 - goes_on, values
        else:
            done, kept = (1 - goes_on) * alive, values * alive[..., None]
        self._output = self._output + kept * (self._rest * done)[..., None]
        self._ponder = self._ponder + self._rest * (1 - goes_on) * alive
        self._rest = self._rest - goes_on * score
        self._output = self._output + kept * (score * goes_on)[..., None]
        goes_on = goes_on * self._valid
        self._blocks = self._blocks + goes_on
        self._alive = goes_on
        return tokens

    def finish(self, tokens: TokenSet) -> TokenSet:
        """As `ReductionPass.finish`."""
        if not self._scores:
            return tokens
        patches = self._valid.clone()
        patches[:, : self._all.num_prefix_tokens] = False
        self.halted_after = self._blocks.long()
        self.halting = Halting(
            config=self.config,
            scores=torch.stack(self._scores),
            ponder=self._ponder * self._valid,
            blocks=self.halted_after,
            valid=self._valid,
            patches=patches,
        )
        return self._all.with_values(self._output)

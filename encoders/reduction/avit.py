"""A-ViT: every token halts when it has been through blocks enough.

Source: Yin et al., "A-ViT: Adaptive Tokens for Efficient Vision Transformer", CVPR 2022, section 3.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from encoders.layers.vit import TokenSet
from encoders.reduction.base import ReductionPass
from encoders.reduction.config import Avit


@dataclasses.dataclass(frozen=True, eq=False)
class Halting:
    """How the tokens of one pass halted; padding has zeros.

    Attributes:
        config: What the pass was told.
        scores: float `[blocks, B, n]`, the halting score of every token in every block. In the
            paper's form 0 once it has halted and 1 in the last block; in NVIDIA's what the gate
            says, of halted tokens and in the last block too; in the student's the same, but 1 in
            the last block.
        ponder: float `[B, n]`, blocks that it went through plus its remainder, the paper's rho.
        blocks: int64 `[B, n]`, blocks that it went through.
        valid: bool `[B, n]`, False for padding.
        patches: bool `[B, n]`, True for patch tokens.
    """

    config: Avit
    scores: Tensor
    ponder: Tensor
    blocks: Tensor
    valid: Tensor
    patches: Tensor


class AvitPass(ReductionPass):
    """A-ViT on the tokens of one pass; halted tokens are taken out, and put back at the end.

    Args:
        config: Gate and epsilon.
        start: First block of the pass.
        stop: One past its last block.
    """

    def __init__(self, config: Avit, start: int, stop: int) -> None:
        self.config = config
        self.start = start
        self.last = stop - 1
        self._scores: list[Tensor] = []

    @property
    def needs_all_tokens(self) -> bool:
        """As `ReductionPass.needs_all_tokens`: the losses read all, and so does who may be gone."""
        return torch.is_grad_enabled() or not self.config.protect_prefix

    def begin(self, tokens: TokenSet) -> TokenSet:
        """As `ReductionPass.begin`."""
        values = tokens.values
        batch, count, _ = values.shape
        self._all = tokens
        places = torch.arange(count, device=values.device).expand(batch, -1)
        valid = torch.ones_like(places, dtype=torch.bool) if tokens.mask is None else tokens.mask
        self._valid = valid
        # Where the tokens of this block stood; padding has a place of its own behind all others.
        self._places = places.masked_fill(~valid, count)
        wide = torch.float64 if values.dtype == torch.float64 else torch.float32
        self._total = values.new_zeros(batch, count + 1, dtype=wide)
        self._rest = torch.ones_like(self._total)
        self._ponder = torch.zeros_like(self._total)
        self._blocks = places.new_zeros(batch, count + 1)
        self._output = values.new_zeros(batch, count + 1, values.shape[2])
        return tokens

    def after(self, block: int, tokens: TokenSet) -> TokenSet:
        """As `ReductionPass.after`: scores the tokens, adds to their outputs, lets some halt."""
        config, values, places = self.config, tokens.values, self._places
        self._blocks = self._blocks.scatter_add(1, places, torch.ones_like(places))
        if values.shape[1] < places.shape[1]:  # no others are wanted of the last block
            places = places[:, : values.shape[1]]
        gate = config.gate_scale * values[..., 0].to(self._total.dtype) - config.gate_center
        score = gate.sigmoid()
        if block == self.last:
            score = torch.ones_like(score)
        elif config.protect_prefix:
            prefix = places < self._all.num_prefix_tokens
            score = score.masked_fill(prefix, 0.0)
        total = self._total.gather(1, places) + score
        rest = self._rest.gather(1, places)
        goes_on = total < 1 - config.epsilon
        share = torch.where(goes_on, score, rest)
        self._total = self._total.scatter(1, places, total)
        self._rest = self._rest.scatter(1, places, torch.where(goes_on, rest - score, rest))
        ponder = torch.where(goes_on, 1.0, 1.0 + rest)
        self._ponder = self._ponder.scatter_add(1, places, ponder)
        index = places[..., None].expand_as(values)
        self._output = self._output.scatter_add(
            1, index, share.to(values.dtype)[..., None] * values
        )
        scores = torch.zeros_like(self._total).scatter(1, places, score)
        self._scores.append(scores[:, :-1] * self._valid)
        if block == self.last:
            return tokens
        return self._without_halted(tokens, goes_on)

    def finish(self, tokens: TokenSet) -> TokenSet:
        """As `ReductionPass.finish`: all tokens in their places, each with its output."""
        if self.last < self.start:
            return tokens
        whole = self._all
        first = whole.num_prefix_tokens
        patches = self._valid.clone()
        patches[:, :first] = False
        self.halted_after = self._blocks[:, :-1]
        self.halting = Halting(
            config=self.config,
            scores=torch.stack(self._scores),
            ponder=self._ponder[:, :-1] * self._valid,
            blocks=self._blocks[:, :-1] * self._valid,
            valid=self._valid,
            patches=patches,
        )
        return whole.with_values(self._output[:, :-1])

    def _without_halted(self, tokens: TokenSet, goes_on: Tensor) -> TokenSet:
        count = self._all.values.shape[1]
        alive = goes_on & (self._places < count)
        if bool((alive | (self._places == count)).all()):
            return tokens
        lengths = alive.sum(1)
        longest = int(lengths.max())
        index = (~alive).byte().argsort(dim=1, stable=True)[:, :longest]
        self._places = self._places.gather(1, index)
        behind = torch.arange(longest, device=index.device) >= lengths[:, None]
        self._places = self._places.masked_fill(behind, count)
        return dataclasses.replace(tokens, source=None).take(index, lengths)

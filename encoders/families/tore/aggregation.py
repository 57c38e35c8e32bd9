"""TORE's aggregator on cached tokens, and what the belief reads from the tokens it leaves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from encoders.families.tore.surgery import PatchVit
from encoders.layers.decoder import GlimpseDecoder
from encoders.layers.heads import Head
from encoders.layers.vit import BlockCount, TokenSet
from encoders.protocol import DECODER_OUTPUTS, Belief
from encoders.reduction.base import ReductionPass
from encoders.reduction.passes import make_pass
from encoders.reduction.plan import ReductionPlan
from encoders.reduction.trace import ReductionTrace, trace_of


@dataclasses.dataclass(frozen=True)
class Aggregation:
    """What the blocks from K on made of some tokens.

    Attributes:
        before: The tokens that went in.
        tokens: Those that came out.
        ran: The reduction on the way; None where the plan has none anywhere.
        counts: How many tokens went through each block.
        kept: Patch tokens that came out where the plan reduces any, int64 `[B]`.
    """

    before: TokenSet
    tokens: TokenSet
    ran: ReductionPass | None
    counts: dict[int, BlockCount]
    kept: np.ndarray

    def trace(
        self, first: int, extraction: ReductionPass | None, depths: Tensor | None
    ) -> ReductionTrace:
        """What became of every patch, after the extractor as well.

        Args:
            first: Prefix tokens.
            extraction: The reduction of the extractor, where it is known.
            depths: Blocks of the extractor that each patch's token went through, or None.
        """
        return trace_of(self.tokens.source, self.before.source, self.ran, extraction, first, depths)


def aggregate(
    vit: PatchVit, tokens: TokenSet, split_block: int, outputs: frozenset[str], plan: ReductionPlan
) -> Aggregation:
    """Runs the blocks from K on, the last one for no more tokens than the outputs ask for."""
    leading, ran = vit.leading_tokens(outputs), None
    reducing = bool(plan.options())
    if plan.in_aggregator is not None:
        ran = make_pass(plan.in_aggregator, vit.depth, split_block, vit.depth)
    if reducing:
        ran = ran or ReductionPass()  # for the counts
        tokens = dataclasses.replace(tokens, proportional=plan.proportional).without_padding()
    before = tokens
    tokens, counts = vit.run_blocks(tokens, split_block, vit.depth, ran, leading=leading)
    kept = np.zeros(len(tokens.values), np.int64)
    if reducing:
        kept = (tokens.lengths.cpu() - vit.num_prefix_tokens).clamp(min=0).numpy()
    if leading is not None and split_block == vit.depth:
        tokens = tokens.first(leading)  # all are cached, and no more are wanted
    return Aggregation(before, tokens, ran, counts, kept)


def read_out(
    vit: PatchVit,
    heads: Mapping[str, Head],
    decoder: GlimpseDecoder | None,
    tokens: TokenSet,
    outputs: frozenset[str],
) -> Belief:
    """The belief of tokens after the last block."""
    normalised, latent = vit.pool(tokens.values, tokens.mask, tokens.sizes)
    belief = Belief(latent=latent)
    if "logits" in outputs:
        belief.logits = heads["logits"].run(normalised, latent)
    if "tokens" in outputs:
        belief.tokens = normalised
    if not outputs.isdisjoint(DECODER_OUTPUTS):
        assert decoder is not None  # the encoder has checked the outputs
        assert tokens.source is not None  # the extractor and the cache know it
        first = vit.num_prefix_tokens
        if first > 1:  # a decoder knows one prefix token, the class token
            normalised = torch.cat([normalised[:, :1], normalised[:, first:]], 1)
        for name, values in decoder.decode(normalised, tokens.source, outputs).items():
            setattr(belief, name, values)
    return belief

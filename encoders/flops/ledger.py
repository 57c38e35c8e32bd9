"""The FLOPs ledger: a closed formula for what every step of an encoder costs.

One multiply-accumulate counts as one, the convention of fvcore and of the ViT, TORE and AME papers.
Counted are patch embedding, linear layers and both attention products; softmax, normalisation and
activations are not. `torch.utils.flop_counter.FlopCounterMode` counts the same operations twice as
high and agrees exactly otherwise.

`python -m encoders.flops` prints and draws what an episode costs (`encoders.flops.episode`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from encoders.flops.block import BlockCost
from encoders.flops.count import PARTS, FlopCount
from encoders.flops.reduced import ReducedBlocks
from encoders.reduction.plan import ReductionPlan

if TYPE_CHECKING:
    from encoders.families.tore.surgery import PatchVit
    from encoders.layers.decoder import GlimpseDecoder

_MOST_REMEMBERED = 10_000  # costs of single rows: some 2 MB


@dataclasses.dataclass(frozen=True)
class _DecoderCost:
    """Cost of a decoder, whose blocks always see the whole grid.

    Attributes:
        per_token: Of embedding one token.
        to_attention: Of all blocks, the last one up to its attention.
        to_features: Of all blocks.
        pixels: Of the map to pixels.
    """

    per_token: int
    to_attention: int
    to_features: int
    pixels: int

    @classmethod
    def of(cls, decoder: GlimpseDecoder) -> _DecoderCost:
        tokens = 1 + decoder.num_patches
        *earlier, last = [BlockCost.of(block) for block in decoder.blocks]
        before = sum(cost(tokens) for cost in earlier)
        return cls(
            per_token=decoder.embed.weight.numel(),
            to_attention=before + last.attention_only(tokens),
            to_features=before + last(tokens),
            pixels=decoder.num_patches * decoder.pred.weight.numel(),
        )


class FlopLedger:
    """What an encoder's steps cost, computed from its shapes.

    Args:
        vit: The Vision Transformer.
        decoder: Its decoder, or None.
    """

    def __init__(self, vit: PatchVit, decoder: GlimpseDecoder | None) -> None:
        self._patch = vit.projection.weight.numel()
        self._prefix = vit.num_prefix_tokens
        self._blocks = tuple(BlockCost.of(block) for block in vit.blocks)
        self._leading_tokens = vit.leading_tokens
        self._heads = {name: head.flops for name, head in vit.heads.items()}
        self._uniform = len(set(self._blocks)) == 1
        self._decoder = None if decoder is None else _DecoderCost.of(decoder)
        attention: Any = vit.blocks[0].attn
        self._keeps_sums = vit.attention == "angular"
        self.blocks = ReducedBlocks(self._blocks, self._prefix, vit.width, attention.head_dim)
        self._single_rows: dict[tuple[Any, ...], FlopCount] = {}

    def adding(self, tokens: np.ndarray) -> np.ndarray:
        """Cost of adding so many tokens to the running sums of the last block."""
        return tokens * self._blocks[-1].keys_and_values

    def count_rows(
        self,
        new_tokens: np.ndarray,
        cached_tokens: np.ndarray,
        *,
        split_block: int | np.ndarray,
        outputs: frozenset[str],
        plan: ReductionPlan | None = None,
    ) -> FlopCount:
        """`count` of arrays `[B]`; for a single row it is looked up, and not to be written to."""
        asked: dict[str, Any] = {"split_block": split_block, "outputs": outputs, "plan": plan}
        if len(new_tokens) != 1 or not isinstance(split_block, int):
            return self.count(new_tokens, cached_tokens, **asked)
        key = (int(new_tokens[0]), int(cached_tokens[0]), *asked.values())
        known = self._single_rows.get(key)
        if known is None:
            known = self.count(new_tokens, cached_tokens, **asked)
            for part in PARTS:
                getattr(known, part).flags.writeable = False
            if len(self._single_rows) >= _MOST_REMEMBERED:
                self._single_rows.clear()
            self._single_rows[key] = known
        return known

    def count(
        self,
        new_tokens: int | Sequence[int] | np.ndarray,
        cached_tokens: int | Sequence[int] | np.ndarray,
        *,
        split_block: int | np.ndarray,
        outputs: Collection[str],
        plan: ReductionPlan | None = None,
    ) -> FlopCount:
        """Cost of one step per row.

        Args:
            new_tokens: Patches of the new glimpse that are encoded; a row that adds none to a
                cache runs no extractor, and one that adds none to an empty cache (the belief before
                any glimpse) sends the prefix tokens through it.
            cached_tokens: Patch tokens cached before this step.
            split_block: K, for all rows or for each.
            outputs: Parts of the belief that are computed.
            plan: How tokens are reduced; None = not at all. Of a reduction whose effect depends on
                what the tokens hold (A-ViT), the cost is an upper bound.

        Returns:
            Python integers for integer arguments, int64 arrays otherwise.
        """
        scalar = all(np.ndim(value) == 0 for value in (new_tokens, cached_tokens, split_block))
        new, cached, split = np.broadcast_arrays(
            np.asarray(new_tokens, np.int64),
            np.asarray(cached_tokens, np.int64),
            np.asarray(split_block, np.int64),
        )
        if plan is None or not plan.options():
            extracted, aggregator, tokens = self._plain(new, cached, split, outputs)
        else:
            extracted, aggregator, tokens = self._reduced(new, cached, split, outputs, plan)
        parts = self.parts(new, cached, extracted, aggregator, tokens, outputs)
        return FlopCount(*(int(part) if scalar else part for part in parts.by_part()))

    def parts(
        self,
        new: np.ndarray,
        cached: np.ndarray,
        extracted: np.ndarray,
        aggregator: np.ndarray,
        tokens: np.ndarray,
        outputs: Collection[str],
    ) -> FlopCount:
        """The cost of a step from that of its blocks; everything int64 `[B]`.

        Args:
            new: Patches of the new glimpse that are encoded.
            cached: Patch tokens cached before this step.
            extracted: What the extractor's blocks cost, where they run.
            aggregator: What the aggregator's blocks cost.
            tokens: Patch tokens that come out of the last block.
            outputs: Parts of the belief that are computed.
        """
        extracted = extracted + new * self._patch
        extractor = np.where((new > 0) | (cached == 0), extracted, 0)
        heads = sum(flops for name, flops in self._heads.items() if name in outputs)
        decoder = self._decoder_cost(tokens, outputs)
        return FlopCount(extractor, aggregator, decoder, np.full_like(new, heads))

    def _plain(
        self, new: np.ndarray, cached: np.ndarray, split: np.ndarray, outputs: Collection[str]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Extractor, aggregator, and tokens after the last block."""
        extracted = self._blocks_cost(self._prefix + new, 0, split)
        aggregator = self._aggregator_cost(self._prefix + cached + new, split, outputs)
        if self._keeps_sums and (leading := self._leading_tokens(outputs)) is not None:
            # The last block alone reads new tokens and a running sum over the others.
            alone = self._blocks[-1].leading(self._prefix + new, leading)
            aggregator = np.where(split == len(self._blocks) - 1, alone, aggregator)
        return extracted, aggregator, cached + new

    def _reduced(
        self,
        new: np.ndarray,
        cached: np.ndarray,
        split: np.ndarray,
        outputs: Collection[str],
        plan: ReductionPlan,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same where tokens are reduced."""
        extracted, kept = self.blocks.run(new, 0, split, plan.in_extractor)
        held = cached + kept
        merging = self.blocks.merging(held, plan.max_tokens)
        if plan.max_tokens:
            held = np.minimum(held, plan.max_tokens)
        aggregator, tokens = self.blocks.run(
            held, split, len(self._blocks), plan.in_aggregator, self._leading_tokens(outputs)
        )
        return extracted, aggregator + merging, tokens

    def _blocks_cost(
        self, tokens: np.ndarray, start: int | np.ndarray, stop: int | np.ndarray
    ) -> np.ndarray:
        if self._uniform:
            return (np.asarray(stop) - start) * self._blocks[0](tokens)
        costs = (
            np.where((start <= index) & (index < stop), block(tokens), 0)
            for index, block in enumerate(self._blocks)
        )
        return sum(costs, start=np.zeros_like(tokens))

    def _aggregator_cost(
        self, tokens: np.ndarray, split: np.ndarray, outputs: Collection[str]
    ) -> np.ndarray:
        """All blocks from K on, the last one for no more tokens than the outputs are made of."""
        cost = self._blocks_cost(tokens, split, len(self._blocks))
        leading = self._leading_tokens(outputs)
        if leading is None:
            return cost
        last = self._blocks[-1]
        return cost - np.where(
            split < len(self._blocks), last(tokens) - last.leading(tokens, leading), 0
        )

    def _decoder_cost(self, tokens: np.ndarray, outputs: Collection[str]) -> np.ndarray:
        wants_attention = not {"attention", "entropy", "normalised_entropy"}.isdisjoint(outputs)
        wants_features = not {"cells", "pixels"}.isdisjoint(outputs)
        if not (wants_attention or wants_features):
            return np.zeros_like(tokens)
        cost = self._decoder
        assert cost is not None  # GlimpseEncoder refuses decoder outputs without a decoder
        fixed = cost.to_features if wants_features else cost.to_attention
        if "pixels" in outputs:
            fixed += cost.pixels
        return (1 + tokens) * cost.per_token + fixed

"""GlimpseEncoder: Vision Transformer + TORE + decoder + class head; returns a Belief."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from encoders.config import EncoderConfig
from encoders.families.checks import check_images, checked_glimpse
from encoders.families.glimpse_module import GlimpseModule
from encoders.families.tore import extract as tore
from encoders.families.tore.aggregation import Aggregation, aggregate, read_out
from encoders.families.tore.mixed_splits import observe_by_split
from encoders.families.tore.options import ToreOptions, require_reduction
from encoders.families.tore.parts import tore_parts
from encoders.families.tore.running import class_token_from_sums, sums_suffice
from encoders.families.tore.state import ToreState
from encoders.families.tore.step_counts import StepCounts
from encoders.families.tore.summary import summarise
from encoders.families.tore.surgery import PatchVit, make_vit
from encoders.flops.count import FlopCount
from encoders.flops.ledger import FlopLedger
from encoders.layers import patches as pixel_layout
from encoders.layers.decoder import GlimpseDecoder
from encoders.layers.positions import fit_positions
from encoders.layers.vit import TokenSet
from encoders.parts import EncoderPart
from encoders.protocol import DECODER_OUTPUTS, OUTPUTS, Belief, Observed, Promises
from encoders.reduction.base import ReductionPass
from encoders.reduction.passes import make_pass
from encoders.reduction.plan import ReductionPlan, make_plan
from encoders.reduction.trace import blocks_of_patches


class GlimpseEncoder(GlimpseModule):
    """Encodes glimpses one at a time and recycles their tokens.

    The module holds weights only. What was seen lives in a `ToreState` that the caller owns::

        state = encoder.init_state(batch_size)
        belief, state = encoder.observe(patches, patch_ids, state, outputs=("latent", "logits"))

    Args:
        config: The configuration the parts were built from.
        vit: The Vision Transformer.
        decoder: A masked-autoencoder decoder, or None.
    """

    family: ClassVar[str] = "tore"

    def __init__(
        self, config: EncoderConfig, vit: PatchVit, decoder: GlimpseDecoder | None = None
    ) -> None:
        super().__init__(config)
        if vit.grid != config.grid:
            raise ValueError(
                f"a Vision Transformer for a {vit.grid} grid of patches, but image_size "
                f"{config.image_size} with patch_size {config.patch_size} has {config.grid}"
            )
        if decoder is not None and not vit.num_prefix_tokens:
            raise ValueError("a decoder needs a model with a class token")
        self.backbone = vit
        self.decoder = decoder
        self.heads = vit.heads
        self._ledger = FlopLedger(vit, decoder)
        self._known_options = ToreOptions(config, vit)

    def __repr__(self) -> str:
        """What the encoder is, in a few lines; `print(encoder.backbone)` shows its layers."""
        summary = summarise(self.config, self.backbone, self.decoder)
        return f"{type(self).__name__} ({self.family}) {summary}"

    @property
    def depth(self) -> int:
        """Blocks of the Vision Transformer; the largest split block."""
        return self.backbone.depth

    @property
    def width(self) -> int:
        """Channels D of a token and of the latent."""
        return self.backbone.width

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.backbone.device

    @property
    def outputs(self) -> tuple[str, ...]:
        """Parts of the belief that it can compute: without a decoder or class head fewer."""
        missing = set(DECODER_OUTPUTS) if self.decoder is None else set()
        if self.config.num_classes == 0:
            missing.add("logits")
        return tuple(name for name in OUTPUTS if name not in missing)

    @property
    def default_split_block(self) -> int:
        """TORE's K where the caller does not choose one."""
        return self._options.default_split_block

    @property
    def plan(self) -> ReductionPlan:
        """How it reduces tokens where the caller does not say."""
        return self._options.plan({})

    def resolve_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Checks the options of this family.

        They are `split_block`, TORE's K; `reduction`, which tokens are dropped, merged or halted
        within blocks (see `encoders.reduction.config`); `reduction_in`, where; and `max_tokens`,
        how many patch tokens are remembered at most, 0 = all.

        Returns:
            `split_block`, and the others as far as they have an effect; the encoder's defaults
            where they are left out or None.

        Raises:
            ValueError: Another option, a K outside [0, depth], or a reduction that this encoder
                cannot have.
        """
        return self._options.resolve(options)

    def check_glimpse_size(self, patches: int, options: Mapping[str, Any]) -> None:
        """Refuses options that cannot be had with glimpses of so many patches.

        Raises:
            ValueError: `max_tokens` is less than what one glimpse shows.
        """
        self._options.check_glimpse_size(patches, options)

    def describe(self, options: Mapping[str, Any]) -> str:
        """Name, K and reduction, e.g. "tore-nano, K = 4, tome:r=4 in the aggregator"."""
        words = [self.config.name, f"K = {self._options.resolve(options)['split_block']}"]
        return ", ".join(filter(None, [*words, str(self._options.plan(options))]))

    def promises(self, options: Mapping[str, Any]) -> Promises:
        """Glimpses may come in any order, unless tokens are reduced or attention knows of it."""
        reduced = bool(self._options.plan(options).options())
        any_order = not reduced and not self.backbone.asks_for_arrival
        return Promises(ignores_order=any_order, trains=True)

    @property
    def _options(self) -> ToreOptions:
        if self._known_options.config is not self.config:  # which may be replaced
            self._known_options = ToreOptions(self.config, self.backbone)
        return self._known_options

    def parts(self) -> dict[str, EncoderPart]:
        """Backbone, class head, decoder and pixel head; see `encoders.parts`."""
        return tore_parts(self.config, self.backbone, self.decoder, self.state_dict())

    def resized(self, image_size: tuple[int, int]) -> GlimpseEncoder:
        """The encoder for scenes of another size, its position tables fitted to the grid.

        Sine-cosine tables are computed anew, learned ones resampled. The weights are copies.
        """
        height, width = image_size
        if (height, width) == self.config.image_size:
            return self
        config = dataclasses.replace(self.config, image_size=(height, width))
        vit = self.backbone
        resized = build_encoder(config).to(vit.projection.weight)  # its dtype and device
        state = self.state_dict()
        first_rows = {"backbone.vit.pos_embed": vit.first_position_row, "decoder.pos_embed": 1}
        for key, first in first_rows.items():
            if key in state:
                state[key] = fit_positions(state[key], config.grid, first, source_grid=self.grid)
        resized.load_state_dict(state)
        return resized.train(self.training)

    def with_head(self, class_names: tuple[str, ...], seed: int = 0) -> GlimpseEncoder:
        """The encoder with a new, untrained class head; everything else is shared.

        Args:
            class_names: Classes of the new head; the configuration does not list them until it is
                trained.
            seed: Of the head's initial weights.
        """
        config = dataclasses.replace(self.config, num_classes=len(class_names), class_names=None)
        self.backbone.reset_head(len(class_names), seed)
        return GlimpseEncoder(config, self.backbone, self.decoder).train(self.training)

    def without_heads(self) -> GlimpseEncoder:
        """The encoder without class head and decoder; all else is shared."""
        config = dataclasses.replace(
            self.config,
            num_classes=0,
            class_names=None,
            decoder=None,
            patch_normalised_pixels=False,
        )
        self.backbone.reset_head(0, 0)
        return GlimpseEncoder(config, self.backbone).train(self.training)

    def with_reduction(self, **options: Any) -> GlimpseEncoder:
        """The encoder with other reductions of its own; weights are shared.

        Args:
            **options: `reduction`, `reduction_in` and `max_tokens`; those left out stay.

        Raises:
            ValueError: They cannot be run here.
        """
        config = dataclasses.replace(self.config, **options)
        require_reduction(options.get("reduction_in"), make_plan(vars(config)).reduction)
        return GlimpseEncoder(config, self.backbone, self.decoder).train(self.training)

    def init_state(self, batch_size: int, capacity: int | None = None) -> ToreState:
        """An empty cache on the encoder's device.

        Args:
            batch_size: Rows.
            capacity: Patch tokens to make room for in each row; all of the grid by default. The
                cache grows when that is not enough.
        """
        return ToreState.empty(batch_size, capacity or self.grid[0] * self.grid[1], self.backbone)

    @torch.no_grad()
    def observe(
        self,
        patches: Tensor,
        patch_ids: Tensor,
        state: ToreState,
        split_block: int | Tensor | None = None,
        outputs: Collection[str] = ("latent", "logits"),
        **options: Any,
    ) -> Observed:
        """Takes in one glimpse per row; no gradients (see `forward` for training).

        Args:
            patches: float `[B, n, 3, p, p]`, normalised.
            patch_ids: int64 `[B, n]`, row-major grid ids, best on the CPU; -1 = padding. A row of
                padding alone keeps its cache.
            state: Cache of the B rows; updated in place.
            split_block: TORE's K in [0, depth], one for all or int64 `[B]`; None = the default.
            outputs: Which parts of the belief to compute, of `OUTPUTS`.
            **options: `reduction`, `reduction_in` and `max_tokens`; see `resolve_options`.

        Returns:
            The belief after this glimpse, the state, and what that took; unpacks as the first two.

        Raises:
            ValueError: Shapes, ids, K, outputs or options that do not fit; a K other than the
                cached one.
        """
        outputs = self._check_outputs(outputs)
        plan = self._options.plan_of_call(options)
        patch_ids = checked_glimpse(self.config, patches, patch_ids, len(state))
        new = (patch_ids.numpy() >= 0).sum(1)
        if plan.max_tokens:
            self.check_glimpse_size(int(new.max(initial=0)), options)
        if isinstance(split_block, Tensor) and split_block.ndim:
            observe = functools.partial(self.observe, outputs=outputs, **options)
            return observe_by_split(observe, patches, patch_ids, state, split_block)
        split = self._options.split(split_block)
        state.require_split(split)
        cached, seen = state.token_counts.numpy().copy(), state.patches.numpy() + new
        counts = StepCounts(new, cached, seen)
        extraction = self._extraction(plan, split)
        glimpse, counts.extracted = tore.extract(
            self.backbone, patches, patch_ids, split, extraction
        )
        if plan.halts_in_extractor:
            state.hold_depths()
        halted = None if extraction is None else extraction.halted_after
        state.append(glimpse, patch_ids, split, halted)
        if plan.max_tokens:
            held = state.token_counts.numpy()
            counts.merging = self._ledger.blocks.merging(held, plan.max_tokens)
            state.bound(plan.max_tokens, room=int(new.max(initial=0)))
        unseen = state.glimpse_counts.numpy() == 0
        if unseen.any():
            alone = self._extraction(plan, split)
            nothing = tore.extract_nothing(self.backbone, split, 1, alone).values
            rows = torch.from_numpy(unseen).to(state.buffer.device)
            state.buffer[rows, : state.num_prefix_tokens] = nothing.to(state.buffer.dtype)
        if sums_suffice(self.backbone, split, outputs):
            token, added = class_token_from_sums(self.backbone, state)
            counts.late = added - new  # of steps that asked for more
            belief = self._read_out(TokenSet(token, num_prefix_tokens=1), outputs)
        else:
            depths = state.depths if plan.halts_in_extractor else None
            belief, aggregated = self._believe(
                state.sequence(), split, outputs, plan, depths=depths
            )
            counts.aggregated, counts.kept = aggregated.counts, aggregated.kept
        return Observed(belief, state, counts.cost(self._ledger, split, outputs, plan))

    @torch.no_grad()
    def prior(
        self,
        outputs: Collection[str] = ("latent", "logits"),
        split_block: int | None = None,
        **options: Any,
    ) -> Belief:
        """The belief before any glimpse, batch of one: a constant of the weights."""
        outputs = self._check_outputs(outputs)
        split, plan = self._options.split(split_block), self._options.plan_of_call(options)
        alone = self._extraction(plan, split)
        nothing = tore.extract_nothing(self.backbone, split, 1, alone)
        depths = nothing.source if plan.halts_in_extractor else None  # zeros
        return self._believe(nothing, split, outputs, plan, depths=depths)[0]

    def forward(
        self,
        patches: Tensor,
        patch_ids: Tensor,
        split_block: int | None = None,
        outputs: Collection[str] = ("latent", "logits"),
        **options: Any,
    ) -> Belief:
        """All glimpses of an episode at once, with gradients.

        Args:
            patches: float `[B, T, n, 3, p, p]`, normalised: T glimpses of n patches.
            patch_ids: int64 `[B, T, n]`; -1 = padding; a glimpse may be padding altogether.
            split_block: TORE's K in [0, depth]; None = the encoder's default.
            outputs: Which parts of the belief to compute, of `OUTPUTS`.
            **options: As for `observe`.

        Returns:
            The belief after the last glimpse; equal to that of `observe` glimpse after glimpse.
        """
        outputs = self._check_outputs(outputs)
        split, plan = self._options.split(split_block), self._options.plan_of_call(options)
        extraction = self._extraction(plan, split)
        tokens = tore.extract_all(
            self.backbone,
            patches,
            patch_ids,
            split,
            extraction,
            self._extraction(plan, split),
            plan.max_tokens,
        )
        depths = None
        if plan.halts_in_extractor:
            assert tokens.source is not None  # the extractor knows it
            depths = blocks_of_patches(
                None if extraction is None else extraction.halted_after,
                patch_ids,
                torch.zeros_like(tokens.source),
                num_prefix_tokens=self.backbone.num_prefix_tokens,
                blocks=split,
            )
        return self._believe(tokens, split, outputs, plan, extraction, depths)[0]

    def forward_full(
        self, images: Tensor, outputs: Collection[str] = ("latent", "logits"), **options: Any
    ) -> Belief:
        """The Vision Transformer on all patches of normalised images `[B, 3, H, W]`.

        Nothing is recycled; tokens are reduced in all blocks where the options, or the encoder's
        own, say so for the aggregator.
        """
        check_images(self.config, images)
        patches = pixel_layout.patchify(images, self.config.patch_size)
        ids = torch.arange(patches.shape[1]).expand(len(images), 1, -1)
        return self(patches[:, None], ids, split_block=0, outputs=outputs, **options)

    def embed(self, images: Tensor) -> Tensor:
        """All patches of normalised images `[B, 3, H, W]` before the first block, `[B, G, D]`."""
        check_images(self.config, images)
        patches = pixel_layout.patchify(images, self.config.patch_size)
        ids = torch.arange(patches.shape[1], device=images.device)
        return self.backbone.embed_patches(patches, ids.expand(len(images), -1))

    def forward_embedded(
        self, embedded: Tensor, outputs: Collection[str] = ("latent", "logits")
    ) -> Belief:
        """The plain Vision Transformer on what `embed` returned, no token reduced, with gradients.

        Args:
            embedded: `[B, G, D]`, patches in row-major order.
            outputs: Which parts of the belief to compute, of `OUTPUTS`.
        """
        outputs = self._check_outputs(outputs)
        batch, count, _ = embedded.shape
        prefix = self.backbone.embed_prefix(batch).to(embedded)
        source = torch.arange(1, count + 1, device=embedded.device).expand(batch, -1)
        first = self.backbone.num_prefix_tokens
        values = torch.cat([prefix, embedded], dim=1)
        tokens = TokenSet(values, source=source, num_prefix_tokens=first)
        return self._believe(tokens, 0, outputs, ReductionPlan())[0]

    def forward_divided(
        self,
        images: Tensor,
        parts: Tensor,
        split_block: int | None = None,
        outputs: Collection[str] = ("latent", "logits"),
        **options: Any,
    ) -> Belief:
        """TORE on whole images divided into parts, each a glimpse of its own.

        Args:
            images: float `[B, 3, H, W]`, normalised.
            parts: int64 `[grid_h, grid_w]`: part label 0..M-1 of every patch; sizes may differ, and
                patches labelled -1 belong to no part and are not seen.
            split_block: TORE's K.
            outputs: Which parts of the belief to compute.
            **options: As for `observe`.
        """
        check_images(self.config, images)
        labels = torch.as_tensor(parts).flatten().cpu()
        if labels.numel() != self.grid[0] * self.grid[1]:
            raise ValueError(f"parts of shape {tuple(parts.shape)}, expected {self.grid}")
        groups = [(labels == label).nonzero()[:, 0] for label in labels.unique() if label >= 0]
        longest = max((len(group) for group in groups), default=0)
        ids = torch.full((len(groups), longest), -1)
        for row, group in enumerate(groups):
            ids[row, : len(group)] = group
        patches = pixel_layout.patchify(images, self.config.patch_size)
        chosen = patches[:, ids.clamp(min=0).to(images.device)]
        return self(chosen, ids.expand(len(images), -1, -1), split_block, outputs, **options)

    def flops(
        self,
        new_tokens: int | Sequence[int] | np.ndarray,
        cached_tokens: int | Sequence[int] | np.ndarray,
        split_block: int | np.ndarray | None = None,
        outputs: Collection[str] = ("latent", "logits"),
        **options: Any,
    ) -> FlopCount:
        """Multiply-accumulates of one `observe` per row; see `encoders.flops`.

        Where tokens halt by what they hold (A-ViT), an upper bound.

        Args:
            new_tokens: Patches of the new glimpse that are encoded.
            cached_tokens: Patch tokens cached before this step.
            split_block: TORE's K; None = the encoder's default.
            outputs: Parts of the belief that are computed.
            **options: As for `observe`.
        """
        outputs, plan = self._check_outputs(outputs), self._options.plan_of_call(options)
        split = self.default_split_block if split_block is None else split_block
        return self._ledger.count(
            new_tokens, cached_tokens, split_block=split, outputs=outputs, plan=plan
        )

    def _extraction(self, plan: ReductionPlan, split_block: int) -> ReductionPass | None:
        """A pass of what the extractor reduces; None where it does not."""
        if plan.in_extractor is None:
            return None
        return make_pass(plan.in_extractor, self.depth, 0, split_block)

    def _believe(
        self,
        tokens: TokenSet,
        split_block: int,
        outputs: frozenset[str],
        plan: ReductionPlan,
        extraction: ReductionPass | None = None,
        depths: Tensor | None = None,
    ) -> tuple[Belief, Aggregation]:
        """The belief that the aggregator makes of tokens, and what it ran for that."""
        aggregated = aggregate(self.backbone, tokens, split_block, outputs, plan)
        belief = self._read_out(aggregated.tokens, outputs)
        if plan.options():
            first = self.backbone.num_prefix_tokens
            belief.reduced = aggregated.trace(first, extraction, depths)
        return belief, aggregated

    def _read_out(self, tokens: TokenSet, outputs: frozenset[str]) -> Belief:
        return read_out(self.backbone, self.heads, self.decoder, tokens, outputs)

    def _check_outputs(self, outputs: Collection[str]) -> frozenset[str]:
        chosen = frozenset([outputs] if isinstance(outputs, str) else outputs)
        if unknown := sorted(chosen.difference(OUTPUTS)):
            raise ValueError(f"unknown outputs {unknown}; choose from {list(OUTPUTS)}")
        if self.decoder is None and (asked := sorted(chosen.intersection(DECODER_OUTPUTS))):
            raise ValueError(f"outputs {asked} need a decoder, and {self.config.name!r} has none")
        if "logits" in chosen and self.config.num_classes == 0:
            raise ValueError(f"'logits' need a class head, and {self.config.name!r} has none")
        return chosen


def build_encoder(config: EncoderConfig, seed: int = 0) -> GlimpseEncoder:
    """Builds an encoder with random weights, in evaluation mode, on the CPU.

    Args:
        config: What to build.
        seed: Of the initial weights; torch's global generator is left as it was.

    Raises:
        ValueError: A model that TORE cannot split, or arguments it does not know.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vit = PatchVit(make_vit(config))
        decoder = None
        if config.decoder is not None:
            decoder = GlimpseDecoder(config.decoder, vit.width, config.grid, config.patch_size)
    encoder = GlimpseEncoder(config, vit, decoder)
    if config.norm_eps is not None:
        for module in encoder.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = config.norm_eps
    return encoder.eval()

"""A timm Vision Transformer taken apart: embed chosen patches, run some blocks, pool, classify."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.config import EncoderConfig
from encoders.layers.angular import angular_layer
from encoders.layers.calls import call
from encoders.layers.heads import Head
from encoders.layers.positions import resample_as_dino
from encoders.layers.transformer import OWN_OPTIONS, PLAIN_OPTIONS, PlainVisionTransformer
from encoders.layers.vit import BlockCount, TokenSet, run_block
from encoders.protocol import DECODER_OUTPUTS
from encoders.reduction.base import ReductionPass
from encoders.support.choices import AttentionKind

_DECODED = frozenset(DECODER_OUTPUTS)


class PatchVit(nn.Module):
    """A plain timm `VisionTransformer` that can be fed any set of patches, block by block.

    Prefix tokens are whatever stands before the patches in the model: class token, distillation
    token, registers. They travel together.

    Args:
        vit: The model; its weights are used as they are.

    Raises:
        ValueError: The model has parts whose behaviour on a subset of patches is not known here.
    """

    def __init__(self, vit: nn.Module) -> None:
        super().__init__()
        self.vit: Any  # torch types the attributes of modules as tensors or modules
        self.vit = plain = _plain_vit(vit)
        self.distilled = getattr(plain, "dist_token", None) is not None
        self.depth = len(plain.blocks)
        self.width: int = plain.embed_dim
        self.num_prefix_tokens: int = plain.num_prefix_tokens
        self.patch_size: int = plain.patch_embed.patch_size[0]
        self.grid: tuple[int, int] = tuple(plain.patch_embed.grid_size)
        self.pools_patches: bool = plain.global_pool == "avg"

    @property
    def projection(self) -> nn.Conv2d:
        """The patch embedding's layer, whose dtype and device are those of the model."""
        return self.vit.patch_embed.proj

    @property
    def blocks(self) -> nn.Sequential:
        """The transformer blocks."""
        return self.vit.blocks

    @property
    def attention(self) -> AttentionKind:
        """How the blocks attend."""
        return "softmax" if angular_layer(self.blocks[0]) is None else "angular"

    @property
    def knows_places(self) -> bool:
        """Whether blocks ask where in the grid a token's patch lies."""
        layer = angular_layer(self.blocks[0])
        return layer is not None and layer.order == "grid"

    @property
    def asks_for_arrival(self) -> bool:
        """Whether blocks ask in which order tokens came."""
        layer = angular_layer(self.blocks[0])
        return layer is not None and layer.order == "arrival"

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.projection.weight.device

    @property
    def first_position_row(self) -> int:
        """Row of the position table that belongs to patch 0; those before it are the prefix's."""
        return 0 if self.vit.no_embed_class else self.num_prefix_tokens

    @property
    def heads(self) -> dict[str, Head]:
        """The model's class head by the output it makes: `logits`, or nothing."""
        layers = (getattr(self.vit, name, None) for name in ("head", "head_dist"))
        linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
        if not linear:
            return {}
        return {"logits": Head(self.classify, sum(layer.weight.numel() for layer in linear))}

    def reset_head(self, num_classes: int, seed: int) -> None:
        """Gives the model a new, untrained class head.

        Args:
            num_classes: Its outputs.
            seed: Of its initial weights; torch's global generator is left as it was.
        """
        device = self.device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.vit.reset_classifier(num_classes)
            for name in ("head", "head_dist"):
                if isinstance(head := getattr(self.vit, name, None), nn.Linear):
                    nn.init.trunc_normal_(head.weight, std=0.02)
                    nn.init.zeros_(head.bias)
        self.vit.to(device)

    def on_grid(self, grid: tuple[int, int]) -> PatchVit:
        """The same model for images of another grid, its positions resampled as DINO does.

        All weights are shared, and gradients flow into the position table.

        Args:
            grid: Rows and columns of patches.
        """
        if grid == self.grid:
            return self
        table = self.vit.pos_embed
        vit = copy.copy(self.vit)
        if table is not None:
            vit._parameters = {
                name: each for name, each in vit._parameters.items() if name != "pos_embed"
            }
            vit.pos_embed = resample_as_dino(table, grid, self.first_position_row, self.grid)
        other = copy.copy(self)
        other._modules = {**self._modules, "vit": vit}
        other.grid = grid
        return other

    def embed_patches(self, patches: Tensor, patch_ids: Tensor) -> Tensor:
        """Projects patches and adds the position rows of their ids.

        Args:
            patches: float `[B, n, 3, p, p]`, normalised.
            patch_ids: int64 `[B, n]`, row-major; entries of -1 get row 0 and must be masked later.

        Returns:
            `[B, n, D]`.
        """
        vit = self.vit
        projection = vit.patch_embed.proj
        # The convolution's stride is its kernel size, so on single patches it is a linear layer.
        tokens = F.linear(patches.flatten(2), projection.weight.flatten(1), projection.bias)
        tokens = call(vit.patch_embed.norm, tokens)
        if vit.pos_embed is not None:
            # Not by indexing, whose gradients several threads add up in any order.
            table = vit.pos_embed[0, self.first_position_row :]
            tokens = tokens + F.embedding(patch_ids.clamp(min=0), table)
        return call(vit.norm_pre, call(vit.pos_drop, tokens))

    def embed_prefix(self, batch_size: int) -> Tensor:
        """Returns the prefix tokens with their position rows, `[B, P, D]`."""
        vit = self.vit
        tokens = [
            token
            for name in ("cls_token", "dist_token", "reg_token")
            if (token := getattr(vit, name, None)) is not None
        ]
        if not tokens:
            return vit.patch_embed.proj.weight.new_zeros(batch_size, 0, self.width)
        prefix = tokens[0] if len(tokens) == 1 else torch.cat(tokens, dim=1)
        if vit.pos_embed is not None and not vit.no_embed_class:
            prefix = prefix + vit.pos_embed[:, : self.num_prefix_tokens]
        return call(vit.norm_pre, call(vit.pos_drop, prefix)).expand(batch_size, -1, -1)

    def leading_tokens(self, outputs: Collection[str]) -> int | None:
        """How many tokens, from the first, the parts of a belief are made of; None = all.

        The latent and the class logits of a model with a class token read it alone (a distilled
        DeiT's its second token too), so that the last block need not finish the others.
        """
        if self.pools_patches or "tokens" in outputs or not _DECODED.isdisjoint(outputs):
            return None
        return 2 if self.distilled else 1

    def run_blocks(
        self,
        tokens: TokenSet,
        start: int,
        stop: int,
        reduction: ReductionPass | None = None,
        *,
        leading: int | None = None,
    ) -> tuple[TokenSet, dict[int, BlockCount]]:
        """Runs blocks `start..stop-1`.

        Args:
            tokens: Prefix and patch tokens.
            start: First block.
            stop: One past the last block.
            reduction: What takes tokens away on the way; made for this call alone.
            leading: How many tokens, from the first, are wanted in the end: the last of these
                blocks then computes no others, unless the reduction needs them. None = all.

        Returns:
            The tokens, and, with a reduction, how many took part in each block.
        """
        counts: dict[int, BlockCount] = {}
        if tokens.values.shape[1] == 0:
            return tokens, counts
        blocks = list(self.blocks)[start:stop]
        if reduction is None:
            for index, block in enumerate(blocks, start):
                wanted = leading if index == stop - 1 else None
                tokens, _ = run_block(block, tokens, leading=wanted)
            return tokens, counts
        tokens = reduction.begin(tokens)
        for index, block in enumerate(blocks, start):
            if not tokens.values.shape[1]:  # all have halted
                counts[index] = BlockCount(tokens.lengths, tokens.lengths)
            else:
                wanted = leading if index == stop - 1 and not reduction.needs_all_tokens else None
                entered = tokens.lengths
                tokens, count = reduction.run(block, index, tokens, leading=wanted)
                counts[index] = count or BlockCount(entered, entered, wanted)
            tokens = reduction.after(index, tokens)
        return reduction.finish(tokens), counts

    def pool(
        self, tokens: Tensor, mask: Tensor | None, sizes: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Final norm and pooling.

        Args:
            tokens: `[B, P+N, D]` after the last block, or the `leading_tokens` of them.
            mask: bool `[B, P+N]`, False for padding; None = no padding.
            sizes: float `[B, P+N]`, how many patches each token stands for, which is what it weighs
                in a mean; None = one each.

        Returns:
            The normalised tokens, as many as were given, and the latent `[B, D]`: the class token
            (averaged with the distillation token of a distilled DeiT), or the mean of the patch
            tokens where the model pools so.
        """
        tokens = call(self.vit.norm, tokens)
        if self.pools_patches:
            first = 0 if self.vit.pool_include_prefix else self.num_prefix_tokens
            kept = tokens[:, first:]
            if mask is None and sizes is None:
                pooled = kept.sum(1) / max(kept.shape[1], 1)
            else:
                weights = torch.ones_like(kept[..., :1])
                if mask is not None:
                    weights = mask[:, first:, None].to(kept.dtype)
                if sizes is not None:
                    weights = weights * sizes[:, first:, None].to(kept.dtype)
                pooled = (kept * weights).sum(1) / weights.sum(1).clamp(min=1)
            return tokens, self.vit.fc_norm(pooled)
        if self.distilled:
            return tokens, tokens[:, :2].mean(1)
        return tokens, call(self.vit.fc_norm, tokens[:, 0])

    def classify(self, tokens: Tensor, latent: Tensor) -> Tensor:
        """Class logits `[B, C]` from what `pool` returned."""
        if self.distilled:
            return self.vit.forward_head(tokens)
        return call(self.vit.head, call(self.vit.head_drop, latent))


def make_vit(config: EncoderConfig) -> nn.Module:
    """Makes the model that a configuration names or spells out, with random weights.

    timm, which takes seconds to import, is left alone where the model is plain.

    Raises:
        ValueError: Arguments that timm does not know.
    """
    sizes: dict[str, Any] = {"img_size": config.image_size, "num_classes": config.num_classes}
    if config.timm_model is None and config.vit.keys() <= PLAIN_OPTIONS | OWN_OPTIONS:
        return PlainVisionTransformer(patch_size=config.patch_size, **sizes, **config.vit)
    import timm
    from timm.models.deit import VisionTransformerDistilled
    from timm.models.vision_transformer import VisionTransformer

    if config.timm_model is not None:
        return timm.create_model(config.timm_model, pretrained=False, **sizes, **config.vit)
    arguments = dict(config.vit)
    family = VisionTransformerDistilled if arguments.pop("distilled", False) else VisionTransformer
    try:
        return family(patch_size=config.patch_size, **sizes, **arguments)
    except TypeError as error:
        raise ValueError(f"cannot build a Vision Transformer from {arguments}: {error}") from error


def _plain_vit(vit: Any) -> Any:
    """Returns the model, or refuses parts that are not known here."""
    if isinstance(vit, PlainVisionTransformer):
        return vit
    from timm.models.vision_transformer import Attention, Block, VisionTransformer

    if not isinstance(vit, VisionTransformer):
        raise ValueError(
            f"{type(vit).__name__} is not a plain timm VisionTransformer; "
            "choose one, e.g. 'deit_small_patch16_224'"
        )
    refused = None
    if vit.global_pool not in ("token", "avg"):
        refused = f"global_pool={vit.global_pool!r} (expected 'token' or 'avg')"
    elif vit.patch_embed.patch_size[0] != vit.patch_embed.patch_size[1]:
        refused = f"patches of {vit.patch_embed.patch_size} pixels (expected squares)"
    elif type(vit.patch_embed.proj) is not nn.Conv2d:
        refused = f"a {type(vit.patch_embed.proj).__name__} patch embedding (expected Conv2d)"
    else:
        for block in vit.blocks:
            if type(block) is not Block:
                refused = f"{type(block).__name__} blocks (expected Block)"
            elif type(block.attn) is not Attention:
                refused = f"{type(block.attn).__name__} layers (expected Attention)"
    if refused:
        raise ValueError(
            f"this Vision Transformer has {refused}, which cannot be split into an extractor and "
            "an aggregator here"
        )
    return vit

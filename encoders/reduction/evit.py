"""EViT: the patches to which the class token attends least are dropped, or fused into one.

Source: Liang et al., "Not All Patches are What You Need: Expediting Vision Transformers via Token
Reorganizations", ICLR 2022, section 3.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.layers import vit
from encoders.layers.vit import Attended, TokenSet
from encoders.reduction.base import ReductionPass
from encoders.reduction.config import Evit


def class_attention(attended: Attended, num_prefix_tokens: int) -> Tensor:
    """How much the class token attends to each patch token, mean over heads, `[B, n - P]`."""
    return attended.attention[:, :, 0, num_prefix_tokens:].mean(1)


def rank(tokens: TokenSet, scores: Tensor, kept: Tensor) -> Tensor:
    """Patch tokens in the order in which they are kept.

    Args:
        tokens: Prefix and patch tokens, padding anywhere.
        scores: float `[B, n - P]`, one for each patch token; those of padding do not matter.
        kept: int64 `[B]`, how many of each row will be kept.

    Returns:
        int64 `[B, n - P]`: the highest score first, of equal ones the earlier token; rows that keep
        everything in their own order; padding last.
    """
    valid = _valid_patches(tokens)
    keeps_all = (kept >= valid.sum(1))[:, None]
    own_order = torch.arange(scores.shape[1], 0, -1, device=scores.device, dtype=scores.dtype)
    ranked = torch.where(keeps_all, own_order, scores).masked_fill(~valid, -torch.inf)
    return ranked.argsort(dim=1, descending=True, stable=True)


def keep_first(tokens: TokenSet, order: Tensor, kept: Tensor) -> TokenSet:
    """The prefix tokens and the first patch tokens of an order.

    Args:
        tokens: Prefix and patch tokens.
        order: int64 `[B, n - P]`, as `rank` returns it.
        kept: int64 `[B]`, how many patch tokens of each row to keep.
    """
    first = tokens.num_prefix_tokens
    prefix = torch.arange(first, device=order.device).expand(len(order), -1)
    longest = int(kept.max()) if len(kept) else 0
    return tokens.take(torch.cat([prefix, order[:, :longest] + first], 1), kept + first)


def fuse_rest(
    tokens: TokenSet, chosen: TokenSet, order: Tensor, kept: Tensor, weights: Tensor, fill: str
) -> TokenSet:
    """Adds what was not kept as one more token, weighted by attention, at the end of each row.

    The weights are not made to sum to one, as published. Rows that keep everything get no token.

    Args:
        tokens: All tokens.
        chosen: What `keep_first` made of them.
        order: int64 `[B, n - P]`, as given to it.
        kept: int64 `[B]`, as given to it.
        weights: float `[B, n - P]`, of the patch tokens.
        fill: "fused" lets the token stand for the patches of those fused, "mask" no token.
    """
    first, lengths = tokens.num_prefix_tokens, kept + tokens.num_prefix_tokens
    valid = _valid_patches(tokens)
    rows = kept < valid.sum(1)
    dropped = torch.arange(order.shape[1], device=order.device) >= kept[:, None]
    dropped = torch.zeros_like(valid).scatter(1, order, dropped) & valid
    shares = torch.where(dropped, weights, 0.0).to(tokens.values.dtype)
    # Multiplied and summed, as a matrix product would be an entry of its own in counts of FLOPs.
    fused = (shares[..., None] * tokens.values[:, first:]).sum(1)
    places = torch.arange(int((lengths + rows).max()), device=fused.device)
    extra = len(places) - chosen.values.shape[1]
    here = (places == lengths[:, None]) & rows[:, None]
    values = torch.where(here[..., None], fused[:, None], F.pad(chosen.values, (0, 0, 0, extra)))
    mask = places < (lengths + rows)[:, None]
    sizes, source = chosen.sizes, chosen.source
    if sizes is not None:
        sizes = F.pad(sizes, (0, extra), value=1.0).masked_fill(here, 1.0)
    if source is not None and fill == "fused":
        assert tokens.source is not None  # that of `chosen` was made of it
        stood = (tokens.source > 0) & dropped.gather(1, (tokens.source - 1).clamp(min=0))
        source = torch.where(stood, (kept + 1)[:, None], source)
    return dataclasses.replace(
        chosen, values=values, mask=None if bool(mask.all()) else mask, sizes=sizes, source=source
    )


def _valid_patches(tokens: TokenSet) -> Tensor:
    first = tokens.num_prefix_tokens
    if tokens.mask is not None:
        return tokens.mask[:, first:]
    return torch.ones_like(tokens.values[:, first:, 0], dtype=torch.bool)


class EvitPass(ReductionPass):
    """EViT on the tokens of one pass.

    Args:
        config: Rates, blocks, fusion.
        depth: Blocks of the model.
    """

    def __init__(self, config: Evit, depth: int) -> None:
        self.config = config
        self.depth = depth
        self._sum: Tensor | None = None  # of earlier blocks' attention, where ranking is global

    def within(self, block: int) -> vit.Reduction | None:
        """As `ReductionPass.within`."""
        reducing = [each for each in range(self.depth) if self.config.reduces(each, self.depth)]
        if self.config.ranking == "block":
            if block not in reducing:
                return None
        elif not reducing or block > reducing[-1]:
            return None

        def reduce(tokens: TokenSet, attended: Attended) -> TokenSet:
            return self._reduce(tokens, attended, block)

        return reduce

    def _reduce(self, tokens: TokenSet, attended: Attended, block: int) -> TokenSet:
        config = self.config
        weights = class_attention(attended, tokens.num_prefix_tokens)
        scores = weights
        if config.ranking == "global":
            scores = self._sum = weights if self._sum is None else self._sum + weights
        counts = (tokens.lengths - tokens.num_prefix_tokens).cpu().numpy()
        number = config.patches_kept(counts, block, self.depth)
        if (number == counts).all():
            return tokens
        kept = torch.as_tensor(number, device=scores.device)
        order = rank(tokens, scores, kept)
        chosen = keep_first(tokens, order, kept)
        if self._sum is not None:
            self._sum = self._sum.gather(1, order[:, : int(kept.max())])
        if not config.fuse:
            return chosen
        fused = fuse_rest(tokens, chosen, order, kept, weights, config.fill)
        if self._sum is not None:
            self._sum = self._add_fused(scores, weights, order, kept, fused)
        return fused

    def _add_fused(
        self, scores: Tensor, weights: Tensor, order: Tensor, kept: Tensor, fused: TokenSet
    ) -> Tensor:
        """The sums with that of the fused token: the weighted mean of those it is made of."""
        assert self._sum is not None
        places = torch.arange(order.shape[1], device=order.device)
        shares = weights.gather(1, order) * (places >= kept[:, None])
        mean = (shares * scores.gather(1, order)).sum(1) / shares.sum(1).clamp(min=1e-12)
        missing = fused.values.shape[1] - fused.num_prefix_tokens - self._sum.shape[1]
        sums = F.pad(self._sum, (0, missing))
        return torch.where(places[: sums.shape[1]] == kept[:, None], mean[:, None], sums)

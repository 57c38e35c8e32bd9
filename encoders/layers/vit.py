"""Transformer blocks like timm's, run one at a time: the one place where blocks run."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.layers.angular import AngularAttention, angular_layer, neighbours
from encoders.layers.calls import call, call_rows, is_plain_attention, run_mlp


@dataclasses.dataclass(frozen=True, eq=False)
class TokenSet:
    """Tokens of B rows on their way through blocks.

    Attributes:
        values: `[B, n, D]`: prefix tokens, then patch tokens.
        mask: bool `[B, n]`, False for padding that nobody may attend to; None = no padding.
        sizes: float `[B, n]`, how many patches each token stands for; None = one each. Attention to
            a token weighs its size: the logarithm is added to the scores.
        source: int64 `[B, G]`, which patch token stands for each patch of the grid, counted from 1;
            0 = none, -1 = the patch was seen, but no token stands for it any more. None where
            nobody asks.
        num_prefix_tokens: Tokens before the patches'; no reduction takes them away.
        proportional: Whether attention weighs sizes.
    """

    values: Tensor
    mask: Tensor | None = None
    sizes: Tensor | None = None
    source: Tensor | None = None
    num_prefix_tokens: int = 0
    proportional: bool = True

    @functools.cached_property
    def bias(self) -> Tensor | None:
        """What is added to attention scores, `[B, 1, 1, n]`; None for nothing."""
        weighs = self.sizes is not None and self.proportional
        if self.mask is None and not weighs:
            return None
        values = self.values
        bias = values.new_zeros(values.shape[:2])
        if weighs:
            assert self.sizes is not None
            bias = self.sizes.to(values.dtype).log()
        if self.mask is not None:
            # Added to the scores; timm's explicit attention would also add a mask of booleans.
            bias = bias.masked_fill(~self.mask, torch.finfo(values.dtype).min)
        return bias[:, None, None, :]

    def near(self, layer: AngularAttention) -> Tensor | None:
        """Which tokens lie next to each in a layer's depthwise branch; see `neighbours`."""
        key = f"near-{layer.order}-{layer.reach}"
        if key not in vars(self):
            vars(self)[key] = neighbours(
                layer.order,
                layer.reach,
                self.values.shape[1],
                mask=self.mask,
                source=self.source,
                num_prefix_tokens=self.num_prefix_tokens,
            )
        return vars(self)[key]

    @property
    def lengths(self) -> Tensor:
        """Tokens of every row without padding, int64 `[B]`."""
        batch, count, _ = self.values.shape
        if self.mask is None:
            return torch.full((batch,), count, device=self.values.device)
        return self.mask.sum(1)

    def without_padding(self) -> TokenSet:
        """The same tokens, each row's padding after them and as little of it as possible."""
        if self.mask is None:
            return self
        lengths = self.mask.sum(1)
        longest = int(lengths.max()) if len(lengths) else 0
        places = torch.arange(self.mask.shape[1], device=self.mask.device)
        if bool((self.mask == (places < lengths[:, None])).all()):
            if longest == len(places):
                return dataclasses.replace(self, mask=None) if bool(self.mask.all()) else self
            index = places[:longest].expand(len(lengths), -1)
        else:
            index = (~self.mask).byte().argsort(dim=1, stable=True)[:, :longest]
        return self.take(index, lengths)

    def take(self, index: Tensor, lengths: Tensor) -> TokenSet:
        """Some of the tokens in another order; patches of the others have no token any more.

        Args:
            index: int64 `[B, m]`, which tokens, prefix tokens first.
            lengths: int64 `[B]`, how many of each row are not padding.
        """
        batch, count = self.values.shape[:2]
        places = torch.arange(index.shape[1], device=index.device).expand(batch, -1)
        valid = places < lengths[:, None]
        # Of every token the place it goes to; tokens that go nowhere are told apart below.
        moved = index.new_full((batch, count + 1), -1)
        moved.scatter_(1, torch.where(valid, index, count), places)
        gathered = index[..., None].expand(-1, -1, self.values.shape[2])
        return dataclasses.replace(
            self,
            values=self.values.gather(1, gathered),
            mask=None if bool(valid.all()) else valid,
            sizes=None if self.sizes is None else self.sizes.gather(1, index),
            source=self.moved_source(moved),
        )

    def moved_source(self, moved: Tensor) -> Tensor | None:
        """`source` when tokens go to other places.

        Args:
            moved: int64 `[B, n or more]`, of each token the place among all tokens that now stands
                for it; -1 = none.
        """
        if self.source is None:
            return None
        first = self.num_prefix_tokens
        places = moved.gather(1, (self.source + first - 1).clamp(min=0))
        places = torch.where(places < 0, places, places + 1 - first)
        return torch.where(self.source > 0, places, self.source)

    def first(self, count: int) -> TokenSet:
        """The first prefix tokens alone; `source` goes on saying what stood for the patches."""
        mask, sizes = (
            None if each is None else each[:, :count] for each in (self.mask, self.sizes)
        )
        return TokenSet(self.values[:, :count], mask, sizes, self.source, count, self.proportional)

    def with_values(self, values: Tensor) -> TokenSet:
        """The same tokens after a layer."""
        changed = TokenSet(
            values,
            self.mask,
            self.sizes,
            self.source,
            self.num_prefix_tokens,
            self.proportional,
        )
        # What is computed once for all blocks.
        if "bias" in vars(self) and values.dtype == self.values.dtype:
            vars(changed)["bias"] = self.bias
        for name in vars(self):
            if name.startswith("near-"):
                vars(changed)[name] = vars(self)[name]
        return changed


class Attended(NamedTuple):
    """What a block's attention has computed.

    Attributes:
        attention: `[B, heads, n, n]`, softmax over the last axis, at least float32; may be empty
            for a reduction that does not read it.
        keys: `[B, heads, n, d]`.
    """

    attention: Tensor
    keys: Tensor


class Reduction(Protocol):
    """Takes tokens away between the attention and the MLP of a block.

    One with the attribute `reads_attention` False is given keys alone, which lets the attention run
    fused.
    """

    def __call__(self, tokens: TokenSet, attended: Attended) -> TokenSet:
        """The tokens that go on: fewer, with sizes and source brought up to date.

        Args:
            tokens: After the attention of the block.
            attended: What that attention was.
        """


NO_WEIGHTS = (
    "angular attention has no attention weights, which reductions and attention maps read; choose "
    "an encoder with softmax attention, or leave them out"
)


class BlockCount(NamedTuple):
    """How many tokens of every row went through a block, int64 `[B]`, for the FLOPs ledger.

    Attributes:
        attention: Tokens in its attention.
        mlp: Tokens in its MLP.
        leading: How many tokens came out, from the first, where the others were keys and values
            alone; None = all.
    """

    attention: Tensor
    mlp: Tensor
    leading: int | None = None


def run_block(
    block: Any,
    tokens: TokenSet,
    reduction: Reduction | None = None,
    *,
    leading: int | None = None,
) -> tuple[TokenSet, BlockCount | None]:
    """Runs one block.

    Args:
        block: A timm pre-norm block.
        tokens: What goes in.
        reduction: What takes tokens away between its attention and its MLP; None = nothing.
        leading: How many tokens, from the first, come out: prefix tokens, of a last block. The
            others are keys and values alone, and a reduction, which takes no prefix token away,
            is passed over. None = all.

    Returns:
        What comes out, and how many tokens took part where a reduction may have changed that.
    """
    modules = block._modules  # looking up attributes of modules takes longer
    layer, count = modules["attn"], None
    values = tokens.values
    entering = call(modules["norm1"], values)
    if (angular := angular_layer(block)) is not None:
        if reduction is not None:
            raise ValueError(NO_WEIGHTS)
        leading = None if leading is None or leading >= values.shape[1] else leading
        mixed = angular(entering, tokens.mask, tokens.near(angular), leading)
        tokens = tokens if leading is None else tokens.first(leading)
        return tokens.with_values(after_attention(block, tokens.values, mixed)), None
    bias = tokens.bias
    if leading is not None and leading < values.shape[1]:
        mixed, _ = _attend(layer, entering, bias, leading=leading)
        tokens = tokens.first(leading)
        values = tokens.values + call(modules["drop_path1"], call(modules["ls1"], mixed))
    elif reduction is None:
        mixed, _ = _attend(layer, entering, bias)
        values = values + call(modules["drop_path1"], call(modules["ls1"], mixed))
    else:
        reads: Literal["all", "keys"]
        reads = "all" if getattr(reduction, "reads_attention", True) else "keys"
        mixed, attended = _attend(layer, entering, bias, explain=reads)
        assert attended is not None  # asked for
        values = values + call(modules["drop_path1"], call(modules["ls1"], mixed))
        entered = tokens.with_values(values)
        tokens = reduction(entered, attended)
        count = BlockCount(entered.lengths, tokens.lengths)
        values = tokens.values
    return tokens.with_values(_with_mlp(modules, values)), count


def after_attention(block: Any, values: Tensor, mixed: Tensor) -> Tensor:
    """The rest of a block.

    Args:
        block: A pre-norm block.
        values: `[B, n, D]`, what went in.
        mixed: `[B, n, D]`, what its attention made of it.
    """
    modules = block._modules
    values = values + call(modules["drop_path1"], call(modules["ls1"], mixed))
    return _with_mlp(modules, values)


def _with_mlp(modules: Any, values: Tensor) -> Tensor:
    after = run_mlp(modules["mlp"], call(modules["norm2"], values))
    return values + call(modules["drop_path2"], call(modules["ls2"], after))


def run_block_with_attention(block: Any, tokens: TokenSet) -> tuple[TokenSet, Tensor]:
    """Runs one block and also returns its softmax attention `[B, heads, n, n]`."""
    kept: list[Tensor] = []

    def keep(tokens: TokenSet, attended: Attended) -> TokenSet:
        kept.append(attended.attention)
        return tokens

    after, _ = run_block(block, tokens, keep)
    return after, kept[0]


def _attend(
    layer: Any,
    values: Tensor,
    bias: Tensor | None,
    *,
    leading: int | None = None,
    explain: Literal["all", "keys"] | None = None,
) -> tuple[Tensor, Attended | None]:
    """Runs an attention layer.

    Args:
        layer: A timm `Attention`.
        values: `[B, n, D]`, after the block's norm.
        bias: What is added to the scores, `[B, 1, 1, n]`; None = nothing.
        leading: How many tokens, from the first, attend; the others are attended to. None = all.
        explain: Also return what the attention was: "all", for which the products are written out,
            or the keys alone.

    Returns:
        `[B, n, D]`, or `[B, leading, D]`; and what the attention was, if that was asked for.
    """
    if leading is None and explain is None and not is_plain_attention(layer):
        return layer(values, attn_mask=bias), None
    modules, asking = layer._modules, values  # looking up attributes of modules takes longer
    if leading is None:
        query, key, value = _project(layer, values, parts=3)
    else:
        asking = values[:, :leading]
        (query,) = _project(layer, asking, parts=1)
        key, value = _project(layer, values, parts=2, first=1)
    attended = None
    if layer.fused_attn and explain != "all":
        dropout = layer.attn_drop.p if layer.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, bias, dropout)
        if explain is not None:
            attended = Attended(key.new_empty(0), key)
    else:
        attention = _softmax_scores(layer, query, key, bias)
        mixed = call(modules["attn_drop"], attention.to(value.dtype)) @ value
        attended = Attended(attention, key)
    mixed = mixed.transpose(1, 2).flatten(2)
    if (norm := modules.get("norm")) is not None:
        mixed = call(norm, mixed)
    if (gate := modules.get("gate")) is not None:
        mixed = mixed * call(gate, asking).sigmoid()
    return call(modules["proj_drop"], call(modules["proj"], mixed)), attended


def attention_map(block: Any, values: Tensor) -> Tensor:
    """The softmax attention `[B, heads, n, n]` of a block on tokens `[B, n, D]`, and no more.

    Neither values nor the MLP are computed.

    Raises:
        ValueError: A block of angular attention, which has none.
    """
    layer = block.attn
    if isinstance(layer, AngularAttention):
        raise ValueError(NO_WEIGHTS)
    query, key = _project(layer, call(block.norm1, values), parts=2)
    return _softmax_scores(layer, query, key, None)


def attention_map_in_parts(block: Any, values: Tensor, most: int) -> Iterator[Tensor]:
    """`attention_map` of some queries after others, `[B, heads, m, n]` each.

    Args:
        block: A timm pre-norm block.
        values: `[B, n, D]`.
        most: Queries in a part.
    """
    layer = block.attn
    query, key = _project(layer, call(block.norm1, values), parts=2)
    for part in query.split(most, dim=2):
        yield _softmax_scores(layer, part, key, None)


def set_fused_attention(module: nn.Module, enabled: bool) -> None:
    """Chooses between fused and explicit attention in every attention layer of `module`.

    The explicit form is faster to train on CPUs, whose fused backward pass is slow, and the only
    one that `torch.utils.flop_counter` counts on every build.
    """
    # timm's layers and ours have the switch; timm declares it final, for TorchScript.
    layers: list[Any] = [child for child in module.modules() if hasattr(child, "fused_attn")]
    for layer in layers:
        layer.fused_attn = enabled


def _project(layer: Any, values: Tensor, parts: int, first: int = 0) -> tuple[Tensor, ...]:
    """Some of query, key and value (0, 1, 2), from `first` on, each `[B, heads, n, d]`."""
    modules = layer._modules
    batch, count, _ = values.shape
    projection = modules["qkv"]
    if parts == 3:
        projected = call(projection, values)
    else:
        size = projection.out_features // 3
        projected = call_rows(projection, values, first * size, (first + parts) * size)
    projected = projected.view(batch, count, parts, layer.num_heads, -1)
    norms = (modules["q_norm"], modules["k_norm"])[first : first + parts]
    each = list(projected.permute(2, 0, 3, 1, 4).unbind(0))
    for index, norm in enumerate(norms):
        each[index] = call(norm, each[index])
    return tuple(each)


def _softmax_scores(layer: Any, query: Tensor, key: Tensor, bias: Tensor | None) -> Tensor:
    scores = (query * layer.scale) @ key.transpose(-2, -1)
    if scores.dtype in (torch.bfloat16, torch.float16):
        scores = scores.float()
    if bias is not None:
        scores = scores + bias
    return scores.softmax(dim=-1)

"""What a token reduction is: its strength, its schedule over blocks, its text; imports no torch.

A reduction is written as its name and what differs from its defaults, on command lines and in
`config.json` alike::

    evit:keep_rate=0.5,fuse=false      tome:r=8,inflection=-1      avit:gate_center=5      none

Lists have one entry per block, joined by `+`; `-` is an entry that is left open.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np

from encoders.support.validation import Positive, Range, check_fields, did_you_mean

_Rate = typing.Annotated[float, Range(0, 1, open=True)]
_NotNegative = typing.Annotated[int, Range(0)]
_Above = typing.Annotated[float, Range(0, open=True)]
_Epsilon = typing.Annotated[float, Range(0, 0.5, open=True)]


@dataclasses.dataclass(frozen=True)
class Reduction:
    """No reduction, and the base of all others: every token goes through every block."""

    name: ClassVar[str] = "none"
    needs_class_token: ClassVar[bool] = False
    depends_on_data: ClassVar[bool] = False
    """Whether how many tokens go on depends on the tokens, and not on their number alone."""

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def keeps_prefix(self) -> bool:
        """Whether class, distillation and register tokens go through every block."""
        return True

    def __str__(self) -> str:
        """The text that `parse_reduction` reads: name, and what differs from the defaults."""
        changed = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }
        pairs = ",".join(f"{name}={_to_text(value)}" for name, value in changed.items())
        return f"{self.name}:{pairs}" if pairs else self.name

    def check(self, depth: int, patches: int, class_token: bool) -> None:
        """Refuses a model that it cannot be run in.

        Args:
            depth: Blocks of the model.
            patches: Patches of a whole scene.
            class_token: Whether the model has a class token.

        Raises:
            ValueError: It does not fit.
        """
        if self.needs_class_token and not class_token:
            raise ValueError(
                f"reduction {str(self)!r} ranks patches by the class token's attention, and this "
                "encoder has no class token; use tome or avit, or an encoder with a class token"
            )

    def eased(self, share: float) -> Reduction:
        """The reduction with a share of its strength, for the schedules of training.

        Args:
            share: From 0, which takes nothing away, to 1, the reduction itself.
        """
        return self

    def patches_after(self, patches: np.ndarray, block: int, depth: int) -> np.ndarray:
        """How many patch tokens go through the MLP of a block; an upper bound for A-ViT.

        Args:
            patches: Patch tokens in its attention, int64.
            block: Number of the block, from 0.
            depth: Blocks of the model.
        """
        return patches

    def own_cost(self, tokens: np.ndarray, block: int, depth: int, head_width: int) -> np.ndarray:
        """Multiply-accumulates of the reduction itself in a block.

        Args:
            tokens: All tokens in its attention, int64.
            block: Number of the block, from 0.
            depth: Blocks of the model.
            head_width: Channels of one attention head.
        """
        return np.zeros_like(tokens)


@dataclasses.dataclass(frozen=True)
class Evit(Reduction):
    """Drops the patches to which the class token attends least, or fuses them into one token.

    Source: Liang et al., "Not All Patches are What You Need: Expediting Vision Transformers via
    Token Reorganizations", ICLR 2022, section 3.

    Attributes:
        keep_rate: Share of the patch tokens that go on from each reducing block; or a list with
            one rate per block of the model.
        blocks: Blocks that reduce, from 0; None = at a quarter, half and three quarters of the
            depth, as published. Not with lists, which say it themselves.
        tokens: Numbers of patch tokens that are kept, one entry per block, None where a block takes
            nothing away; replaces `keep_rate`.
        fuse: Add one token made of those dropped, weighted by their attention (which does not sum
            to one, as published). It is a patch token like others from then on.
        fill: What stands for a dropped patch in the decoder: its mask token, or the fused token.
        ranking: "block" ranks by the attention in the reducing block, as published; "global" keeps
            one ranking over all blocks, by the sum of the attention received so far.

    Raises:
        TypeError: A value of another type.
        ValueError: A value out of range, or lists beside `blocks`.
    """

    name: ClassVar[str] = "evit"
    needs_class_token: ClassVar[bool] = True

    keep_rate: _Rate | tuple[_Rate, ...] = 0.7
    blocks: tuple[_NotNegative, ...] | None = None
    tokens: tuple[Positive | None, ...] | None = None
    fuse: bool = True
    fill: Literal["mask", "fused"] = "mask"
    ranking: Literal["block", "global"] = "block"

    def __post_init__(self) -> None:
        rates = self.keep_rate if isinstance(self.keep_rate, tuple) else (self.keep_rate,)
        if any(rate == 0 for rate in rates):
            raise ValueError(
                f"keep_rate={_to_text(self.keep_rate)} keeps no patch token in some block; give "
                "more than 0, e.g. 0.5 for half of them; 1 keeps all"
            )
        super().__post_init__()
        lists = isinstance(self.keep_rate, tuple) or self.tokens is not None
        if lists and self.blocks is not None:
            raise ValueError(
                f"blocks={_to_text(self.blocks)} beside a list with one entry per block; the list "
                "says which blocks reduce: leave blocks out"
            )
        if self.tokens is not None and self.keep_rate != 0.7:
            raise ValueError(
                f"keep_rate={_to_text(self.keep_rate)} beside tokens={_to_text(self.tokens)}; give "
                "one of them"
            )
        if self.fill == "fused" and not self.fuse:
            raise ValueError("fill=fused with fuse=false: there is no fused token; use fill=mask")

    def check(self, depth: int, patches: int, class_token: bool) -> None:
        """As `Reduction.check`; lists must have one entry per block."""
        super().check(depth, patches, class_token)
        for name in ("keep_rate", "tokens"):
            _check_length(self, name, depth)
        if beyond := [block for block in self.blocks or () if block >= depth]:
            raise ValueError(
                f"reduction {str(self)!r}: block {beyond[0]} of a model with {depth} blocks; "
                f"expected 0 to {depth - 1}"
            )

    def eased(self, share: float) -> Evit:
        """As `Reduction.eased`: rates begin at 1, numbers of tokens are left as they are."""
        rate = self.keep_rate
        if isinstance(rate, tuple):
            return dataclasses.replace(self, keep_rate=tuple(1 - share * (1 - r) for r in rate))
        if self.tokens is not None:
            return self
        return dataclasses.replace(self, keep_rate=1 - share * (1 - rate))

    def reduces(self, block: int, depth: int) -> bool:
        """Whether a block may take tokens away."""
        if self.tokens is not None:
            return block < len(self.tokens) and self.tokens[block] is not None
        return self._rate(block, depth) < 1

    def patches_kept(self, patches: np.ndarray, block: int, depth: int) -> np.ndarray:
        """How many patch tokens a block keeps, without the fused one."""
        if not self.reduces(block, depth):
            return patches
        if self.tokens is not None:
            return np.minimum(self.tokens[block] or 0, patches)  # it reduces, so there is a number
        # As published: the product in double precision, and no more caution than that.
        return np.ceil(self._rate(block, depth) * patches).astype(np.int64)

    def patches_after(self, patches: np.ndarray, block: int, depth: int) -> np.ndarray:
        """As `Reduction.patches_after`."""
        kept = self.patches_kept(patches, block, depth)
        return kept + (kept < patches) if self.fuse else kept

    def _rate(self, block: int, depth: int) -> float:
        if isinstance(self.keep_rate, tuple):
            return self.keep_rate[block] if block < len(self.keep_rate) else 1.0
        blocks = self.blocks
        if blocks is None:
            blocks = tuple(depth * quarter // 4 for quarter in (1, 2, 3))
        return self.keep_rate if block in blocks else 1.0


@dataclasses.dataclass(frozen=True)
class Tome(Reduction):
    """Merges the most similar tokens by bipartite soft matching.

    Source: Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023, section 3.

    Attributes:
        r: Tokens merged away in each block, never more than half of the patch tokens there; or a
            list with one number per block of the model.
        inflection: How r changes over the blocks: 0 constant, -1 linearly falling from 2r to 0,
            1 rising. Not with lists.
        proportional: Attention to a token weighs how many patches it stands for.

    Raises:
        TypeError: A value of another type.
        ValueError: A value out of range, or an inflection of a list.
    """

    name: ClassVar[str] = "tome"

    r: _NotNegative | tuple[_NotNegative, ...] = 8
    inflection: typing.Annotated[float, Range(-1, 1)] = 0.0
    proportional: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.r, tuple) and self.inflection:
            raise ValueError(
                f"inflection={self.inflection:g} of the list r={_to_text(self.r)}; a list says how "
                "r changes itself: leave inflection out"
            )

    def check(self, depth: int, patches: int, class_token: bool) -> None:
        """As `Reduction.check`; r must be possible where a whole scene is seen."""
        super().check(depth, patches, class_token)
        _check_length(self, "r", depth)
        largest = max(self.r) if isinstance(self.r, tuple) else self.r
        if largest > patches // 2:
            raise ValueError(
                f"reduction {str(self)!r}: r={largest} is beyond half of the {patches} patches of "
                f"a scene; expected 0 to {patches // 2}"
            )

    def eased(self, share: float) -> Tome:
        """As `Reduction.eased`: r grows from 0."""
        if isinstance(self.r, tuple):
            return dataclasses.replace(self, r=tuple(round(share * r) for r in self.r))
        return dataclasses.replace(self, r=round(share * self.r))

    def per_block(self, depth: int) -> tuple[int, ...]:
        """R of every block; a list that is too short goes on with zeros."""
        if isinstance(self.r, tuple):
            return (*self.r, *[0] * (depth - len(self.r)))[:depth]
        lowest = int(self.r * (1 - self.inflection))
        step = (2 * self.r - lowest - lowest) / (depth - 1) if depth > 1 else 0.0
        return tuple(int(lowest + step * block) for block in range(depth))

    def patches_after(self, patches: np.ndarray, block: int, depth: int) -> np.ndarray:
        """As `Reduction.patches_after`."""
        return patches - np.minimum(self.per_block(depth)[block], patches // 2)

    def own_cost(self, tokens: np.ndarray, block: int, depth: int, head_width: int) -> np.ndarray:
        """As `Reduction.own_cost`: the similarities of every other token with the rest."""
        if not self.per_block(depth)[block]:
            return np.zeros_like(tokens)
        return ((tokens + 1) // 2) * (tokens // 2) * head_width


@dataclasses.dataclass(frozen=True)
class Avit(Reduction):
    """Lets every token halt when it has been through blocks enough, by its own first channel.

    A token's output is the mean of its values over the blocks that it went through, weighted by
    halting scores; halted tokens are taken out of all further blocks and come back after the last.

    Source: Yin et al., "A-ViT: Adaptive Tokens for Efficient Vision Transformer", CVPR 2022,
    section 3.

    Attributes:
        gate_scale: Slope of the halting score, sigmoid(gate_scale * channel - gate_center).
        gate_center: Its offset; the larger, the later tokens halt.
        epsilon: A token halts when its scores sum to more than 1 - epsilon.
        protect_prefix: Class, distillation and register tokens never halt, so that their output is
            that of the last block; False lets them, as published.
        target_depth: Block at which tokens should halt on average, for the distribution loss; None
            = two thirds of the blocks run, 8 of 12.
        form: "paper" takes halted tokens out; "nvidia" and "student" compute as the two published
            codes do, where halted tokens are masked, so that nothing is saved, and their scores go
            into the distribution loss: for comparison and for training as those did.

    Raises:
        TypeError: A value of another type.
        ValueError: A value out of range.
    """

    name: ClassVar[str] = "avit"
    depends_on_data: ClassVar[bool] = True

    gate_scale: _Above = 10.0
    gate_center: float = 30.0
    epsilon: _Epsilon = 0.01
    protect_prefix: bool = True
    target_depth: _Above | None = None
    form: Literal["paper", "nvidia", "student"] = "paper"

    @property
    def keeps_prefix(self) -> bool:
        """As `Reduction.keeps_prefix`."""
        return self.protect_prefix

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form != "paper" and self.protect_prefix:
            raise ValueError(
                f"form={self.form} with protect_prefix=true: in the published codes class tokens "
                "halt like others; set protect_prefix=false, or form=paper"
            )


REDUCTIONS: Mapping[str, type[Reduction]] = {
    kind.name: kind for kind in (Reduction, Evit, Tome, Avit)
}

ReductionPlace = Literal["extractor", "aggregator", "both"]
"""Where a reduction runs: on each glimpse alone, on all that is remembered, or in both."""

PLACES: tuple[str, ...] = typing.get_args(ReductionPlace)


def parse_reduction(text: str) -> Reduction:
    """Reads a reduction from its text, e.g. `tome:r=8,inflection=-1`.

    Raises:
        ValueError: An unknown name or setting, or a value that it cannot take.
    """
    name, _, settings = text.strip().partition(":")
    if name not in REDUCTIONS:
        raise ValueError(
            f"no reduction {name!r}{did_you_mean(name, REDUCTIONS)}; expected one of "
            f"{', '.join(REDUCTIONS)}, with settings as in 'tome:r=8,inflection=-1'"
        )
    kind = REDUCTIONS[name]
    hints = typing.get_type_hints(kind)
    known = [field.name for field in dataclasses.fields(kind)]
    values: dict[str, Any] = {}
    for pair in filter(None, settings.split(",")):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if key not in known or not equals:
            raise ValueError(
                f"reduction {text!r}: no setting {pair.strip()!r}{did_you_mean(key, known)}; "
                f"{name} has {', '.join(f'{each}=…' for each in known) or 'none'}"
            )
        values[key] = _from_text(value, hints[key])
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"reduction {text!r}: {error}") from error


def eased_share(progress: float, warmup: float, total: float) -> float:
    """How much of its strength a reduction has at a point of training, EViT's cosine.

    Args:
        progress: Where training is, in any unit, e.g. epochs.
        warmup: Until when nothing is taken away.
        total: From when on the reduction has its full strength.

    Returns:
        0 to 1; a keep rate is `1 - share * (1 - keep_rate)`.
    """
    if progress < warmup:
        return 0.0
    if progress >= total:
        return 1.0
    return 0.5 * (1 - math.cos(math.pi * (progress - warmup) / (total - warmup)))


def _check_length(reduction: Reduction, name: str, depth: int) -> None:
    value = getattr(reduction, name)
    if isinstance(value, tuple) and len(value) != depth:
        raise ValueError(
            f"reduction {str(reduction)!r}: {name} has {len(value)} entries for a model with "
            f"{depth} blocks; give one entry per block, {depth} in all"
        )


def _to_text(value: Any) -> str:
    if isinstance(value, tuple):
        # A list of one is told from a number by its plus sign.
        return "+".join(map(_to_text, value)) + ("+" if len(value) == 1 else "")
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value is None else str(value)


def _from_text(text: str, hint: Any) -> Any:
    """A value as its type wants it; what is no such value is left for the check of the fields."""
    kinds = {typing.get_origin(each) or each for each in (hint, *typing.get_args(hint))}
    if text in ("-", "none"):
        return None
    if tuple in kinds and ("+" in text or kinds.isdisjoint((int, float))):
        return tuple(_from_text(part, None) for part in text.removesuffix("+").split("+"))
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text

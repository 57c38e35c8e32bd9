"""What an encoder is to those who use it: environments, agents, training.

Whoever calls an encoder needs no more than this page. How a family keeps what it saw, what its
options are and what a step of it costs is its own business.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor

from encoders.flops.count import Cost, FlopCount

State = TypeVar("State", bound="EncoderState")

# Parts of a belief that need a decoder, and all parts that a `Belief` has room for.
DECODER_OUTPUTS = ("attention", "entropy", "normalised_entropy", "cells", "pixels")
OUTPUTS = ("latent", "tokens", "logits", *DECODER_OUTPUTS)


@dataclasses.dataclass(repr=False)
class Belief:
    """What an encoder makes of the glimpses so far; None where it was not asked.

    Attributes:
        latent: `[B, D]`: class token after the final norm, or the mean where the model pools so.
        tokens: `[B, P+N, D]`: all tokens after the final norm, in the order of arrival.
        logits: `[B, C]`.
        attention: `[B, heads, 1+G, 1+G]`: softmax attention of the last decoder block.
        entropy: `[B, grid_h, grid_w]`: AME's attention-map entropy, in bits.
        normalised_entropy: The same with rows that sum to one without the class token.
        cells: `[B, grid_h, grid_w, Dd]`: the last decoder block's output for every grid cell.
        pixels: `[B, G, p*p*3]`: the reconstruction in normalised colours, channel last.
        heads: Outputs of the encoder's further heads by name, each `[B, ...]`.
        reduced: Which tokens were dropped, merged or halted on the way, where any could be: a
            `encoders.reduction.trace.ReductionTrace`.
    """

    latent: Tensor | None = None
    tokens: Tensor | None = None
    logits: Tensor | None = None
    attention: Tensor | None = None
    entropy: Tensor | None = None
    normalised_entropy: Tensor | None = None
    cells: Tensor | None = None
    pixels: Tensor | None = None
    heads: Mapping[str, Tensor] | None = None
    reduced: Any = None

    def __repr__(self) -> str:
        """The parts that were computed, with shape and dtype: their numbers are too many."""
        parts = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        parts |= self.heads or {}
        shown = (
            f"{name}: {str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
            for name, value in parts.items()
        )
        return f"Belief({', '.join(shown)})"

    def __getitem__(self, output: str) -> Tensor:
        """One part by its name, also that of a further head.

        Raises:
            KeyError: It was not computed.
        """
        value = (self.heads or {}).get(output, getattr(self, output, None))
        if not isinstance(value, Tensor):
            raise KeyError(f"{output!r} was not computed")
        return value


@dataclasses.dataclass(frozen=True, eq=False)
class Observed:
    """What `Encoder.observe` returns; unpacks as `belief, state`.

    Attributes:
        belief: The belief after the glimpse.
        state: The state, which holds the glimpse now.
        cost: Multiply-accumulates of every row, int64 `[B]` by part: what ran, and what the same
            encoder would have run without recycling.
    """

    belief: Belief
    state: Any
    cost: Cost

    def __iter__(self) -> Iterator[Any]:
        return iter((self.belief, self.state))


@dataclasses.dataclass(frozen=True)
class Promises:
    """What an encoder promises beyond this page, under some options of its family.

    An encoder tells by a method `promises(options)`; one without it promises nothing of this.

    Attributes:
        ignores_order: After the same glimpses in another order the belief is the same.
        trains: The module can be called with all glimpses of an episode, `patches`
            `[B, T, n, 3, p, p]`, `patch_ids` `[B, T, n]`, `outputs` and the family's options, and
            returns the belief after the last, with gradients.
        exact_flops: `flops` is what `observe` spends; otherwise, where that depends on what is seen
            and where, it is the most.
    """

    ignores_order: bool = False
    trains: bool = False
    exact_flops: bool = True


def promises_of(encoder: Any, options: Mapping[str, Any]) -> Promises:
    """What an encoder promises; nothing where it does not say."""
    tell = getattr(encoder, "promises", None)
    return tell(options) if callable(tell) else Promises()


class EncoderState(Protocol):
    """All that an encoder remembers of the glimpses of B rows; pickles by itself.

    `rows` is bool `[B]` or int64 `[R]` everywhere.
    """

    @property
    def tokens(self) -> Tensor:
        """Size of each row's memory in the encoder's own unit, int64 `[B]` on the CPU.

        0 for a row that has seen nothing; TORE counts cached patch tokens.
        """

    def __len__(self) -> int:
        """B."""

    def reset(self, rows: Tensor) -> None:
        """Forgets everything in some rows."""

    def select(self: State, rows: Tensor) -> State:
        """A copy of some rows, in the order given; a row may be named several times."""

    def put(self: State, rows: Tensor, source: State) -> None:
        """Overwrites rows, named once each, with those of another state: undoes `select`."""

    def fork(self: State) -> State:
        """An independent copy of all rows."""


class EncoderDescription(Protocol):
    """What an encoder's `config` says of it, whatever else a family keeps there.

    Attributes:
        name: What results call the encoder.
        image_size: Height and width in pixels of the scenes it encodes.
        patch_size: Side of a square patch in pixels.
        num_classes: Outputs of the class head; 0 for none.
        class_names: Names of the classes the head was trained for; None while it is untrained.
        weights: "random", "pretrained" or "trained".
        patch_normalised_pixels: Whether `pixels` are relative to each patch's mean and spread.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def image_size(self) -> tuple[int, int]: ...  # noqa: D102
    @property
    def patch_size(self) -> int: ...  # noqa: D102
    @property
    def num_classes(self) -> int: ...  # noqa: D102
    @property
    def class_names(self) -> tuple[str, ...] | None: ...  # noqa: D102
    @property
    def weights(self) -> str: ...  # noqa: D102
    @property
    def patch_normalised_pixels(self) -> bool: ...  # noqa: D102

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, of which the family's entry builds the encoder again."""


class Encoder(Protocol):
    """A `torch.nn.Module` that turns glimpses into a belief, one glimpse at a time.

    The module holds weights only; what was seen lives in a state that the caller owns. Families
    may take options beside those named here (TORE's `split_block`): `resolve_options` knows them.
    `encoders.testing.check_encoder` holds an encoder to what this page says.

    Attributes:
        family: Name of the family, in `encoders.registry.FAMILIES`.
        config: What the encoder is.
        training: As of `torch.nn.Module`.
    """

    family: ClassVar[str]
    config: Any
    training: bool

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches in a scene."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the parts of a belief that it can compute."""

    def resolve_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Checks the family's options and fills in those left out or None.

        Raises:
            ValueError: An option that the family does not have, or a value it cannot take.
        """

    def describe(self, options: Mapping[str, Any]) -> str:
        """Name and options in a few words, e.g. "tore-nano, K = 4"."""

    def init_state(self, batch_size: int, capacity: int | None = None) -> Any:
        """An empty state on the encoder's device.

        Args:
            batch_size: Rows.
            capacity: Patches to make room for in each row; a hint.
        """

    def observe(
        self, patches: Tensor, patch_ids: Tensor, state: Any, *args: Any, **options: Any
    ) -> Observed:
        """Takes in one glimpse per row, without gradients.

        Args:
            patches: float `[B, n, 3, p, p]`, normalised.
            patch_ids: int64 `[B, n]`, row-major grid ids; -1 = padding. A row of padding alone
                keeps its memory.
            state: Of the B rows; updated in place.
            *args: Not used by environments and agents.
            **options: `outputs`, the parts of the belief to compute, by default latent and logits;
                and the family's own.
        """

    def prior(self, outputs: Collection[str] = ..., *args: Any, **options: Any) -> Belief:
        """The belief before any glimpse, batch of one: a constant of the weights.

        Args:
            outputs: Parts of the belief to compute, by default latent and logits.
            *args: Not used by environments and agents.
            **options: The family's.
        """

    def flops(self, new_tokens: Any, cached_tokens: Any, *args: Any, **options: Any) -> FlopCount:
        """Multiply-accumulates of one `observe` per row, as a closed formula.

        Args:
            new_tokens: Patches of the new glimpse that are encoded.
            cached_tokens: The state's `tokens` before this step.
            *args: Not used by environments and agents.
            **options: `outputs` and the family's, as for `observe`.
        """

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 `[..., 3, h, w]` to the normalised float32 that it expects, on its device."""

    def to_images(self, pixels: Tensor) -> Tensor:
        """`Belief.pixels` as uint8 images `[B, H, W, 3]`."""

    def resized(self, image_size: tuple[int, int]) -> Any:
        """The same encoder for scenes of another size.

        Raises:
            ValueError: It cannot be fitted to them.
        """

    def with_head(self, class_names: tuple[str, ...], seed: int = 0) -> Any:
        """The same encoder with a new, untrained class head.

        Raises:
            ValueError: The encoder has no class head to replace.
        """

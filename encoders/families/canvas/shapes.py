"""Sizes of the bodies of canvas encoders; imports no torch.

The defaults have about as many parameters as tore-nano.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from encoders.support.validation import (
    Amount,
    NotNegative,
    Positive,
    check_fields,
    did_you_mean,
)

Shape = TypeVar("Shape", bound=Any)
Activation = Literal["gelu", "relu"]


@dataclasses.dataclass(frozen=True)
class ConvMixerShape:
    """Sizes of a ConvMixer.

    Attributes:
        width: Channels.
        depth: Blocks.
        kernel_size: Side of the depthwise convolutions in patches, odd.
        activation: Of all layers; gelu as in the paper, relu as in some published weights.

    Raises:
        TypeError: A value of another type.
        ValueError: A value out of range.
    """

    width: Positive = 288
    depth: Positive = 10
    kernel_size: Positive = 5
    activation: Activation = "gelu"

    def __post_init__(self) -> None:
        check_fields(self)
        if self.kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size={self.kernel_size}; expected an odd number, so that a cell is in the "
                "middle of what it sees"
            )


@dataclasses.dataclass(frozen=True)
class AlterNetShape:
    """Sizes of an AlterNet; sequences have one entry for every stage.

    Attributes:
        widths: Channels; every stage but the first halves the resolution.
        blocks: Blocks.
        attentions: How many of the blocks are attention: each pair of blocks at the end of the
            stage is a convolution and an attention.
        num_heads: Attention heads.
        head_dim: Channels of a head.
        window: Side of an attention window in cells; all maps are whole numbers of windows.
        stem_stride: Side in pixels of the squares that become the first cells.

    Raises:
        TypeError: A value of another type.
        ValueError: A value out of range, or sequences of different lengths.
    """

    widths: tuple[Positive, ...] = (40, 80, 160)
    blocks: tuple[Positive, ...] = (2, 2, 4)
    attentions: tuple[NotNegative, ...] = (0, 1, 2)
    num_heads: tuple[Positive, ...] = (1, 2, 5)
    head_dim: Positive = 32
    window: Positive = 4
    stem_stride: Positive = 4

    def __post_init__(self) -> None:
        check_fields(self)
        _check_lengths(self, "widths", "blocks", "attentions", "num_heads")


@dataclasses.dataclass(frozen=True)
class RIFormerShape:
    """Sizes of a RIFormer; sequences have one entry for every stage.

    Attributes:
        layers: Blocks.
        widths: Channels; the first stage has cells of 4x4 pixels, every other halves the
            resolution.
        mlp_ratio: Hidden channels of an MLP for each of the map.
        norm: "group", over the whole map, as published, or "channel", over the channels of a cell,
            so that cells do not meet in it and recycling is exact.
        embedding: "overlapping" convolutions, as published, or "patches" that do not overlap, so
            that no two patches meet before cells are larger than one.
        mixer: "affine", which is RIFormer; "pool" or "convolution" make a teacher.
        kernel_size: Of the mixer "convolution", odd.
        layer_scale: First value of the scales of mixers and MLPs; 1e-5 as published, for networks
            of many more blocks.
        folded: Whether the affines were folded into the norms for good: for inference alone.

    Raises:
        TypeError: A value of another type.
        ValueError: A value out of range, sequences of different lengths, or a mixer that cannot be
            folded.
    """

    layers: tuple[Positive, ...] = (1, 1, 2, 1)
    widths: tuple[Positive, ...] = (32, 64, 128, 256)
    mlp_ratio: Positive = 4
    norm: Literal["group", "channel"] = "group"
    embedding: Literal["overlapping", "patches"] = "overlapping"
    mixer: Literal["affine", "pool", "convolution"] = "affine"
    kernel_size: Positive = 7
    layer_scale: Amount = 0.1
    folded: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        _check_lengths(self, "layers", "widths")
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size={self.kernel_size}; expected an odd number")
        if self.folded and self.mixer != "affine":
            raise ValueError(f"mixer={self.mixer!r} cannot be folded; expected 'affine'")


def shape_of(kind: type[Shape], sizes: Mapping[str, Any]) -> Shape:
    """A shape from some of its fields; the others are as by default.

    Raises:
        TypeError: A value of another type.
        ValueError: A field that it does not have, with those that it has; a value out of range.
    """
    known = [field.name for field in dataclasses.fields(kind)]
    for name in sizes:
        if name not in known:
            raise ValueError(
                f"{name}={sizes[name]!r}: no size of this family{did_you_mean(name, known)}; "
                f"expected {', '.join(known)}"
            )
    return kind(**sizes)


def _check_lengths(shape: Any, first: str, *others: str) -> None:
    stages = len(getattr(shape, first))
    for name in (first, *others):
        if not stages or len(getattr(shape, name)) != stages:
            raise ValueError(
                f"{name}={getattr(shape, name)} beside {first}={getattr(shape, first)}; expected "
                "one entry for every stage in each"
            )

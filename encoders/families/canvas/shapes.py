"""Sizes of the bodies of canvas encoders; imports no torch.

The defaults have about as many parameters as tore-nano.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from encoders.support.validation import Positive, check_fields, did_you_mean

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

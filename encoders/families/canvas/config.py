"""What a canvas encoder is: everything needed to rebuild it except its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from encoders.stored_config import StoredConfig
from encoders.support.validation import NotNegative, Positive, check_fields


@dataclasses.dataclass(frozen=True)
class CanvasConfig(StoredConfig):
    """A canvas encoder without its weights.

    Attributes:
        name: What results call the encoder.
        body: Sizes of the body, those of the family's shape; what is left out is the family's own.
        image_size: Height and width in pixels of the scenes it encodes.
        patch_size: Side of a square patch in pixels.
        num_classes: Outputs of the class head; 0 for none.
        class_names: Names of the classes the head was trained for; None while it is untrained.
        decoder_width: Channels of the decoder that paints; 0 for none.
        unseen: What stands on the canvas where nothing was seen: "learned", one patch that is
            trained, or "zero", the mean colour.
        recycle: Whether only what a glimpse reaches is computed anew where the caller does not say.
        mean: Channel means of the normalisation, on pixels in [0, 1].
        std: Channel standard deviations of the normalisation, on pixels in [0, 1].
        weights: Where the weights come from: "random", "pretrained" or "trained".
        patch_normalised_pixels: Always False: what is painted are colours.

    Raises:
        TypeError: A value of another type.
        ValueError: A value out of range, or sizes that do not fit together.
    """

    name: str
    body: Mapping[str, Any]
    image_size: tuple[Positive, Positive]
    patch_size: Positive
    num_classes: NotNegative = 0
    class_names: tuple[str, ...] | None = None
    decoder_width: NotNegative = 64
    unseen: Literal["learned", "zero"] = "learned"
    recycle: bool = False
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.25, 0.25, 0.25)
    weights: Literal["random", "pretrained", "trained"] = "random"
    patch_normalised_pixels: Literal[False] = False

    def __post_init__(self) -> None:
        check_fields(self)
        self.check_sizes()

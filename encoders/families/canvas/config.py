"""What a canvas encoder is: everything needed to rebuild it except its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from encoders.config import FORMAT_VERSION
from encoders.support.validation import NotNegative, Positive, check_fields

_TUPLES = ("image_size", "class_names", "mean", "std")


@dataclasses.dataclass(frozen=True)
class CanvasConfig:
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
        height, width = self.image_size
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}"
            )
        if self.class_names is not None and len(self.class_names) != self.num_classes:
            raise ValueError(
                f"{len(self.class_names)} class names for a head with {self.num_classes} outputs"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches in one scene."""
        return self.image_size[0] // self.patch_size, self.image_size[1] // self.patch_size

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON types, with the format version."""
        values = {**dataclasses.asdict(self), "body": dict(self.body)}
        for name in _TUPLES:
            values[name] = None if values[name] is None else list(values[name])
        for name, value in values["body"].items():
            values["body"][name] = list(value) if isinstance(value, tuple) else value
        return {"format_version": FORMAT_VERSION, **values}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CanvasConfig:
        """Rebuilds a configuration from `to_dict`, e.g. after a trip through JSON.

        Raises:
            ValueError: The format is newer than this code, or a key is unknown or missing.
        """
        fields = dict(values)
        version = fields.pop("format_version", FORMAT_VERSION)
        if version > FORMAT_VERSION:
            raise ValueError(
                f"encoder format version {version} is newer than {FORMAT_VERSION}; "
                "upgrade active-visual-exploration"
            )
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(fields) - known):
            raise ValueError(f"unknown keys in the encoder configuration: {unknown}")
        try:
            return cls(**fields)
        except TypeError as error:
            raise ValueError(f"incomplete encoder configuration: {error}") from error

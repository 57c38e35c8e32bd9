"""What an encoder is: everything needed to rebuild it except its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

FORMAT_VERSION = 1

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


# What few encoders have, and is written for them alone.
_LEFT_OUT = (
    *("interpolation", "assumed", "reduction", "reduction_in", "max_tokens"),
    "objective",
)


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """Shape of a masked-autoencoder decoder.

    Attributes:
        width: Channels of a decoder token.
        depth: Number of decoder blocks.
        num_heads: Attention heads of each block.
    """

    width: int = 64
    depth: int = 1
    num_heads: int = 4


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """A glimpse encoder without its weights.

    Attributes:
        name: What results call it.
        vit: Keyword arguments of the Vision Transformer (`timm.create_model` when `timm_model` is
            set, `timm.models.VisionTransformer` otherwise, which
            `encoders.layers.transformer` replaces where the model is plain), without sizes and
            class count.
        image_size: Height and width in pixels of the scenes it encodes.
        patch_size: Side of a square patch in pixels.
        num_classes: Outputs of the class head; 0 for none.
        timm_model: Architecture name known to timm, or None for explicit `vit` arguments.
        decoder: The decoder's shape, or None for an encoder without one.
        class_names: Names of the classes the head was trained for; None while it is untrained.
        mean: Channel means of the normalisation, on pixels in [0, 1].
        std: Channel standard deviations of the normalisation, on pixels in [0, 1].
        default_split_block: TORE's K where the caller does not choose one; None = two thirds of
            the depth.
        patch_normalised_pixels: The decoder predicts each patch relative to its own mean and
            spread (MAE's `norm_pix_loss`), so that its pixels are not colours.
        weights: Where the weights come from: "random", "pretrained" or "trained".
        norm_eps: Epsilon of all layer norms; None = the architecture's own.
        interpolation: How the images it was trained on were scaled, e.g. "bicubic", where that is
            known; for people, scenes are scaled by those who open them.
        reduction: How it reduces tokens where the caller does not say, as
            `encoders.reduction.config` writes it, e.g. "tome:r=4"; None = not at all.
        reduction_in: Where it does so: "extractor", "aggregator" or "both"; None = aggregator.
        max_tokens: Most patch tokens that it remembers where the caller does not say; None = all.
        objective: What its last training was for where that was neither classes nor pixels: "dino"
            for self-distillation.
        assumed: Names of settings that nobody gave when weights of others were read, so that they
            may be wrong.
    """

    name: str
    vit: Mapping[str, Any]
    image_size: tuple[int, int]
    patch_size: int
    num_classes: int = 0
    timm_model: str | None = None
    decoder: DecoderConfig | None = None
    class_names: tuple[str, ...] | None = None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    default_split_block: int | None = None
    patch_normalised_pixels: bool = False
    weights: Literal["random", "pretrained", "trained"] = "random"
    norm_eps: float | None = None
    interpolation: str | None = None
    reduction: str | None = None
    reduction_in: str | None = None
    max_tokens: int | None = None
    objective: str | None = None
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
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
        values = dataclasses.asdict(self)
        for name in _LEFT_OUT:
            if not values[name]:
                del values[name]
        return {"format_version": FORMAT_VERSION, **values}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EncoderConfig:
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
        if fields.get("decoder") is not None:
            fields["decoder"] = DecoderConfig(**fields["decoder"])
        for key in ("image_size", "class_names", "mean", "std", "assumed"):
            if fields.get(key) is not None:
                fields[key] = tuple(fields[key])
        try:
            return cls(**fields)
        except TypeError as error:
            raise ValueError(f"incomplete encoder configuration: {error}") from error

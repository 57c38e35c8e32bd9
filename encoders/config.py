"""What an encoder is: everything needed to rebuild it except its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from encoders.stored_config import IMAGENET_MEAN, IMAGENET_STD, StoredConfig


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
class EncoderConfig(StoredConfig):
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

    _TUPLES: ClassVar[tuple[str, ...]] = (*StoredConfig._TUPLES, "assumed")
    _NESTED: ClassVar[Mapping[str, type]] = {"decoder": DecoderConfig}
    _SELDOM: ClassVar[tuple[str, ...]] = (
        *("interpolation", "assumed", "reduction", "reduction_in", "max_tokens"),
        "objective",
    )

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
        self.check_sizes()

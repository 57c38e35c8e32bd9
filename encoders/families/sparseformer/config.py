"""What a SparseFormer encoder is: everything needed to rebuild it except its weights."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import ClassVar, Literal

from encoders.stored_config import IMAGENET_MEAN, IMAGENET_STD, StoredConfig

Form = Literal["v1", "btsp"]
"""As in the first paper, or as bootstrapped from a Vision Transformer in the second."""

FORMS: tuple[Form, ...] = typing.get_args(Form)

Unseen = Literal["zero", "learned"]
"""What regions find where nothing was seen: zeros, or a learned feature."""

UNSEEN: tuple[Unseen, ...] = typing.get_args(Unseen)


@dataclasses.dataclass(frozen=True)
class SparseFormerShape:
    """Sizes of a SparseFormer.

    Attributes:
        form: "v1": every latent starts from its own embedding, 64 attention heads, nothing beyond
            the image, mixings with biases, the mean of the latents is classified. "btsp": one
            starting embedding, heads of 64 channels, the image's edges reach on, regions are
            encoded into tokens, a class token is classified.
        latents: Latent tokens with a region.
        points: Points that a region samples.
        features: Channels of the map that they sample.
        width: Channels of a token while it looks.
        cortex_width: Channels of a token afterwards.
        repeats: How often the focusing unit runs.
        cortex_depth: Blocks of the plain transformer afterwards.
        bottleneck: Channels of the generator of mixing weights; where v1 has wider tokens it is
            wider by as much.
        early_transition: Whether tokens become wide before the last unit that looks, as in all that
            was published, or after it; None = after it in the form v1, before it in btsp.
        eps: Of layer norms; None = 1e-6 in the form v1, 1e-5 in btsp.

    Raises:
        ValueError: Another form, numbers below one, or widths that heads cannot share.
    """

    form: Form = "v1"
    latents: int = 25
    points: int = 16
    features: int = 32
    width: int = 128
    cortex_width: int = 192
    repeats: int = 2
    cortex_depth: int = 3
    bottleneck: int = 32
    early_transition: bool = None  # type: ignore[assignment] # settled in __post_init__
    eps: float = None  # type: ignore[assignment] # settled in __post_init__

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ValueError(f"form={self.form!r}; expected one of {', '.join(FORMS)}")
        if self.eps is None:
            object.__setattr__(self, "eps", 1e-6 if self.form == "v1" else 1e-5)
        if self.early_transition is None:
            object.__setattr__(self, "early_transition", self.form == "btsp")
        if self.form == "btsp" and not self.early_transition:
            raise ValueError(
                "early_transition=False: the form 'btsp' has no other; leave it out, or take 'v1'"
            )
        for name in ("latents", "features", "width", "cortex_width", "repeats", "cortex_depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}; expected 1 or more")
        if self.points < 2:
            raise ValueError(f"points={self.points}; expected 2 or more, for they have a spread")
        for name in ("width", "cortex_width"):
            if getattr(self, name) % 64:
                raise ValueError(
                    f"{name}={getattr(self, name)}; expected a multiple of 64, which is what the "
                    f"heads of the form {self.form!r} share"
                )

    def heads(self, width: int) -> int:
        """Attention heads of a unit of some width."""
        return 64 if self.form == "v1" else width // 64


@dataclasses.dataclass(frozen=True)
class SparseFormerConfig(StoredConfig):
    """A SparseFormer encoder without its weights.

    Attributes:
        name: What results call it.
        image_size: Height and width in pixels of the scenes it encodes.
        patch_size: Side in pixels of the patches that scenes are seen by, a multiple of 4.
        num_classes: Outputs of the class head; 0 for none.
        shape: Sizes and form.
        decoder_width: Channels of the decoder's cells, a multiple of 16; 0 for no decoder.
        unseen: What regions find where nothing was seen.
        class_names: Names of the classes the head was trained for; None while it is untrained.
        mean: Channel means of the normalisation, on pixels in [0, 1].
        std: Channel standard deviations of the normalisation, on pixels in [0, 1].
        patch_normalised_pixels: Always False: the decoder paints colours.
        weights: Where the weights come from: "random", "pretrained" or "trained".

    Raises:
        ValueError: Values that do not go together.
    """

    _NESTED: ClassVar[Mapping[str, type]] = {"shape": SparseFormerShape}

    name: str
    image_size: tuple[int, int]
    patch_size: int
    num_classes: int = 0
    shape: SparseFormerShape = dataclasses.field(default_factory=SparseFormerShape)
    decoder_width: int = 64
    unseen: Unseen = "learned"
    class_names: tuple[str, ...] | None = None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    patch_normalised_pixels: bool = False
    weights: Literal["random", "pretrained", "trained"] = "random"

    def __post_init__(self) -> None:
        self.check_sizes()
        if self.patch_size % 4:
            raise ValueError(
                f"patch_size={self.patch_size}; expected a multiple of 4, for regions look at a "
                "map of a quarter of the resolution"
            )
        if self.decoder_width % 16:
            raise ValueError(
                f"decoder_width={self.decoder_width}; expected a multiple of 16, or 0 for none"
            )
        if self.unseen not in UNSEEN:
            raise ValueError(f"unseen={self.unseen!r}; expected one of {', '.join(UNSEEN)}")
        if self.patch_normalised_pixels:
            raise ValueError("patch_normalised_pixels: SparseFormer's decoder paints colours")

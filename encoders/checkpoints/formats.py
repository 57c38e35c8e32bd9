"""How weights of other families than Vision Transformers are published."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from encoders.checkpoints.weight_files import CheckpointError
from encoders.stored_config import IMAGENET_MEAN, IMAGENET_STD

Colours = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Wishes:
    """What is said of weights beside the tensors; None where nobody says it.

    Attributes:
        name: What the encoder is called.
        image_size: Height and width of the scenes to encode.
        patch_size: Side of the patches that scenes are seen by.
        mean: Channel means of the normalisation, on pixels in [0, 1].
        std: Channel standard deviations.
        activation: Of the layers.
        repeats: How often a unit with shared weights runs.
    """

    name: str
    image_size: tuple[int, int] | None = None
    patch_size: int | None = None
    mean: Colours | None = None
    std: Colours | None = None
    activation: str | None = None
    repeats: int | None = None

    def described(self, patch_size: int) -> dict[str, Any]:
        """What every encoder's configuration says; images of 224x224 pixels unless others are."""
        if self.patch_size not in (None, patch_size):
            raise CheckpointError(
                f"patch_size={self.patch_size}: the weights have patches of {patch_size} pixels; "
                "leave it out"
            )
        return {
            "name": self.name,
            "image_size": self.image_size or (224, 224),
            "patch_size": patch_size,
            "mean": self.mean or IMAGENET_MEAN,
            "std": self.std or IMAGENET_STD,
            "decoder_width": 0,
            "unseen": "zero",
            "weights": "pretrained",
        }


class PublishedFormat(abc.ABC):
    """How the weights of one family are published.

    Attributes:
        kind: Where such weights come from, for people.
        takes: Names of the wishes, beside name and image size, that mean something here.
    """

    kind: ClassVar[str]
    takes: ClassVar[frozenset[str]] = frozenset(("mean", "std"))

    @classmethod
    @abc.abstractmethod
    def renamed(cls, tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The tensors under this package's names; None where they are of another format."""

    @classmethod
    @abc.abstractmethod
    def build(cls, tensors: Mapping[str, Tensor], wishes: Wishes) -> Any:
        """The encoder that renamed tensors describe, with random weights.

        Raises:
            ValueError: Tensors that do not make up such an encoder, or something that no tensor
                tells and nobody has said.
        """


def count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    """How many numbers from 0 on make `pattern`, with `{}` in it, the beginning of a name."""
    number = 0
    while any(name.startswith(pattern.format(number)) for name in tensors):
        number += 1
    return number

"""Weights of other families than Vision Transformers, as their authors publish them."""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from encoders.checkpoints.tensors import check_tensors
from encoders.checkpoints.unwrapping import find_tensors
from encoders.checkpoints.weight_files import CheckpointError
from encoders.registry import FORMATS
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


@dataclasses.dataclass(frozen=True, eq=False)
class FoundFormat:
    """Weights whose format is known.

    Attributes:
        format: The format.
        tensors: Under this package's names.
    """

    format: type[PublishedFormat]
    tensors: dict[str, Tensor]

    def load(self, wishes: Wishes) -> Any:
        """The encoder, on the CPU and in evaluation mode.

        Raises:
            CheckpointError: The tensors do not make up such an encoder, or leave something open.
        """
        own = {"name", "image_size", *self.format.takes}
        given = {each.name for each in dataclasses.fields(wishes) if getattr(wishes, each.name)}
        if others := sorted(given - own):
            raise CheckpointError(
                f"{', '.join(others)}: of no use for {self.format.kind}; leave it out"
            )
        try:
            encoder = self.format.build(self.tensors, wishes)
        except (KeyError, IndexError) as error:
            raise CheckpointError(f"{self.format.kind}: missing or misshapen {error}") from error
        except ValueError as error:
            raise CheckpointError(f"{self.format.kind}: {error}") from error
        kinds = {each.dtype for each in self.tensors.values() if each.is_floating_point()}
        encoder.to(functools.reduce(torch.promote_types, kinds, torch.float32))
        check_tensors(encoder.state_dict(), self.tensors, self.format.kind)
        encoder.load_state_dict(self.tensors)
        return encoder.eval()


def find_format(path: Path, content: object, branch: str | None) -> FoundFormat | None:
    """The format of the content of a file; None where no family but Vision Transformers is found.

    Args:
        path: Of the file.
        content: Names and tensors, or a dictionary that holds them among other things.
        branch: Which of several models in one file, of `unwrapping.BRANCHES`.

    Raises:
        CheckpointError: There are no tensors, or not those of the branch.
    """
    if not isinstance(content, Mapping):
        return None
    try:
        _, tensors = find_tensors(content, branch)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    for name in FORMATS:
        format_ = FORMATS.resolve(name)
        if (renamed := format_.renamed(tensors)) is not None:
            return FoundFormat(format_, renamed)
    return None


def count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    """How many numbers from 0 on make `pattern`, with `{}` in it, the beginning of a name."""
    number = 0
    while any(name.startswith(pattern.format(number)) for name in tensors):
        number += 1
    return number

"""Weights of other families than Vision Transformers: found in a file, and loaded."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from encoders.checkpoints.formats import PublishedFormat, Wishes
from encoders.checkpoints.tensors import check_tensors
from encoders.checkpoints.unwrapping import find_tensors
from encoders.checkpoints.weight_files import CheckpointError
from encoders.registry import FORMATS


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

"""What encoders have in common that see scenes by a grid of patches, whatever they make of them."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Collection
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from encoders.families.glimpse_module import GlimpseModule
from encoders.parts import EncoderPart
from encoders.protocol import DECODER_OUTPUTS

HEAD = "class_head"
DECODED = ("cells", "pixels")
_DECODER_PARTS = {
    "decoder.norm.": ("pixel_head", frozenset(("pixels",))),
    "decoder.pred.": ("pixel_head", frozenset(("pixels",))),
    "decoder.": ("decoder", frozenset(DECODER_OUTPUTS)),
}


class GridEncoder(GlimpseModule, abc.ABC):
    """Changes of size and class head, and parts.

    A subclass is made from its configuration alone, and no weight of it knows the grid.

    Args:
        config: A configuration with `mean` and `std`.
    """

    # What the part is called that every output reads, and how names of the class head begin.
    _BODY: ClassVar[str]
    _HEAD: ClassVar[str]

    @property
    @abc.abstractmethod
    def outputs(self) -> tuple[str, ...]:
        """Parts of the belief that it can compute."""

    def resized(self, image_size: tuple[int, int]) -> Self:
        """The encoder for scenes of another size.

        Raises:
            ValueError: A size that it cannot encode.
        """
        height, width = image_size
        if (height, width) == self.config.image_size:
            return self
        return self._changed(image_size=(height, width))

    def with_head(self, class_names: tuple[str, ...], seed: int = 0) -> Self:
        """The encoder with a new, untrained class head; the other weights are copies.

        Args:
            class_names: Classes of the new head; the configuration does not list them until it is
                trained.
            seed: Of the head's initial weights.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self._changed(num_classes=len(class_names), class_names=None)

    def parts(self) -> dict[str, EncoderPart]:
        """Body, class head, decoder and pixel head; see `encoders.parts`."""
        tensors: dict[str, dict[str, Tensor]] = {}
        readers: dict[str, frozenset[str] | None] = {self._BODY: None}
        for name, tensor in self.state_dict().items():
            part, outputs = self._part_of(name)
            readers[part] = outputs
            tensors.setdefault(part, {})[name] = tensor
        settings = {
            **self._settings(),
            "family": self.family,
            "unseen": self.config.unseen,
            "grid": list(self.grid),
            "mean": list(self.config.mean),
            "std": list(self.config.std),
        }
        return {
            name: EncoderPart(tensors[name], settings if name == self._BODY else {}, outputs)
            for name, outputs in readers.items()
        }

    @abc.abstractmethod
    def _settings(self) -> dict[str, Any]:
        """What alters the body's outputs beside its weights, as plain JSON types."""

    def _part_of(self, name: str) -> tuple[str, frozenset[str] | None]:
        """The part that a tensor is of, and the outputs that read it; None = all."""
        if name.startswith(self._HEAD):
            return HEAD, frozenset(("logits",))
        parts = (part for start, part in _DECODER_PARTS.items() if name.startswith(start))
        return next(parts, (self._BODY, None))

    def _check_outputs(self, outputs: Collection[str]) -> frozenset[str]:
        chosen = frozenset([outputs] if isinstance(outputs, str) else outputs)
        if unknown := sorted(chosen.difference(self.outputs)):
            raise ValueError(
                f"encoder {self.config.name!r} has no outputs {unknown}; it has "
                f"{', '.join(self.outputs)}"
            )
        return chosen

    def _changed(self, **changes: Any) -> Self:
        """A copy with another configuration; a head for other classes is new."""
        kind: Any = type(self)
        other = kind(dataclasses.replace(self.config, **changes))
        other.to(next(self.parameters()))  # before the weights, or doubles would be rounded
        kept = self.state_dict()
        if "num_classes" in changes:
            kept = {name: each for name, each in kept.items() if self._part_of(name)[0] != HEAD}
        other.load_state_dict(kept, strict="num_classes" not in changes)
        return other.train(self.training)

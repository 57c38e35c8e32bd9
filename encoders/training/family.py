"""What of training belongs to an encoder's family; the loop is the same for all.

A family is trained by `train_encoder.py --family NAME` once its subclass of `FamilyTraining` is in
`encoders.registry.TRAININGS`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from torch import Tensor

from encoders.protocol import Belief
from encoders.training.config import EncoderShape, TrainingConfig

Weighted = tuple[float, Tensor]

_OF_SOME_FAMILIES = frozenset(("split_block", "teacher"))


@dataclasses.dataclass(frozen=True)
class Blueprint:
    """What a new encoder is to be.

    Attributes:
        shape: Patch size and width of the decoder; the rest of it is TORE's.
        sizes: Sizes that the family has beyond that, by name.
        name: What results call it.
        image_size: Height and width of the scenes.
        class_names: Classes of the scenes; none for an encoder without a class head.
        seed: Of the weights.
    """

    shape: EncoderShape
    sizes: Mapping[str, Any]
    name: str
    image_size: tuple[int, int]
    class_names: tuple[str, ...]
    seed: int = 0

    @property
    def common(self) -> dict[str, Any]:
        """What configurations of all families with a decoder of their own say, by its field."""
        return {
            "name": self.name,
            "image_size": self.image_size,
            "patch_size": self.shape.patch_size,
            "num_classes": len(self.class_names),
            "decoder_width": self.shape.decoder_width,
        }

    def split_sizes(self, *fields: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The sizes that are fields of the configuration itself, and all others."""
        own = {name: value for name, value in self.sizes.items() if name in fields}
        return own, {name: value for name, value in self.sizes.items() if name not in own}


@dataclasses.dataclass(frozen=True)
class Moment:
    """Where in a run a batch is.

    Attributes:
        step: Optimiser steps before it.
        total_steps: Of the whole run.
        warming_up: Whether the run is still getting the classifier off its plateau.
        chance: Drawn uniformly from [0, 1) for this batch. Every family is given one, so that all
            see the same glimpses.
    """

    step: int
    total_steps: int
    warming_up: bool
    chance: float


class FamilyTraining:
    """How encoders of one family are trained; a family of its own overrides what differs.

    Args:
        encoder: What is trained.
        config: Hyper-parameters.

    Attributes:
        rows_apart: Whether the number of glimpses is drawn for every image of a batch rather than
            once: for layers that look at the whole batch, as batch norms do.
        options: Hyper-parameters that only some families have, of those this one has.
        smoke_sizes: Sizes of a tiny encoder, for `--smoke`.

    Raises:
        ValueError: Hyper-parameters that this family does not have.
    """

    rows_apart: ClassVar[bool] = False
    options: ClassVar[frozenset[str]] = frozenset()
    smoke_sizes: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, encoder: Any, config: TrainingConfig) -> None:
        self.encoder = encoder
        self.config = config
        for name in _OF_SOME_FAMILIES - self.options:
            if (value := getattr(config, name)) is not None:
                raise ValueError(
                    f"{name}={value!r}: encoders of the family {encoder.family!r} are trained "
                    "without one; leave it out"
                )

    @classmethod
    def build(cls, blueprint: Blueprint) -> Any:
        """A new encoder with random weights.

        Raises:
            ValueError: Sizes that the family does not have, or that do not fit together; or the
                family says of no new encoder what it would be.
        """
        raise ValueError(
            f"{blueprint.name!r}: {cls.__name__} has no build(), so there are no new encoders of "
            "this family; start from one with --encoder"
        )

    def believe(
        self,
        model: Any,
        patches: Tensor,
        patch_ids: Tensor,
        outputs: Collection[str],
        moment: Moment,
    ) -> tuple[Belief, dict[str, Weighted]]:
        """Runs the encoder on one batch, with gradients.

        Args:
            model: To be called in the encoder's place: several processes wrap it.
            patches: Normalised patches `[B, T, n, 3, p, p]`.
            patch_ids: int64 `[B, T, n]`; -1 = padding.
            outputs: Parts of the belief that the loss compares.
            moment: Where in the run this is.

        Returns:
            The belief, and the family's own losses by name, each with its weight.
        """
        return model(patches, patch_ids, outputs=outputs), {}

    def scored(self) -> Mapping[str, Mapping[str, Any]]:
        """Options to validate the encoder with, by what is appended to the metrics' names."""
        return {"": {}}

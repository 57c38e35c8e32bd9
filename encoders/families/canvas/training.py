"""How canvas encoders are trained: as all are, with images of a batch seen to different degrees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from encoders.families.canvas.build import build_canvas_encoder
from encoders.families.canvas.config import CanvasConfig
from encoders.training.family import Blueprint, FamilyTraining


class CanvasTraining(FamilyTraining):
    """Training of a canvas encoder.

    Its batch norms average over what a batch shows. Were all images of a batch seen to the same
    degree, what they learn for later would fit none of these degrees.
    """

    rows_apart: ClassVar[bool] = True
    family: ClassVar[str]

    @classmethod
    def build(cls, blueprint: Blueprint) -> Any:
        """A new encoder; see `FamilyTraining.build`. `unseen` and `recycle` are sizes as well."""
        own, body = blueprint.split_sizes("unseen", "recycle")
        config = CanvasConfig(body=body, **blueprint.common, **own)
        return build_canvas_encoder(cls.family, config, blueprint.seed)


class ConvMixerTraining(CanvasTraining):
    """Training of a ConvMixer."""

    family: ClassVar[str] = "convmixer"
    smoke_sizes: ClassVar[Mapping[str, Any]] = {"width": 16, "depth": 2}


class AlterNetTraining(CanvasTraining):
    """Training of an AlterNet."""

    family: ClassVar[str] = "alternet"
    smoke_sizes: ClassVar[Mapping[str, Any]] = {
        "widths": [8, 16, 24],
        "blocks": [1, 2, 2],
        "num_heads": [1, 1, 2],
        "attentions": [0, 1, 1],
        "head_dim": 8,
    }

"""How SparseFormers are trained: as all encoders are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from encoders.families.sparseformer.config import SparseFormerConfig, SparseFormerShape
from encoders.families.sparseformer.model import build_sparseformer
from encoders.training.family import Blueprint, FamilyTraining


class SparseFormerTraining(FamilyTraining):
    """Training of a SparseFormer."""

    smoke_sizes: ClassVar[Mapping[str, Any]] = {
        "latents": 4,
        "points": 4,
        "features": 8,
        "width": 64,
        "cortex_width": 64,
        "repeats": 1,
        "cortex_depth": 1,
        "bottleneck": 8,
    }

    @classmethod
    def build(cls, blueprint: Blueprint) -> Any:
        """A new encoder; see `FamilyTraining.build`. `unseen` is a size as well."""
        own, sizes = blueprint.split_sizes("unseen")
        known = [field.name for field in dataclasses.fields(SparseFormerShape)]
        if unknown := sorted(set(sizes) - set(known)):
            raise ValueError(
                f"--sizes {unknown}: the family 'sparseformer' has {', '.join([*known, 'unseen'])}"
            )
        config = SparseFormerConfig(shape=SparseFormerShape(**sizes), **blueprint.common, **own)
        return build_sparseformer(config, blueprint.seed)

"""How SparseFormers are trained: as all encoders are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from encoders.families.sparseformer.config import SparseFormerConfig, SparseFormerShape
from encoders.families.sparseformer.model import build_sparseformer
from encoders.training.config import EncoderShape
from encoders.training.family import FamilyTraining


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
    def build(
        cls,
        shape: EncoderShape,
        sizes: Mapping[str, Any],
        *,
        name: str,
        image_size: tuple[int, int],
        class_names: tuple[str, ...],
        seed: int,
    ) -> Any:
        """A new encoder; see `FamilyTraining.build`. `unseen` is a size as well."""
        own = dict(sizes)
        unseen = {"unseen": own.pop("unseen")} if "unseen" in own else {}
        known = [field.name for field in dataclasses.fields(SparseFormerShape)]
        if unknown := sorted(set(own) - set(known)):
            raise ValueError(
                f"--sizes {unknown}: the family 'sparseformer' has {', '.join([*known, 'unseen'])}"
            )
        config = SparseFormerConfig(
            name=name,
            image_size=image_size,
            patch_size=shape.patch_size,
            num_classes=len(class_names),
            shape=SparseFormerShape(**own),
            decoder_width=shape.decoder_width,
            **unseen,
        )
        return build_sparseformer(config, seed)

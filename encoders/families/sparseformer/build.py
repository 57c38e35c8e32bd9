"""SparseFormer encoders by name, and from a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from encoders.families.sparseformer.config import SparseFormerConfig, SparseFormerShape
from encoders.families.sparseformer.model import SparseFormerEncoder, build_sparseformer

_IMAGE_SIZE, _PATCH_SIZE, _CLASSES = (128, 256), 16, 26  # those of the synthetic panoramas


def from_dict(values: Mapping[str, Any]) -> SparseFormerEncoder:
    """Builds the encoder that a `config.json` describes, with random weights.

    Raises:
        ValueError: A description that is not understood.
    """
    return build_sparseformer(SparseFormerConfig.from_dict(values))


def sparseformer() -> SparseFormerEncoder:
    """An untrained SparseFormer as in the first paper, always the same."""
    return _untrained("sparseformer", SparseFormerShape())


def sparseformer_btsp() -> SparseFormerEncoder:
    """An untrained SparseFormer of the bootstrapped form, always the same."""
    return _untrained("sparseformer-btsp", SparseFormerShape(form="btsp"))


def _untrained(name: str, shape: SparseFormerShape) -> SparseFormerEncoder:
    config = SparseFormerConfig(
        name=name,
        image_size=_IMAGE_SIZE,
        patch_size=_PATCH_SIZE,
        num_classes=_CLASSES,
        shape=shape,
    )
    return build_sparseformer(config)

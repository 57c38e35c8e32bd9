"""Encoders that recycle tokens, from a configuration; and changes of head and grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from encoders.config import EncoderConfig
from encoders.families.tore.model import GlimpseEncoder, build_encoder


def from_dict(values: Mapping[str, Any]) -> GlimpseEncoder:
    """Builds the encoder that a `config.json` describes, with random weights.

    Raises:
        ValueError: A description that is not understood.
    """
    return build_encoder(EncoderConfig.from_dict(values))


def replace_head(
    encoder: GlimpseEncoder, class_names: tuple[str, ...], seed: int = 0
) -> GlimpseEncoder:
    """The encoder with a new, untrained class head; see `GlimpseEncoder.with_head`."""
    return encoder.with_head(class_names, seed)


def resize_grid(encoder: GlimpseEncoder, image_size: tuple[int, int]) -> GlimpseEncoder:
    """The encoder for scenes of another size; see `GlimpseEncoder.resized`."""
    return encoder.resized(image_size)

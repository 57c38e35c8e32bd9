"""A small encoder for the synthetic panoramas, in a folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ave_env.scenes.synthetic.panoramas import CLASS_NAMES
from encoders import build_encoder
from encoders.storage import save_encoder
from encoders.training.config import EncoderShape


def save_panorama_encoder(folder: Path, width: int = 16) -> Path:
    """Writes an encoder for panoramas of 64x128 pixels, whose head counts as trained."""
    shape = EncoderShape(width=width, depth=2, num_heads=2, decoder_width=16, decoder_num_heads=2)
    config = shape.config("tiny", (64, 128), CLASS_NAMES)
    trained = dataclasses.replace(config, class_names=CLASS_NAMES, weights="trained")
    return save_encoder(build_encoder(trained), folder)

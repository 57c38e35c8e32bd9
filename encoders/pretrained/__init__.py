"""Trained encoders that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from encoders.storage import load_encoder

if TYPE_CHECKING:
    from encoders.protocol import Encoder


def tore_nano() -> Encoder:
    """1.4 M parameters for 128x256 panoramas: width 128, 6 blocks, decoder 64 x 1.

    Trained on the synthetic panoramas; see `tore-nano/README.md` beside this file.
    """
    return load_encoder(Path(__file__).with_name("tore-nano"))

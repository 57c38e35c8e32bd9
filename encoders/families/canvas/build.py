"""The canvas families: which body each has, and the encoders known by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from encoders.families.canvas.config import CanvasConfig
from encoders.families.canvas.convmixer import convmixer_body
from encoders.families.canvas.model import CanvasEncoder
from encoders.families.canvas.shapes import ConvMixerShape, shape_of

_IMAGE_SIZE, _PATCH_SIZE, _CLASSES = (128, 256), 16, 26  # those of the synthetic panoramas


class ConvMixerEncoder(CanvasEncoder):
    """A ConvMixer that looks at the canvas.

    Args:
        config: What to build; `body` holds fields of `ConvMixerShape`.
    """

    family: ClassVar[str] = "convmixer"

    def __init__(self, config: CanvasConfig) -> None:
        shape = shape_of(ConvMixerShape, config.body)
        config = dataclasses.replace(config, body=dataclasses.asdict(shape))
        super().__init__(config, convmixer_body(shape, config.patch_size))


_FAMILIES: dict[str, type[CanvasEncoder]] = {"convmixer": ConvMixerEncoder}


def build_canvas_encoder(family: str, config: CanvasConfig, seed: int = 0) -> CanvasEncoder:
    """Builds an encoder with random weights, in evaluation mode, on the CPU.

    Args:
        family: One of `convmixer`, `alternet`, `riformer`.
        config: What to build.
        seed: Of the initial weights; torch's global generator is left as it was.

    Raises:
        ValueError: Sizes that do not fit together.
    """
    kind: Any = _FAMILIES[family]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder: CanvasEncoder = kind(config)
    return encoder.eval()


def convmixer_from_dict(values: Mapping[str, Any]) -> CanvasEncoder:
    """Builds the ConvMixer that a `config.json` describes, with random weights."""
    return build_canvas_encoder("convmixer", CanvasConfig.from_dict(values))


def convmixer() -> CanvasEncoder:
    """An untrained ConvMixer, always the same."""
    return _untrained("convmixer")


def _untrained(family: str) -> CanvasEncoder:
    config = CanvasConfig(
        name=family,
        body={},
        image_size=_IMAGE_SIZE,
        patch_size=_PATCH_SIZE,
        num_classes=_CLASSES,
    )
    return build_canvas_encoder(family, config)

"""The canvas families: which body each has, and the encoders known by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from encoders.families.canvas.alternet import alternet_body
from encoders.families.canvas.config import CanvasConfig
from encoders.families.canvas.convmixer import convmixer_body
from encoders.families.canvas.model import CanvasEncoder
from encoders.families.canvas.riformer import fold_weights, riformer_body
from encoders.families.canvas.shapes import (
    AlterNetShape,
    ConvMixerShape,
    RIFormerShape,
    shape_of,
)

_IMAGE_SIZE, _PATCH_SIZE, _CLASSES = (128, 256), 16, 26  # those of the synthetic panoramas


class ConvMixerEncoder(CanvasEncoder):
    """A ConvMixer that looks at the canvas.

    Args:
        config: What to build; `body` holds fields of `ConvMixerShape`.
    """

    family: ClassVar[str] = "convmixer"

    def __init__(self, config: CanvasConfig) -> None:
        shape = shape_of(ConvMixerShape, config.body)
        super().__init__(_with_body(config, shape), convmixer_body(shape, config.patch_size))


class AlterNetEncoder(CanvasEncoder):
    """An AlterNet that looks at the canvas.

    Args:
        config: What to build; `body` holds fields of `AlterNetShape`.
    """

    family: ClassVar[str] = "alternet"

    def __init__(self, config: CanvasConfig) -> None:
        shape = shape_of(AlterNetShape, config.body)
        super().__init__(_with_body(config, shape), alternet_body(shape))


class RIFormerEncoder(CanvasEncoder):
    """A RIFormer that looks at the canvas; in evaluation mode its affines are part of its norms.

    Args:
        config: What to build; `body` holds fields of `RIFormerShape`.
    """

    family: ClassVar[str] = "riformer"

    def __init__(self, config: CanvasConfig) -> None:
        shape = shape_of(RIFormerShape, config.body)
        super().__init__(_with_body(config, shape), riformer_body(shape))

    def folded(self) -> RIFormerEncoder:
        """The same encoder without its affines, which are in its norms for good: for inference.

        Raises:
            ValueError: It has other mixers, or was folded before.
        """
        if self.config.body["folded"] or self.config.body["mixer"] != "affine":
            raise ValueError(
                f"encoder {self.config.name!r} has no affines to fold: mixer="
                f"{self.config.body['mixer']!r}, folded={self.config.body['folded']}"
            )
        body = {**self.config.body, "folded": True}
        other = RIFormerEncoder(dataclasses.replace(self.config, body=body))
        other.to(next(self.parameters()))  # before the weights, or doubles would be rounded
        rest = {
            name: tensor
            for name, tensor in self.state_dict().items()
            if not name.startswith("body.")
        }
        folded = {f"body.{name}": tensor for name, tensor in fold_weights(self.body).items()}
        other.load_state_dict({**rest, **folded})
        return other.eval()


_FAMILIES: dict[str, type[CanvasEncoder]] = {
    kind.family: kind for kind in (ConvMixerEncoder, AlterNetEncoder, RIFormerEncoder)
}


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


def alternet_from_dict(values: Mapping[str, Any]) -> CanvasEncoder:
    """Builds the AlterNet that a `config.json` describes, with random weights."""
    return build_canvas_encoder("alternet", CanvasConfig.from_dict(values))


def riformer_from_dict(values: Mapping[str, Any]) -> CanvasEncoder:
    """Builds the RIFormer that a `config.json` describes, with random weights."""
    return build_canvas_encoder("riformer", CanvasConfig.from_dict(values))


def convmixer() -> CanvasEncoder:
    """An untrained ConvMixer, always the same."""
    return _untrained("convmixer")


def alternet() -> CanvasEncoder:
    """An untrained AlterNet, always the same."""
    return _untrained("alternet")


def riformer() -> CanvasEncoder:
    """An untrained RIFormer, always the same."""
    return _untrained("riformer")


def _with_body(config: CanvasConfig, shape: Any) -> CanvasConfig:
    """The configuration with every size of the body written down."""
    return dataclasses.replace(config, body=dataclasses.asdict(shape))


def _untrained(family: str) -> CanvasEncoder:
    config = CanvasConfig(
        name=family,
        body={},
        image_size=_IMAGE_SIZE,
        patch_size=_PATCH_SIZE,
        num_classes=_CLASSES,
    )
    return build_canvas_encoder(family, config)

"""Stateful Vision Transformer encoders for active visual exploration: tokens in, belief out.

Names are imported on first use, so that the configuration classes cost no import of torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from encoders import checkpoints
    from encoders.config import DecoderConfig, EncoderConfig
    from encoders.factory import build_encoder, replace_head, resize_grid
    from encoders.flops import FlopCount
    from encoders.model import DECODER_OUTPUTS, OUTPUTS, Belief, GlimpseEncoder
    from encoders.registry import create_encoder, list_encoders, register_encoder
    from encoders.tore import ToreState
    from encoders.training_config import TrainingConfig

_HOMES = {
    "DECODER_OUTPUTS": "model",
    "OUTPUTS": "model",
    "Belief": "model",
    "DecoderConfig": "config",
    "EncoderConfig": "config",
    "FlopCount": "flops",
    "GlimpseEncoder": "model",
    "ToreState": "tore",
    "TrainingConfig": "training_config",
    "build_encoder": "factory",
    "checkpoints": "",
    "create_encoder": "registry",
    "list_encoders": "registry",
    "register_encoder": "registry",
    "replace_head": "factory",
    "resize_grid": "factory",
}

__all__ = [
    "DECODER_OUTPUTS",
    "OUTPUTS",
    "Belief",
    "DecoderConfig",
    "EncoderConfig",
    "FlopCount",
    "GlimpseEncoder",
    "ToreState",
    "TrainingConfig",
    "build_encoder",
    "checkpoints",
    "create_encoder",
    "list_encoders",
    "register_encoder",
    "replace_head",
    "resize_grid",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'encoders' has no attribute {name!r}")
    if name == "checkpoints":
        return importlib.import_module("encoders.checkpoints")
    return getattr(importlib.import_module(f"encoders.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)

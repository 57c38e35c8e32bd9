"""Stateful Vision Transformer encoders for active visual exploration: tokens in, belief out."""

from encoders import checkpoints
from encoders.config import DecoderConfig, EncoderConfig
from encoders.factory import build_encoder, replace_head, resize_grid
from encoders.flops import FlopCount
from encoders.model import DECODER_OUTPUTS, OUTPUTS, Belief, GlimpseEncoder
from encoders.registry import create_encoder, list_encoders, register_encoder
from encoders.tore import ToreState

__all__ = [
    "DECODER_OUTPUTS",
    "OUTPUTS",
    "Belief",
    "DecoderConfig",
    "EncoderConfig",
    "FlopCount",
    "GlimpseEncoder",
    "ToreState",
    "build_encoder",
    "checkpoints",
    "create_encoder",
    "list_encoders",
    "register_encoder",
    "replace_head",
    "resize_grid",
]

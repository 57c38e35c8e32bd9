"""Words that options accept, where several modules ask for the same ones; imports no torch."""

from __future__ import annotations

import typing
from typing import Literal

Precision = Literal["float32", "bfloat16", "int8", "auto"]
"""Number format of matrix products; "auto" is bfloat16 where the device has it natively.

"int8" is dynamic quantisation of linear layers, for inference on x86 processors.
"""

TrainingPrecision = Literal["float32", "bfloat16", "auto"]
"""Number format of matrix products where gradients are wanted."""

Activation = Literal["gelu", "quick_gelu", "gelu_tanh", "relu", "silu"]
"""Activation of a Vision Transformer's MLPs, by timm's names."""

ACTIVATIONS: tuple[str, ...] = typing.get_args(Activation)

PRECISIONS: tuple[str, ...] = typing.get_args(Precision)

AttentionKind = Literal["softmax", "angular"]
"""How the blocks of a Vision Transformer attend."""

ATTENTION_KINDS: tuple[AttentionKind, ...] = typing.get_args(AttentionKind)

TokenOrder = Literal["grid", "arrival"]
"""What lies next to what for angular attention: patches of the grid in row-major order, unseen ones
between them, or tokens in the order in which they came."""

TOKEN_ORDERS: tuple[TokenOrder, ...] = typing.get_args(TokenOrder)

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

"""Which number format an encoder multiplies in."""

from __future__ import annotations

import contextlib
import copy
import itertools
from typing import TypeVar

import torch
from torch import nn

from encoders.layers.vit import set_fused_attention
from encoders.support.choices import PRECISIONS

Module = TypeVar("Module", bound=nn.Module)


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware, so that they are faster."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    # Without these instructions bfloat16 is emulated on CPUs and slower than float32.
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, probe, bool)()) for probe in probes)


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """Turns a precision's name into the dtype of matrix products.

    Args:
        precision: "float32", "bfloat16", or "auto" for bfloat16 where it is native.
        device: Where the products run.

    Raises:
        ValueError: Any other name.
    """
    if precision == "auto":
        return torch.bfloat16 if has_native_bfloat16(device) else torch.float32
    if precision in PRECISIONS:
        return getattr(torch, precision)
    raise ValueError(f"precision={precision!r}; expected one of {', '.join(PRECISIONS)}")


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager:
    """Context in which matrix products run in `dtype`; does nothing for float32."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def cast_for_inference(module: Module, dtype: torch.dtype) -> Module:
    """What to run in the place of `module` under `autocast`, without gradients: the same, faster.

    The weights of linear layers are cast once rather than at every call; results do not change by
    that. All other parameters are those of `module`, which stays as it is. Where the weights of
    `module` change later, those of the linear layers here do not.

    Args:
        module: Float32 weights.
        dtype: Of matrix products; float32 returns `module` itself.
    """
    if dtype == torch.float32:
        return module
    tensors = itertools.chain(module.parameters(), module.buffers())
    lowered = copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})
    for layer in lowered.modules():
        if isinstance(layer, nn.Linear):
            for name, parameter in list(layer.named_parameters(recurse=False)):
                setattr(layer, name, nn.Parameter(parameter.detach().to(dtype), False))
    if all(parameter.device.type == "cpu" for parameter in module.parameters()):
        # Faster for many rows of few tokens, and in float32 not faster.
        set_fused_attention(lowered, False)
    return lowered

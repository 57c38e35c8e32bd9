"""Which number format an encoder multiplies in."""

from __future__ import annotations

import contextlib
import copy
import itertools
import platform
from typing import TypeVar

import torch
from torch import nn

from encoders.layers.packed import PackedLinear, can_pack
from encoders.layers.vit import set_fused_attention
from encoders.support.choices import PRECISIONS

Module = TypeVar("Module", bound=nn.Module)

FEW_ROWS = 4
"""Up to so many rows, float32 weights are worth laying out anew."""

# Numbers; of smaller float32 weights the products are faster than what oneDNN does around its own.
_LARGE_WEIGHT = 2**18


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
        ValueError: Any other name; int8 where there is no such product.
    """
    if precision == "int8" and (device.type != "cpu" or not can_pack(torch.int8)):
        raise ValueError(
            f"precision='int8' is for x86 processors, and this is {device.type!r} on "
            f"{platform.machine()}; choose float32, bfloat16 or auto"
        )
    if precision == "auto":
        return torch.bfloat16 if has_native_bfloat16(device) else torch.float32
    if precision in PRECISIONS:
        return getattr(torch, precision)
    raise ValueError(f"precision={precision!r}; expected one of {', '.join(PRECISIONS)}")


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager:
    """Context in which matrix products run in `dtype`; does nothing for float32 and int8."""
    if dtype in (torch.float32, torch.int8):
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def cast_for_inference(module: Module, dtype: torch.dtype, rows: int | None = None) -> Module:
    """What to run in the place of `module` under `autocast`, without gradients: the same, faster.

    The weights of linear layers are cast once rather than at every call, and on CPUs laid out as
    they are multiplied fastest. All other parameters are those of `module`, which stays as it is.
    Where the weights of `module` change later, those of the linear layers here do not.

    Args:
        module: Float32 weights.
        dtype: Of matrix products; int8 means dynamic quantisation of linear layers.
        rows: How many rows a step has; where it is known to be few, float32 weights are laid out
            anew as well, which takes their memory once more. Otherwise float32 returns `module`.
    """
    devices = {parameter.device.type for parameter in module.parameters()}
    packs = devices == {"cpu"} and can_pack(dtype)
    if dtype == torch.float32 and not (packs and rows is not None and rows <= FEW_ROWS):
        return module
    layers = {name: each for name, each in module.named_modules() if type(each) is nn.Linear}
    tensors = itertools.chain(module.parameters(), module.buffers())
    lowered = copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})
    for name, layer in layers.items():
        small = dtype == torch.float32 and layer.weight.numel() < _LARGE_WEIGHT
        if packs and layer.weight.dtype == torch.float32 and not small:
            parent, _, own = name.rpartition(".")
            setattr(lowered.get_submodule(parent), own, PackedLinear(layer, dtype))
            continue
        inner = lowered.get_submodule(name)
        for own, parameter in list(layer.named_parameters(recurse=False)):
            values = parameter.detach().to(dtype)
            if small and values.ndim == 2:
                values = values.t().contiguous().t()  # as the product reads it
            setattr(inner, own, nn.Parameter(values, False))
    if devices == {"cpu"} and dtype == torch.bfloat16:
        # Faster for many rows of few tokens, and in float32 not faster.
        set_fused_attention(lowered, False)
    return lowered

"""Which number format an encoder multiplies in."""

from __future__ import annotations

import contextlib
from typing import Literal

import torch

Precision = Literal["float32", "auto", "bfloat16"]


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
    if precision in ("float32", "bfloat16"):
        return getattr(torch, precision)
    raise ValueError(f"precision {precision!r}; expected 'float32', 'bfloat16' or 'auto'")


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager:
    """Context in which matrix products run in `dtype`; does nothing for float32."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)

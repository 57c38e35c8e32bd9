"""Linear layers in the form that a processor multiplies fastest, for inference on CPUs.

A step of few tokens spends its time on bringing weights from memory, and PyTorch's product lays a
float32 weight out anew at every call. Here oneDNN does that once.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Of operations that PyTorch itself uses, in `torch.compile` and in quantised modules.
_ops: Any = torch.ops

_FEW_TOKENS = 128
"""More than so many float32 tokens are multiplied as fast from a plain weight."""

_LAID_OUT_FOR = 32  # tokens that oneDNN is told to expect


class PackedLinear(nn.Module):
    """A linear layer with copies of its weight in another form, made when first needed.

    Where the layer's weight changes later, the copies do not.

    Args:
        layer: On the CPU, in float32.
        dtype: torch.float32 or torch.bfloat16, or torch.int8 for weights of eight bits with a scale
            for each output, and inputs brought to eight bits at every call (dynamic quantisation).
    """

    _layer: nn.Linear

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.in_features = layer.in_features
        self.out_features = layer.out_features
        self.dtype = dtype
        self.__dict__["_layer"] = layer  # which this module is no parent of
        self._forms: dict[tuple[int, int], tuple[Any, Tensor | None]] = {}

    @property
    def weight(self) -> Tensor:
        """The layer's own weight, for those who read it off: `[out, in]`, float32."""
        return self._layer.weight

    @property
    def bias(self) -> Tensor | None:
        """The layer's own bias, `[out]`."""
        return self._layer.bias

    def forward(self, values: Tensor) -> Tensor:
        """`[..., in]` to `[..., out]`, in bfloat16 where that is the dtype, else in float32."""
        return self.rows(values, 0, self.out_features)

    def rows(self, values: Tensor, start: int, stop: int) -> Tensor:
        """The outputs from `start` to `stop` alone."""
        tokens = values.numel() // self.in_features
        if tokens == 0 or (self.dtype == torch.float32 and tokens > _FEW_TOKENS):
            weight, bias = _slices(self._layer, start, stop)
            return F.linear(values, weight, bias)
        if (start, stop) not in self._forms:
            self._forms[start, stop] = _packed(*_slices(self._layer, start, stop), self.dtype)
        weight, bias = self._forms[start, stop]
        if self.dtype == torch.int8:
            return _ops.quantized.linear_dynamic(values.float(), weight, reduce_range=True)
        values = values.to(self.dtype)
        return _ops.mkldnn._linear_pointwise(values, weight, bias, "none", [], "")

    def extra_repr(self) -> str:
        """Sizes and form."""
        return f"{self.in_features}, {self.out_features}, {self.dtype}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_forms": {}}  # which cannot be copied


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this build of PyTorch has a packed form for a dtype on this processor."""
    if dtype == torch.int8:
        has_weights = hasattr(torch, "quantize_per_channel")
        return has_weights and "x86" in torch.backends.quantized.supported_engines
    if not torch.backends.mkldnn.is_available() or not hasattr(_ops.mkldnn, "_linear_pointwise"):
        return False
    if dtype == torch.bfloat16:
        supported = getattr(_ops.mkldnn, "_is_mkldnn_bf16_supported", None)
        return supported is not None and bool(supported())
    return dtype == torch.float32


def _slices(layer: nn.Linear, start: int, stop: int) -> tuple[Tensor, Tensor | None]:
    return layer.weight[start:stop], None if layer.bias is None else layer.bias[start:stop]


@torch.no_grad()
def _packed(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> tuple[Any, Tensor | None]:
    weight, bias = weight.detach(), None if bias is None else bias.detach().clone()
    if dtype == torch.int8:
        scales = weight.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / 127
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        with warnings.catch_warnings():  # of PyTorch's plans, which the user cannot act on
            warnings.filterwarnings("ignore", "torch.quantize_per_tensor")
            lowered = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        return _ops.quantized.linear_prepack(lowered, bias), None
    lowered = weight.to(dtype, copy=True)
    bias = None if bias is None else bias.to(dtype)
    return _ops.mkldnn._reorder_linear_weight(lowered, _LAID_OUT_FOR), bias

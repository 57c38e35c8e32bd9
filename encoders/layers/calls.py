"""Modules called without what calling a module costs.

Of a step of one row and a small encoder, most of the time went into `torch.nn.Module.__call__`
and the attributes it looks up. Here a module of a known kind that has no hooks of its own goes
straight to the operation that its `forward` would call, on the parameters it has at that moment;
any other one is called as always. Hooks on all modules at once, `torch`'s global ones, are not
seen by the former.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.layers.packed import PackedLinear

_OF_TIMM = {
    "LayerNorm": "norm",
    "DropPath": "drop",
    "LayerScale": "scale",
    "Mlp": "mlp",
    "Attention": "attention",
}
_OURS = {"FeedForward": "mlp", "SelfAttention": "attention"}
_KNOWN: dict[type, str | None] = {nn.LayerNorm: "norm", nn.Dropout: "drop"}
_MLP_LAYERS = ("fc1", "act", "drop1", "norm", "fc2", "drop2")


def call(module: Any, values: Tensor) -> Tensor:
    """What `module(values)` returns."""
    kind = type(module)
    if kind is nn.Identity:
        return values
    fields = module.__dict__
    if fields["_forward_hooks"] or fields["_forward_pre_hooks"] or fields["_backward_hooks"]:
        return module(values)
    if kind is nn.Linear:
        parameters = fields["_parameters"]
        return F.linear(values, parameters["weight"], parameters["bias"])
    name = _known_as(kind)
    if name == "drop" and not fields["training"]:
        return values
    if name == "norm" and not fields.get("_fast_norm"):
        parameters = fields["_parameters"]
        return torch.layer_norm(
            values,
            fields["normalized_shape"],
            parameters["weight"],
            parameters["bias"],
            fields["eps"],
        )
    if kind is nn.GELU:
        return F.gelu(values, approximate=fields["approximate"])
    if kind is PackedLinear:
        return module.forward(values)
    if name == "scale" and not fields["inplace"]:
        return values * fields["_parameters"]["gamma"]
    return module(values)


def _known_as(kind: type) -> str | None:
    """What a kind of module does, where that is known; told by its name, for none is imported."""
    if kind not in _KNOWN:
        names: dict[str, str] = {}
        if kind.__module__.startswith("timm."):
            names = _OF_TIMM
        elif kind.__module__ == "encoders.layers.transformer":
            names = _OURS
        _KNOWN[kind] = names.get(kind.__name__)
    return _KNOWN[kind]


def call_rows(layer: Any, values: Tensor, start: int, stop: int) -> Tensor:
    """Some outputs of a linear layer, `[..., stop - start]`; no others are computed if possible.

    Args:
        layer: A linear layer, or a module in the place of one.
        values: Its input.
        start: First output.
        stop: One past the last output.
    """
    kind = type(layer)
    if kind is PackedLinear:
        return layer.rows(values, start, stop)
    if kind is not nn.Linear or is_watched(layer):
        return layer(values)[..., start:stop]
    bias = None if layer.bias is None else layer.bias[start:stop]
    return F.linear(values, layer.weight[start:stop], bias)


def run_mlp(mlp: Any, values: Tensor) -> Tensor:
    """What a block's MLP makes of tokens `[B, n, D]`."""
    if _known_as(type(mlp)) != "mlp" or is_watched(mlp):
        return mlp(values)
    modules = mlp._modules  # looking up attributes of modules takes longer
    for name in _MLP_LAYERS:
        if name in modules:
            values = call(modules[name], values)
    return values


def is_plain_attention(layer: nn.Module) -> bool:
    """Whether an attention layer is timm's or ours, and has no hooks: it may be run in parts."""
    return _known_as(type(layer)) == "attention" and not is_watched(layer)


def is_watched(module: nn.Module) -> bool:
    """Whether somebody has hooks on a module, which have to be called."""
    fields = module.__dict__
    return bool(
        fields["_forward_hooks"] or fields["_forward_pre_hooks"] or fields["_backward_hooks"]
    )

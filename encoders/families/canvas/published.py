"""Weights of ConvMixer and RIFormer as they are published.

AlterNet's authors publish none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from encoders.checkpoints.formats import PublishedFormat, Wishes, count
from encoders.families.canvas.build import build_canvas_encoder
from encoders.families.canvas.config import CanvasConfig

_PATCH_SIZE = 16  # by which scenes are seen that a RIFormer encodes; its stages know none

# Activations of the published ConvMixers by width and depth: no tensor tells.
_ACTIVATIONS = {(768, 32): "relu", (1024, 20): "gelu", (1536, 20): "gelu"}

# The layers of a block in the order of timm's and the authors' `Sequential`.
_MIXER_LAYERS = {
    "0.fn.0": "depthwise",
    "0.fn.2": "depthwise_norm",
    "1": "pointwise",
    "3": "pointwise_norm",
}

_RIFORMER_NAMES = (
    (r"^head\.(fc\.)?", "head."),
    (r"^patch_embed\.proj\.", "body.layers.0.embed."),
    (r"^norm6\.", "body.final."),
    (r"\.token_mixer\.affine\.weight$", ".mixer.scale"),
    (r"\.token_mixer\.affine\.bias$", ".mixer.shift"),
    (r"\.mlp\.fc", ".fc"),
    (r"\.norm_reparam\.", ".norm1."),
)


class ConvMixerFormat(PublishedFormat):
    """timm's names, or the numbers of the authors' `Sequential`."""

    kind: ClassVar[str] = "ConvMixer"
    takes: ClassVar[frozenset[str]] = frozenset(("mean", "std", "activation", "patch_size"))

    @classmethod
    def renamed(cls, tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """See `PublishedFormat.renamed`."""
        if "3.0.fn.0.weight" in tensors:
            tensors = _with_timm_names(tensors)
        if "stem.0.weight" not in tensors or "blocks.0.0.fn.0.weight" not in tensors:
            return None
        layers = {"stem.0": "body.layers.0.conv", "stem.2": "body.layers.0.norm", "head": "head"}
        for block in range(count(tensors, "blocks.{}.")):
            for theirs, ours in _MIXER_LAYERS.items():
                layers[f"blocks.{block}.{theirs}"] = f"body.layers.{block + 1}.{ours}"
        found = {}
        for name, tensor in tensors.items():
            layer, _, own = name.rpartition(".")
            found[f"{layers.get(layer, layer)}.{own}"] = tensor
        return found

    @classmethod
    def build(cls, tensors: Mapping[str, Tensor], wishes: Wishes) -> Any:
        """See `PublishedFormat.build`."""
        width, _, patch_size, _ = tensors["body.layers.0.conv.weight"].shape
        depth = count(tensors, "body.layers.{}.") - 1
        activation = wishes.activation or _ACTIVATIONS.get((width, depth))
        if activation is None:
            raise ValueError(
                f"give activation (--activation): no tensor tells that of width {width} and depth "
                f"{depth}; relu in the published 768/32, gelu in 1024/20 and 1536/20"
            )
        body = {
            "width": width,
            "depth": depth,
            "kernel_size": tensors["body.layers.1.depthwise.weight"].shape[-1],
            "activation": activation,
        }
        return build_canvas_encoder(
            "convmixer",
            CanvasConfig(
                body=body,
                num_classes=_classes(tensors),
                **wishes.described(patch_size),
            ),
        )


class RIFormerFormat(PublishedFormat):
    """mmpretrain's names, of the form that is trained and of the one that is deployed."""

    kind: ClassVar[str] = "RIFormer"
    takes: ClassVar[frozenset[str]] = frozenset(("mean", "std", "patch_size"))

    @classmethod
    def renamed(cls, tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """See `PublishedFormat.renamed`."""
        tensors = {name.removeprefix("backbone."): each for name, each in tensors.items()}
        if "network.0.0.layer_scale_1" not in tensors or "norm6.weight" not in tensors:
            return None
        found = {}
        for name, tensor in tensors.items():
            for theirs, ours in _RIFORMER_NAMES:
                name = re.sub(theirs, ours, name)
            parts = name.split(".")
            if parts[0] == "network":  # stages and the convolutions between them take turns
                inner = ["embed"] if parts[2] == "proj" else ["blocks", parts[2]]
                stage = str((int(parts[1]) + 1) // 2)
                name = ".".join(["body", "layers", stage, *inner, *parts[3:]])
            found[name] = tensor.flatten() if name.endswith(".mixer.scale") else tensor
        return found

    @classmethod
    def build(cls, tensors: Mapping[str, Tensor], wishes: Wishes) -> Any:
        """See `PublishedFormat.build`."""
        stages = range(count(tensors, "body.layers.{}."))
        widths = [tensors[f"body.layers.{stage}.embed.weight"].shape[0] for stage in stages]
        body = {
            "layers": [count(tensors, f"body.layers.{stage}.blocks." + "{}.") for stage in stages],
            "widths": widths,
            "mlp_ratio": tensors["body.layers.0.blocks.0.fc1.weight"].shape[0] // widths[0],
            "folded": "body.layers.0.blocks.0.mixer.scale" not in tensors,
        }
        return build_canvas_encoder(
            "riformer",
            CanvasConfig(
                body=body,
                num_classes=_classes(tensors),
                **wishes.described(wishes.patch_size or _PATCH_SIZE),
            ),
        )


def _classes(tensors: Mapping[str, Tensor]) -> int:
    return len(tensors["head.weight"]) if "head.weight" in tensors else 0


def _with_timm_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' `Sequential`: stem of three, blocks, then pooling, flattening and a head."""
    depth = sum(name.endswith(".0.fn.0.weight") for name in tensors)
    found = {}
    for name, tensor in tensors.items():
        number, _, own = name.partition(".")
        if not number.isdecimal():
            found[name] = tensor
        elif int(number) < 3:
            found[f"stem.{name}"] = tensor
        elif int(number) < 3 + depth:
            found[f"blocks.{int(number) - 3}.{own}"] = tensor
        else:
            found[f"head.{own}"] = tensor
    return found

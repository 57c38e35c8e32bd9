"""Small encoders of the canvas families, with weights and statistics that all matter."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from encoders.families.canvas.build import build_canvas_encoder
from encoders.families.canvas.config import CanvasConfig
from encoders.families.canvas.model import CanvasEncoder

_STAGES = {"layers": [1, 2, 1], "widths": [6, 8, 10]}  # cells of 16x16 pixels at the end
_CELLS = {"norm": "channel", "layers": [1, 1, 1, 1], "widths": [6, 8, 10, 12]}

# Bodies for images of 64x96 pixels and patches of 16.
BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "convmixer": ("convmixer", {"width": 12, "depth": 3, "kernel_size": 3}),
    "alternet": (
        "alternet",
        {
            "widths": [6, 8, 10],
            "blocks": [1, 2, 2],
            "attentions": [0, 1, 1],
            "num_heads": [1, 2, 1],
            "head_dim": 4,
            "window": 2,
        },
    ),
    "riformer": ("riformer", _STAGES),
    "riformer-cells": ("riformer", _CELLS),
    "riformer-patches": ("riformer", {**_CELLS, "embedding": "patches"}),
}
RECYCLING = [name for name in BODIES if name != "riformer"]


def tiny_canvas(name: str, seed: int = 0, **changes: Any) -> CanvasEncoder:
    """One of `BODIES`; changes are those of the configuration, `body` adds to its sizes."""
    family, body = BODIES[name]
    values: dict[str, Any] = {
        "name": f"tiny {name}",
        "image_size": (64, 96),
        "patch_size": 16,
        "num_classes": 5,
        "decoder_width": 8,
        **changes,
        "body": {**body, **changes.get("body", {})},
    }
    return spread(build_canvas_encoder(family, CanvasConfig(**values), seed), seed)


def spread(encoder: CanvasEncoder, seed: int = 0) -> CanvasEncoder:
    """Moves every weight and every statistic of batch norms from where it begins."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        for module in encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                mean, var = module.running_mean, module.running_var
                assert mean is not None
                assert var is not None
                mean.add_(0.3 * torch.randn(mean.shape, generator=generator))
                var.mul_(0.5 + torch.rand(var.shape, generator=generator))
    return encoder

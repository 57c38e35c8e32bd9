"""SparseFormer as it was published: from a map of features to latent tokens.

Its weights have the authors' names, so that what they publish loads as it is.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.families.sparseformer.config import SparseFormerShape
from encoders.families.sparseformer.units import (
    ADJUST,
    ATTENTION,
    ENCODE,
    MLP,
    SAMPLE,
    SparseUnit,
    UnitShape,
)

STRIDE = 4
"""Pixels of a cell of the map, along each side."""

_FEATURE_EPS = 1e-5


class Latents(NamedTuple):
    """What a SparseFormer has made of a map.

    Attributes:
        values: `[B, N, D]`, the class token first where there is one.
        tokens: The same after the final norm.
        latent: `[B, D]`, what is classified: the class token, or the mean, after the final norm.
        regions: `[B, N, 4]`, (x1, y1, x2, y2) in units of the image, without one of a class token.
        after_units: The regions after each unit.
    """

    values: Tensor
    tokens: Tensor
    latent: Tensor
    regions: Tensor
    after_units: list[Tensor]


class EarlyFeatures(nn.Module):
    """A convolution of 7x7 with stride 2, max pooling, and a norm over channels without weights.

    Args:
        channels: Of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels, 7, stride=2, padding=3)

    def forward(self, images: Tensor) -> Tensor:
        """The map `[B, C, H/4, W/4]` of normalised images `[B, 3, H, W]`."""
        return self.normalise(F.max_pool2d(self.conv1(images).relu(), 3, stride=2, padding=1))

    @staticmethod
    def normalise(pooled: Tensor) -> Tensor:
        """Brings the channels of every cell to mean 0 and variance 1."""
        channels = pooled.movedim(1, -1)
        return F.layer_norm(channels, channels.shape[-1:], eps=_FEATURE_EPS).movedim(-1, 1)


class SparseFormer(nn.Module):
    """Latent tokens that look at a map through their regions, then a plain transformer.

    Args:
        shape: Sizes and form.
        num_classes: Outputs of the class head; 0 for none.
    """

    def __init__(self, shape: SparseFormerShape, num_classes: int) -> None:
        super().__init__()
        self.shape = shape
        self.feat_extractor = EarlyFeatures(shape.features)
        bootstrapped = shape.form == "btsp"
        self.initial_roi = nn.Embedding(shape.latents, 4)
        self.initial_embedding = nn.Embedding(1 if bootstrapped else shape.latents, shape.width)
        if bootstrapped:
            self.cls_embedding = nn.Embedding(1, shape.cortex_width)
        wide = shape.cortex_width
        transition: list[nn.Module] = [nn.Linear(shape.width, wide)]
        if not bootstrapped:
            transition.append(nn.LayerNorm(wide, eps=shape.eps))
        focusing, late, cortex = unit_shapes(shape)
        middle = [SparseUnit(late), nn.Sequential(*transition)]
        if shape.early_transition:
            middle.reverse()
        layers: list[nn.Module] = [SparseUnit(focusing), *middle]
        layers += [SparseUnit(cortex) for _ in range(shape.cortex_depth)]
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(wide, eps=shape.eps)
        self.proj = nn.Linear(wide, num_classes) if num_classes else nn.Identity()
        self._init_weights()

    def forward(self, images: Tensor) -> Tensor:
        """Class logits `[B, C]` of normalised images `[B, 3, H, W]`."""
        return self.proj(self.look(self.feat_extractor(images)).latent)

    def look(self, features: Tensor) -> Latents:
        """Latent tokens of a map `[B, C, h, w]`."""
        batch = len(features)
        # Places in half precision would be those of other pixels.
        regions = self.initial_roi.weight.repeat(batch, 1, 1)
        regions = regions.to(torch.promote_types(regions.dtype, torch.float32))
        alike = self.shape.latents // len(self.initial_embedding.weight)
        tokens = self.initial_embedding.weight.repeat(batch, alike, 1)
        after, first_cortex = [], len(self.layers) - self.shape.cortex_depth
        for number, layer in enumerate(self.layers):
            if not isinstance(layer, SparseUnit):
                tokens = layer(tokens)
                continue
            if number == first_cortex and self.shape.form == "btsp":
                start = self.cls_embedding.weight.repeat(batch, 1, 1)
                tokens = torch.cat([start.to(tokens), tokens], 1)
            for repeat in range(self.shape.repeats if number == 0 else 1):
                tokens, regions = layer(tokens, regions, features, repeat)
            after.append(regions)
        normed = self.norm(tokens)
        # The norm of the mean, not the mean of what is normed.
        latent = normed[:, 0] if self.shape.form == "btsp" else self.norm(tokens.mean(1))
        return Latents(tokens, normed, latent, regions, after)

    def macs(self) -> int:
        """Multiply-accumulates of `look`, whatever the map."""
        latents, total = self.shape.latents, 0
        first_cortex = len(self.layers) - self.shape.cortex_depth
        classes = int(self.shape.form == "btsp")
        for number, layer in enumerate(self.layers):
            if isinstance(layer, SparseUnit):
                everyone = latents + (classes if number >= first_cortex else 0)
                once = layer.macs(latents, everyone)
                total += once * (self.shape.repeats if number == 0 else 1)
            else:
                total += latents * layer[0].weight.numel()  # type: ignore[index]
        return total

    @torch.no_grad()
    def _init_weights(self) -> None:
        """Regions tile the image, points a region; nothing is adjusted or mixed to begin with."""
        self.initial_roi.weight.copy_(tiled_regions(self.shape.latents))
        for layer in self.layers:
            if not isinstance(layer, SparseUnit):
                continue
            for module in layer.modules():
                if isinstance(module, nn.Linear):
                    nn.init.trunc_normal_(module.weight, std=0.02)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)
            if ADJUST in layer.shape.operations:
                nn.init.zeros_(layer.roi_adjust_module[-1].weight)  # type: ignore[arg-type]
            if SAMPLE in layer.shape.operations:
                points = tiled_points(layer.shape.points)
                layer.roi_offset_bias.copy_(points.flatten())
                nn.init.zeros_(layer.roi_offset_module[-1].weight)  # type: ignore[arg-type]
        if isinstance(self.proj, nn.Linear):
            nn.init.trunc_normal_(self.proj.weight, std=0.02)
            nn.init.zeros_(self.proj.bias)


def unit_shapes(shape: SparseFormerShape) -> tuple[UnitShape, UnitShape, UnitShape]:
    """The unit that focuses, the last one that samples, and those of the plain transformer."""
    bootstrapped = shape.form == "btsp"
    late_width = shape.cortex_width if shape.early_transition else shape.width

    def unit(operations: tuple[str, ...], width: int, repeats: int = 0) -> UnitShape:
        wider = 1 if bootstrapped else width / shape.width
        return UnitShape(
            operations=operations,
            width=width,
            num_heads=shape.heads(width),
            points=shape.points,
            features=shape.features,
            bottleneck=int(shape.bottleneck * wider),
            padding="border" if bootstrapped else "zeros",
            mixing_bias=not bootstrapped,
            deep_adjust=bootstrapped,
            repeats=repeats,
            eps=shape.eps,
        )

    if bootstrapped:
        focusing = unit((SAMPLE, ENCODE, ATTENTION, MLP, ADJUST), shape.width, shape.repeats)
        late = unit((SAMPLE, ENCODE), late_width)
    else:
        focusing = unit((ATTENTION, ADJUST, SAMPLE, MLP), shape.width)
        late = unit((ATTENTION, ADJUST, SAMPLE, MLP), late_width)
    return focusing, late, unit((ATTENTION, MLP), shape.cortex_width)


def tiled_regions(count: int) -> Tensor:
    """Regions on a square of places, each half of the image high and wide, `[count, 4]`.

    Where the count is no square, the last rows of the square are filled as far as they go.
    """
    side = max(1, int((count - 1) ** 0.5) + 1) if count > 1 else 1
    starts = torch.linspace(0, 0.5, side) if side > 1 else torch.zeros(1)
    columns, rows = torch.meshgrid(starts, starts, indexing="ij")
    corners = torch.stack([columns.flatten(), rows.flatten()], 1)[:count]
    extent = 0.5 if side > 1 else 1.0
    return torch.cat([corners, corners + extent], 1)


def tiled_points(count: int) -> Tensor:
    """Points on a square, in any unit, `[count, 2]`: offsets are standardised later."""
    side = max(1, int((count - 1) ** 0.5) + 1) if count > 1 else 1
    steps = torch.linspace(-1, 1, side) if side > 1 else torch.zeros(1)
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([columns.flatten(), rows.flatten()], 1)[:count]

"""The units that SparseFormer is made of, with the authors' names for all weights.

Source: Gao et al., "SparseFormer: Sparse Visual Recognition via Limited Latent Tokens", ICLR 2024,
section 3; the bootstrapped form: Gao et al., "Bootstrapping SparseFormers from Vision Foundation
Models", CVPR 2024, section 3.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.families.sparseformer.regions import (
    Padding,
    adjust_regions,
    encode_regions,
    sample,
    sampling_points,
)
from encoders.layers.calls import call
from encoders.layers.transformer import FeedForward, SelfAttention

_LEAST_MIXED_POINTS = 32
"""Rows of the matrix that mixes points, where there are no more points than that."""

ATTENTION, MLP, SAMPLE, ADJUST, ENCODE = "attention", "mlp", "sample", "adjust", "encode"


@dataclasses.dataclass(frozen=True)
class UnitShape:
    """What a unit does, and how wide it is.

    Attributes:
        operations: In order.
        width: Channels of a token.
        num_heads: Of its attention.
        points: Points that a region samples.
        features: Channels of the map.
        bottleneck: Channels of the generator of mixing weights.
        padding: What lies beyond the map's edges.
        mixing_bias: Whether mixed points have a bias and an activation between the mixings.
        deep_adjust: Whether the adjustment of regions has a hidden layer.
        repeats: Stages that the unit tells apart by an embedding; 0 = none.
        eps: Of layer norms, but for those of the mixing.
    """

    operations: tuple[str, ...]
    width: int
    num_heads: int
    points: int
    features: int
    bottleneck: int
    padding: Padding
    mixing_bias: bool
    deep_adjust: bool
    repeats: int
    eps: float


class AdaptiveMixing(nn.Module):
    """Mixes what a region has sampled by two matrices that its token makes.

    Args:
        shape: Of the unit.
    """

    def __init__(self, shape: UnitShape) -> None:
        super().__init__()
        channels, points = shape.features, shape.points
        self.channels, self.points = channels, points
        self.mixed_points = max(points, _LEAST_MIXED_POINTS)
        self.parameter_generator = nn.Sequential(
            nn.LayerNorm(shape.width),
            nn.Linear(shape.width, shape.bottleneck),
            nn.Linear(shape.bottleneck, channels * channels + self.mixed_points * points),
        )
        self.out_proj = nn.Linear(channels * self.mixed_points, shape.width)
        self.has_bias = shape.mixing_bias
        if shape.mixing_bias:
            self.m_beta = nn.Parameter(torch.zeros(channels))
            self.s_beta = nn.Parameter(torch.zeros(self.mixed_points))

    def forward(self, sampled: Tensor, tokens: Tensor) -> Tensor:
        """What is added to the tokens, `[B, N, D]`.

        Args:
            sampled: `[B, N, P, C]`.
            tokens: `[B, N, D]`.
        """
        made = self.parameter_generator(tokens)
        square = self.channels**2
        channel = made[..., :square].unflatten(2, (self.channels, self.channels))
        point = made[..., square:].unflatten(2, (self.mixed_points, self.points))
        mixed = sampled.to(channel.dtype) @ channel
        if self.has_bias:
            mixed = F.gelu(mixed + self.m_beta.to(mixed))
        mixed = point @ mixed
        if self.has_bias:
            mixed = mixed + self.s_beta.to(mixed)[:, None]
        return self.out_proj(F.gelu(mixed).flatten(2))

    def macs(self) -> int:
        """Multiply-accumulates of one token."""
        _, first, second = self.parameter_generator
        generator = first.weight.numel() + second.weight.numel()  # type: ignore[operator]
        channels, points = self.channels, self.points
        mixings = points * channels**2 + self.mixed_points * points * channels
        return generator + mixings + self.out_proj.weight.numel()


class SparseUnit(nn.Module):
    """Some of: attention among tokens, adjusting, encoding and sampling regions, an MLP.

    Args:
        shape: What it does.
    """

    def __init__(self, shape: UnitShape) -> None:
        super().__init__()
        self.shape = shape
        width, doing = shape.width, shape.operations
        if SAMPLE in doing:
            self.roi_offset_bias = nn.Parameter(torch.zeros(2 * shape.points))
            self.adaptive_mixing = AdaptiveMixing(shape)
            self.roi_offset_module = nn.Sequential(
                nn.LayerNorm(width, eps=shape.eps),
                nn.Linear(width, 2 * shape.points, bias=False),
            )
        if shape.repeats:
            self.stage_embedding = nn.Embedding(shape.repeats, width)
        if ATTENTION in doing:
            self.norm1 = nn.LayerNorm(width, eps=shape.eps)
            self.attn = SelfAttention(width, shape.num_heads)
        if MLP in doing:
            self.norm2 = nn.LayerNorm(width, eps=shape.eps)
            self.mlp = FeedForward(width, 4 * width)
        if ADJUST in doing:
            layers: list[nn.Module] = [nn.LayerNorm(width, eps=shape.eps)]
            if shape.deep_adjust:
                layers += [nn.Linear(width, width), nn.GELU()]
            self.roi_adjust_module = nn.Sequential(*layers, nn.Linear(width, 4, bias=False))
        if ENCODE in doing:
            self.pe_transition = nn.Sequential(
                nn.LayerNorm(width, eps=shape.eps), nn.Linear(width, width)
            )

    def forward(
        self, tokens: Tensor, regions: Tensor, features: Tensor, repeat: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Runs the operations in order.

        Args:
            tokens: `[B, N, D]`.
            regions: `[B, N, 4]`.
            features: The map, `[B, C, h, w]`.
            repeat: How often the unit ran before.
        """
        if self.shape.repeats:
            tokens = tokens + self.stage_embedding.weight[repeat].to(tokens)
        for operation in self.shape.operations:
            if operation == ATTENTION:
                tokens = tokens + self.attn(call(self.norm1, tokens))
            elif operation == MLP:
                tokens = tokens + self.mlp(call(self.norm2, tokens))
            elif operation == ADJUST:
                change = self.roi_adjust_module(tokens).to(regions)
                regions = adjust_regions(regions, change)
            elif operation == ENCODE:
                encoded = encode_regions(regions, self.shape.width)
                tokens = tokens + self.pe_transition(encoded.to(tokens))
            else:
                sampled = self._sample(tokens, regions, features)
                tokens = tokens + self.adaptive_mixing(sampled, tokens)
        return tokens, regions

    def macs(self, tokens: int, attending: int) -> int:
        """Multiply-accumulates of one pass.

        Args:
            tokens: Tokens with regions.
            attending: All tokens, which attention and MLP run on.
        """
        shape, total = self.shape, 0
        for operation in shape.operations:
            if operation == ATTENTION:
                total += attending * (4 * shape.width**2 + 2 * attending * shape.width)
            elif operation == MLP:
                total += attending * 8 * shape.width**2
            elif operation == ADJUST:
                total += tokens * _weights(self.roi_adjust_module)
            elif operation == ENCODE:
                total += tokens * _weights(self.pe_transition)
            else:
                total += tokens * (_weights(self.roi_offset_module) + self.adaptive_mixing.macs())
        return total

    def _sample(self, tokens: Tensor, regions: Tensor, features: Tensor) -> Tensor:
        offsets = (self.roi_offset_module(tokens) + self.roi_offset_bias).to(regions)
        points = sampling_points(regions, offsets.unflatten(2, (self.shape.points, 2)))
        return sample(features, points, self.shape.padding)


def _weights(module: nn.Module) -> int:
    layers = (layer for layer in module.modules() if isinstance(layer, nn.Linear))
    return sum(layer.weight.numel() for layer in layers)

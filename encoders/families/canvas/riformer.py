"""RIFormer: blocks of a Transformer's shape whose token mixer is an affine map of every channel.

Source: Wang et al., "RIFormer: Keep Your Vision Backbone Effective But Removing Token Mixer", CVPR
2023, section 3. While it is trained a block computes `x += ls1 * (s * n(x) + t - n(x))` with a norm
n; in evaluation mode the affine vanishes into the norm, whose weight g and bias b become
`g (s - 1)` and `b (s - 1) + t` (section 3.2). With another mixer in its place (`pool` is
PoolFormer's) a block is that of a teacher.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.families.canvas.body import CanvasBody, MapLayer
from encoders.families.canvas.shapes import RIFormerShape
from encoders.families.canvas.windows import Footprint


class MapNorm(nn.Module):
    """Normalises a map over everything ("group") or every cell over its channels ("channel").

    Args:
        channels: Of the map.
        kind: "group", a group norm of one group as published, or "channel".
    """

    def __init__(self, channels: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.eps = 1e-5
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, values: Tensor) -> Tensor:
        """`[B, C, h, w]` to the same."""
        return self.with_weights(values, self.weight, self.bias)

    def with_weights(self, values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The same with other weights in the place of its own."""
        if self.kind == "group":
            return F.group_norm(values, 1, weight, bias, self.eps)
        cells = values.permute(0, 2, 3, 1)
        return F.layer_norm(cells, weight.shape, weight, bias, self.eps).permute(0, 3, 1, 2)


class AffineMixer(nn.Module):
    """What is left of a token mixer: every channel scaled and shifted, less what came in.

    Args:
        channels: Of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, normed: Tensor) -> Tensor:
        """`s * n + t - n`."""
        scale, shift = (each[:, None, None].to(normed.dtype) for each in (self.scale, self.shift))
        return normed * scale + shift - normed


class PoolMixer(nn.Module):
    """PoolFormer's token mixer: the mean of the 3x3 cells around, less what came in."""

    def forward(self, normed: Tensor) -> Tensor:
        """`pool(n) - n`."""
        return F.avg_pool2d(normed, 3, 1, 1, count_include_pad=False) - normed


class ConvolutionMixer(nn.Module):
    """A depthwise convolution of a large kernel, less what came in.

    Args:
        channels: Of the map.
        kernel: Side of the kernel in cells.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)

    def forward(self, normed: Tensor) -> Tensor:
        """`conv(n) - n`."""
        return self.conv(normed) - normed


class RIFormerBlock(nn.Module):
    """A mixer and an MLP, each behind a norm and beside a shortcut, scaled by channel.

    Args:
        channels: Of the map.
        shape: Of the body.
    """

    def __init__(self, channels: int, shape: RIFormerShape) -> None:
        super().__init__()
        hidden = shape.mlp_ratio * channels
        self.layer_scale_1 = nn.Parameter(torch.full((channels,), shape.layer_scale))
        self.layer_scale_2 = nn.Parameter(torch.full((channels,), shape.layer_scale))
        self.norm1 = MapNorm(channels, shape.norm)
        self.mixer = _mixer(channels, shape)
        self.norm2 = MapNorm(channels, shape.norm)
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the norm that does what norm and affine do.

        Raises:
            TypeError: Its mixer is no affine, or was folded already.
        """
        if not isinstance(self.mixer, AffineMixer):
            raise TypeError(f"a mixer of the kind {type(self.mixer).__name__} does not fold")
        less = self.mixer.scale - 1
        return self.norm1.weight * less, self.norm1.bias * less + self.mixer.shift

    def forward(self, values: Tensor) -> Tensor:
        """`[B, C, h, w]` to the same."""
        values = values + _per_channel(self.layer_scale_1, values) * self._mix(values)
        within = self.fc2(F.gelu(self.fc1(self.norm2(values))))
        return values + _per_channel(self.layer_scale_2, within) * within

    def macs(self, height: int, width: int) -> int:
        """Multiply-accumulates for a map of some size."""
        per_cell = self.fc1.weight.numel() + self.fc2.weight.numel()
        if isinstance(self.mixer, ConvolutionMixer):
            per_cell += self.mixer.conv.weight.numel()
        return height * width * per_cell

    def _mix(self, values: Tensor) -> Tensor:
        if self.mixer is None:  # folded for good
            return self.norm1(values)
        if self.training or not isinstance(self.mixer, AffineMixer):
            return self.mixer(self.norm1(values))
        return self.norm1.with_weights(values, *self.folded())


class RIFormerStage(MapLayer):
    """A convolution that brings the map to a lower resolution, and blocks.

    Args:
        channels: Of the input.
        out_channels: Of the output.
        depth: Blocks.
        kernel: Of the convolution.
        stride: Of the convolution.
        shape: Of the body.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        depth: int,
        kernel: int,
        stride: int,
        shape: RIFormerShape,
    ) -> None:
        super().__init__()
        # As published: 7x7 of stride 4 with 2 cells around, then 3x3 of stride 2 with one.
        padding = (kernel - stride + 1) // 2
        self.channels = out_channels
        self.footprint = Footprint(kernel=kernel, stride=stride, padding=padding)
        self.is_local = shape.norm == "channel" and shape.mixer == "affine"
        self.embed = nn.Conv2d(channels, out_channels, kernel, stride)
        self.blocks = nn.Sequential(*(RIFormerBlock(out_channels, shape) for _ in range(depth)))

    def run(self, values: Tensor, inside: Tensor | None) -> Tensor:
        """Embeds and goes through the blocks; see `MapLayer.run`."""
        return self.blocks(self.embed(values))

    def macs(self, height: int, width: int, *, alone: bool = False) -> int:
        """As `MapLayer.macs`."""
        blocks = sum(block.macs(height, width) for block in self.blocks)  # type: ignore[operator]
        return height * width * self.embed.weight.numel() + blocks


def riformer_body(shape: RIFormerShape) -> CanvasBody:
    """A RIFormer without pooling and head: stages of stride 4, 2, 2, ..., and a last norm."""
    stages, channels = [], 3
    for number, (depth, width) in enumerate(zip(shape.layers, shape.widths, strict=True)):
        stride = 2 if number else 4
        kernel = stride
        if shape.embedding == "overlapping":
            kernel = 3 if number else 7
        stages.append(RIFormerStage(channels, width, depth, kernel, stride, shape))
        channels = width
    return CanvasBody(stages, MapNorm(channels, shape.norm))


def blocks_of(body: nn.Module) -> list[RIFormerBlock]:
    """All blocks of a body, in order."""
    return [module for module in body.modules() if isinstance(module, RIFormerBlock)]


def fold_weights(body: CanvasBody) -> dict[str, Tensor]:
    """The weights of a body without its affines, which are in its norms: those of a folded body."""
    tensors = dict(body.state_dict())
    for name, module in body.named_modules():
        if isinstance(module, RIFormerBlock):
            weight, bias = module.folded()
            tensors[f"{name}.norm1.weight"], tensors[f"{name}.norm1.bias"] = (
                weight.detach(),
                bias.detach(),
            )
            del tensors[f"{name}.mixer.scale"], tensors[f"{name}.mixer.shift"]
    return tensors


def _mixer(channels: int, shape: RIFormerShape) -> nn.Module | None:
    if shape.folded:
        return None
    if shape.mixer == "affine":
        return AffineMixer(channels)
    return PoolMixer() if shape.mixer == "pool" else ConvolutionMixer(channels, shape.kernel_size)


def _per_channel(scale: Tensor, values: Tensor) -> Tensor:
    return scale[:, None, None].to(values.dtype)

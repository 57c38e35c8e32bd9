"""AlterNet: a pre-activation ResNet whose stages end in alternating convolution and attention.

Source: Park and Kim, "How Do Vision Transformers Work?", ICLR 2022, section 4: in every stage the
last blocks alternate, and the very last one is attention.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from encoders.families.canvas.body import CanvasBody, MapLayer
from encoders.families.canvas.shapes import AlterNetShape
from encoders.families.canvas.windows import Footprint
from encoders.layers.local_attention import LocalAttention

# Blocks and attentions of every stage, by the depth of the ResNet that is altered.
PUBLISHED_STAGES = {
    18: ((2, 2, 2, 2), (0, 1, 1, 1)),
    34: ((3, 4, 6, 4), (0, 1, 3, 2)),
    50: ((3, 4, 6, 4), (0, 1, 3, 2)),
    101: ((3, 4, 23, 4), (0, 1, 3, 2)),
    152: ((3, 8, 36, 4), (0, 1, 3, 2)),
}


def alternating_pattern(blocks: int, attentions: int) -> tuple[bool, ...]:
    """Which blocks of a stage are attention: the last of every pair at its end.

    Args:
        blocks: Blocks of the stage.
        attentions: Pairs of a convolution and an attention that it ends in.

    Raises:
        ValueError: More pairs than there is room for.
    """
    if 2 * attentions > blocks:
        raise ValueError(
            f"attentions={attentions} in a stage of {blocks} blocks; expected at most "
            f"{blocks // 2}, for each follows a convolution of its own"
        )
    return (False,) * (blocks - 2 * attentions) + (False, True) * attentions


class Stem(MapLayer):
    """A convolution over squares of pixels that do not overlap.

    Args:
        channels: Of the output.
        stride: Side of a square in pixels.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels = channels
        self.footprint = Footprint(kernel=stride, stride=stride)
        self.conv = nn.Conv2d(3, channels, stride, stride)

    def run(self, values: Tensor, inside: Tensor | None) -> Tensor:
        """Embeds squares; see `MapLayer.run`."""
        return self.conv(values)

    def macs(self, height: int, width: int, *, alone: bool = False) -> int:
        """As `MapLayer.macs`."""
        return height * width * self.conv.weight.numel()


class ConvolutionBlock(MapLayer):
    """Twice batch norm, ReLU and a 3x3 convolution, beside a shortcut.

    Where width or resolution change the shortcut is a 1x1 convolution of the activated input.

    Args:
        channels: Of the input.
        out_channels: Of the output.
        stride: Of the first convolution.
    """

    asks_inside = True  # for a zero before a norm is none behind it

    def __init__(self, channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.channels = out_channels
        self.stride = stride
        self.footprint = Footprint(kernel=3 + 2 * stride, stride=stride, padding=1 + stride)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.shortcut: nn.Module | None = None
        if channels != out_channels or stride > 1:
            self.shortcut = nn.Conv2d(channels, out_channels, 1, stride, bias=False)

    def forward(self, values: Tensor) -> Tensor:
        """The whole map; see `MapLayer.forward`."""
        active = F.relu(self.norm1(values))
        beside = values if self.shortcut is None else self.shortcut(active)
        return beside + self.conv2(F.relu(self.norm2(self.conv1(active))))

    def run(self, values: Tensor, inside: Tensor | None) -> Tensor:
        """A window; see `MapLayer.run`. Cells beyond the map are zeros after each activation."""
        assert inside is not None  # the whole map goes through `forward`
        stride, border = self.stride, self.footprint.padding
        active = F.relu(self.norm1(values)) * inside.to(values.dtype)
        within = [slice(border, side - border, stride) for side in values.shape[-2:]]
        if self.shortcut is None:
            beside = values[:, :, within[0], within[1]]
        else:
            beside = F.conv2d(active[:, :, within[0], within[1]], self.shortcut.weight)  # type: ignore[arg-type]
        between = F.relu(self.norm2(F.conv2d(active, self.conv1.weight, stride=stride)))
        height, width = values.shape[-2:]
        there = inside[:, :, 1 : height - 1 : stride, 1 : width - 1 : stride]
        return beside + F.conv2d(between * there.to(between.dtype), self.conv2.weight)

    def macs(self, height: int, width: int, *, alone: bool = False) -> int:
        """As `MapLayer.macs`; a window needs the cells around it between the convolutions too."""
        border = 2 if alone else 0
        first = (height + border) * (width + border) * self.conv1.weight.numel()
        shortcut = 0 if self.shortcut is None else self.conv1.weight[:, :, 0, 0].numel()
        return first + height * width * (self.conv2.weight.numel() + shortcut)


class AttentionBlock(MapLayer):
    """Batch norm, GELU, a 1x1 convolution, batch norm and local attention, beside a shortcut.

    Where the width changes the shortcut is a 1x1 convolution of the activated input.

    Args:
        channels: Of the input.
        out_channels: Of the output.
        num_heads: Attention heads.
        head_dim: Channels of one head.
        window: Side of an attention window in cells.
        hidden: Channels that attention sees; None = those of the input.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        num_heads: int,
        head_dim: int,
        window: int,
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        hidden = hidden or channels
        self.channels = out_channels
        self.footprint = Footprint(tile=window)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, hidden, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(hidden)
        self.attention = LocalAttention(hidden, out_channels, num_heads, head_dim, window)
        self.shortcut: nn.Module | None = None
        if channels != out_channels:
            self.shortcut = nn.Conv2d(channels, out_channels, 1, bias=False)

    def run(self, values: Tensor, inside: Tensor | None) -> Tensor:
        """Attends; see `MapLayer.run`."""
        active = F.gelu(self.norm1(values))
        beside = values if self.shortcut is None else self.shortcut(active)
        return beside + self.attention(self.norm2(self.conv(active)))

    def macs(self, height: int, width: int, *, alone: bool = False) -> int:
        """As `MapLayer.macs`."""
        per_cell = self.conv.weight.numel()
        if self.shortcut is not None:
            per_cell += self.norm1.weight.numel() * self.channels
        return height * width * per_cell + self.attention.macs(height, width)


class LastNorm(nn.Module):
    """Batch norm and ReLU before pooling.

    Args:
        channels: Of the last map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, values: Tensor) -> Tensor:
        """Cell by cell."""
        return F.relu(self.norm(values))


def alternet_body(shape: AlterNetShape) -> CanvasBody:
    """An AlterNet without pooling and head; every stage but the first halves the resolution."""
    layers: list[MapLayer] = [Stem(shape.widths[0], shape.stem_stride)]
    channels = shape.widths[0]
    for stage, width in enumerate(shape.widths):
        pattern = alternating_pattern(shape.blocks[stage], shape.attentions[stage])
        for number, attends in enumerate(pattern):
            if attends:
                layer: MapLayer = AttentionBlock(
                    channels, width, shape.num_heads[stage], shape.head_dim, shape.window
                )
            else:
                stride = 2 if stage and not number else 1
                layer = ConvolutionBlock(channels, width, stride)
            layers.append(layer)
            channels = width
    return CanvasBody(layers, LastNorm(channels))

"""ConvMixer: patches, then convolutions that mix places and others that mix channels.

Source: Trockman and Kolter, "Patches Are All You Need?", TMLR 2023, section 2.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from encoders.families.canvas.body import CanvasBody, MapLayer
from encoders.families.canvas.shapes import ConvMixerShape
from encoders.families.canvas.windows import Footprint

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu}


class PatchStem(MapLayer):
    """A convolution over whole patches, activation, batch norm.

    Args:
        shape: Of the body.
        patch_size: Side of a patch in pixels.
    """

    def __init__(self, shape: ConvMixerShape, patch_size: int) -> None:
        super().__init__()
        self.channels = shape.width
        self.footprint = Footprint(kernel=patch_size, stride=patch_size)
        self.activation = ACTIVATIONS[shape.activation]
        self.conv = nn.Conv2d(3, shape.width, patch_size, patch_size)
        self.norm = nn.BatchNorm2d(shape.width)

    def run(self, values: Tensor, inside: Tensor | None) -> Tensor:
        """Embeds patches; see `MapLayer.run`."""
        return self.norm(self.activation(self.conv(values)))

    def macs(self, height: int, width: int, *, alone: bool = False) -> int:
        """As `MapLayer.macs`."""
        return height * width * self.conv.weight.numel()


class ConvMixerBlock(MapLayer):
    """`y = x + BN(act(depthwise(x)))`, then `BN(act(pointwise(y)))`.

    Args:
        shape: Of the body.
    """

    def __init__(self, shape: ConvMixerShape) -> None:
        super().__init__()
        width, kernel = shape.width, shape.kernel_size
        self.channels = width
        self.footprint = Footprint(kernel=kernel, padding=kernel // 2)
        self.activation = ACTIVATIONS[shape.activation]
        self.depthwise = nn.Conv2d(width, width, kernel, groups=width)
        self.depthwise_norm = nn.BatchNorm2d(width)
        self.pointwise = nn.Conv2d(width, width, 1)
        self.pointwise_norm = nn.BatchNorm2d(width)

    def run(self, values: Tensor, inside: Tensor | None) -> Tensor:
        """Mixes; see `MapLayer.run`."""
        border = self.footprint.padding
        height, width = (side - 2 * border for side in values.shape[-2:])
        centre = values[..., border : border + height, border : border + width]
        mixed = centre + self.depthwise_norm(self.activation(self.depthwise(values)))
        return self.pointwise_norm(self.activation(self.pointwise(mixed)))

    def macs(self, height: int, width: int, *, alone: bool = False) -> int:
        """As `MapLayer.macs`."""
        return height * width * (self.depthwise.weight.numel() + self.pointwise.weight.numel())


def convmixer_body(shape: ConvMixerShape, patch_size: int) -> CanvasBody:
    """A ConvMixer without pooling and head."""
    blocks = [ConvMixerBlock(shape) for _ in range(shape.depth)]
    return CanvasBody([PatchStem(shape, patch_size), *blocks])

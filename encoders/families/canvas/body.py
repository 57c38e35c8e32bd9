"""Bodies of canvas encoders: layers that each turn one map into the next, whole or in part."""

from __future__ import annotations

import abc
from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn

from encoders.families.canvas.windows import Footprint


class MapLayer(nn.Module, abc.ABC):
    """One layer of a body, whose output is a map that may be kept and repaired in part.

    Attributes:
        channels: Channels of its output.
        footprint: What an output cell is made of.
        is_local: Whether it is made of nothing else, so that a window of the output can be computed
            anew without the rest.
        asks_inside: Whether `run` must know which cells of a window lie on the map.
    """

    channels: int
    footprint: Footprint
    is_local: bool = True
    asks_inside: bool = False

    def forward(self, values: Tensor) -> Tensor:
        """The whole map, `[B, C, h, w]` to `[B, channels, h', w']`."""
        if self.footprint.padding:
            values = F.pad(values, (self.footprint.padding,) * 4)
        return self.run(values, None)

    @abc.abstractmethod
    def run(self, values: Tensor, inside: Tensor | None) -> Tensor:
        """A window of the output from exactly the cells that it needs, without padding of its own.

        Args:
            values: `[R, C, h, w]`, with zeros where the window needs cells beyond the map.
            inside: bool `[R, 1, h, w]`: which cells are on the map; None where it does not ask.
        """

    @abc.abstractmethod
    def macs(self, height: int, width: int, *, alone: bool = False) -> int:
        """Multiply-accumulates of an output of some size.

        Args:
            height: Rows of output cells.
            width: Columns of output cells.
            alone: Whether they are a window cut out of a larger map, so that `run` was called.
        """


class CanvasBody(nn.Module):
    """Layers one after the other, and what is done to the last map cell by cell.

    Args:
        layers: From the pixels of the canvas to the last map.
        final: Pointwise, from the last map to the one that is pooled.
    """

    def __init__(self, layers: Iterable[MapLayer], final: nn.Module | None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.final = final or nn.Identity()

    @property
    def steps(self) -> list[MapLayer]:
        """The layers."""
        return [layer for layer in self.layers if isinstance(layer, MapLayer)]

    @property
    def channels(self) -> int:
        """Channels of the last map."""
        return self.steps[-1].channels

    @property
    def is_local(self) -> bool:
        """Whether every layer sees a part of the map alone, so that maps can be repaired."""
        return all(layer.is_local for layer in self.steps)

    def forward(self, canvas: Tensor) -> Tensor:
        """The last map of a canvas `[B, 3, H, W]`, `[B, channels, h, w]`."""
        for layer in self.layers:
            canvas = layer(canvas)
        return self.final(canvas)

    def sizes(self, image_size: tuple[int, int]) -> list[tuple[int, int]]:
        """Height and width of every layer's output.

        Raises:
            ValueError: A canvas of this size cannot be encoded.
        """
        sizes, size = [], image_size
        for number, layer in enumerate(self.steps):
            try:
                size = layer.footprint.output_size(size)
            except ValueError as error:
                raise ValueError(
                    f"image_size {image_size}: at layer {number} of {len(self.layers)}, {error}"
                ) from error
            sizes.append(size)
        return sizes

    def macs(self, image_size: tuple[int, int], patch_size: int) -> tuple[int, int]:
        """Multiply-accumulates of a whole canvas.

        Returns:
            Of the layers that see patches one by one, and of all that come after.
        """
        parts = [0, 0]
        for layer, size, mixed in zip(
            self.steps, self.sizes(image_size), self.mixing(patch_size), strict=True
        ):
            parts[mixed] += layer.macs(*size)
        return parts[0], parts[1]

    def mixing(self, patch_size: int) -> list[bool]:
        """Of every layer, whether pixels of different patches have met in it or before."""
        met, stride, mixing = False, 1, []
        for layer in self.steps:
            footprint = layer.footprint
            stride *= footprint.stride
            met |= footprint.overlaps or footprint.tile > 1 or not layer.is_local
            met |= patch_size % stride > 0
            mixing.append(met)
        return mixing

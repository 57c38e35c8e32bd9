"""What every encoder of glimpses has: a configuration, a grid of patches, and colours."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from encoders.hub import HubExchange
from encoders.layers import patches as pixel_layout


class GlimpseModule(nn.Module, HubExchange):
    """A module of weights that sees scenes as a grid of normalised patches.

    Args:
        config: A configuration with `grid`, `mean` and `std`.

    Attributes:
        family: Name of the family.
        config: What the encoder is.
    """

    family: ClassVar[str]
    mean: Tensor
    std: Tensor

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.tensor(config.mean), persistent=False)
        self.register_buffer("std", torch.tensor(config.std), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches in a scene."""
        return self.config.grid

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 `[..., 3, h, w]` to the normalised float32 that the encoder expects."""
        return pixel_layout.normalise(pixels.to(self.device), self.mean, self.std)

    def to_images(self, pixels: Tensor) -> Tensor:
        """Turns `Belief.pixels` into uint8 images `[B, H, W, 3]`."""
        return pixel_layout.to_bytes(
            pixel_layout.unpatchify(pixels, self.grid), self.mean, self.std
        )

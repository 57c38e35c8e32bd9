"""How images are stored in a file of packed scenes; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ImageFormat = Literal["jpeg", "png"]


@dataclass(frozen=True)
class Storage:
    """How images are stored.

    Attributes:
        image_size: Height and width in pixels to store them at; None = as they are.
        image_format: Format of images that have to be encoded anew.
        quality: Quality of JPEG, 1 to 100.
    """

    image_size: tuple[int, int] | None = None
    image_format: ImageFormat = "jpeg"
    quality: int = 95

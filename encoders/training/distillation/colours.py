"""Changes of an image's colours, as torchvision makes them, of crops in [0, 1].

`torchvision.transforms.v2.functional` has the same operations; here all randomness comes from the
generator that is passed.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_BRIGHTNESS = _CONTRAST = 0.4
_SATURATION, _HUE = 0.2, 0.1
_SIGMA = (0.1, 2.0)  # pixels of a crop of `_SIGMA_SIDE`
_SIGMA_SIDE = 224
_GREY = (0.2989, 0.587, 0.114)
_SOLARIZE_FROM = 128 / 255


def jitter(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Brightness, contrast, saturation and hue, changed in random order.

    Args:
        image: float `[3, h, w]` in [0, 1].
        rng: Of the image.
    """
    for change in rng.permutation(4):
        if change == 0:
            image = adjust_brightness(image, rng.uniform(1 - _BRIGHTNESS, 1 + _BRIGHTNESS))
        elif change == 1:
            image = adjust_contrast(image, rng.uniform(1 - _CONTRAST, 1 + _CONTRAST))
        elif change == 2:
            image = adjust_saturation(image, rng.uniform(1 - _SATURATION, 1 + _SATURATION))
        else:
            image = adjust_hue(image, rng.uniform(-_HUE, _HUE))
    return image


def adjust_brightness(image: Tensor, factor: float) -> Tensor:
    """Scales all channels."""
    return (image * factor).clamp_(0, 1)


def adjust_contrast(image: Tensor, factor: float) -> Tensor:
    """Scales differences from the mean grey."""
    mean = _grey(image).mean()
    return (mean + factor * (image - mean)).clamp_(0, 1)


def adjust_saturation(image: Tensor, factor: float) -> Tensor:
    """Scales differences from each pixel's own grey."""
    grey = _grey(image)
    return (grey + factor * (image - grey)).clamp_(0, 1)


def adjust_hue(image: Tensor, shift: float) -> Tensor:
    """Turns hues by a share of the full circle, in [-0.5, 0.5]."""
    top, bottom = image.amax(0), image.amin(0)
    spread = top - bottom
    safe = torch.where(spread > 0, spread, torch.ones_like(spread))
    red, green, blue = (top - image) / safe
    is_red = image[0] == top
    is_green = (image[1] == top) & ~is_red
    hue = torch.where(is_red, blue - green, torch.where(is_green, 2 + red - blue, 4 + green - red))
    hue = (hue / 6 + shift).remainder(1.0)
    # Back: each channel is the bottom plus the spread times a trapezoid of the hue.
    angle = hue * 6
    offsets = image.new_tensor([5.0, 3.0, 1.0]).view(3, 1, 1)
    place = (angle + offsets).remainder(6.0)
    ramp = torch.minimum(place, 4 - place).clamp(0, 1)
    return top - spread * ramp


def grayscale(image: Tensor) -> Tensor:
    """The same grey in all channels."""
    return _grey(image).expand(3, -1, -1)


def draw_sigma(rng: np.random.Generator, size: tuple[int, int]) -> float:
    """The width of a blur in pixels: 0.1 to 2 of a crop of 224 pixels, of smaller ones less."""
    return rng.uniform(*_SIGMA) * min(size) / _SIGMA_SIDE


def blur(image: Tensor, sigma: float) -> Tensor:
    """Convolves with a Gaussian, cut at three standard deviations; edges are mirrored."""
    radius = min(math.ceil(3 * sigma), min(image.shape[1:]) - 1)
    if sigma < 0.1 or radius < 1:
        return image  # narrower than what a pixel's neighbours would notice
    steps = torch.arange(-radius, radius + 1, dtype=image.dtype)
    kernel = (-0.5 * (steps / sigma).square()).exp()
    kernel = kernel / kernel.sum()
    padded = F.pad(image[:, None], [radius] * 4, mode="reflect")
    rows = F.conv2d(padded, kernel.view(1, 1, -1, 1))
    return F.conv2d(rows, kernel.view(1, 1, 1, -1))[:, 0]


def solarize(image: Tensor) -> Tensor:
    """Inverts pixels of at least half the full brightness."""
    return torch.where(image >= _SOLARIZE_FROM, 1 - image, image)


def _grey(image: Tensor) -> Tensor:
    """The brightness that people see, `[1, h, w]`."""
    red, green, blue = image.unbind(0)
    return (_GREY[0] * red + _GREY[1] * green + _GREY[2] * blue)[None]

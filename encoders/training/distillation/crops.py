"""Large and small crops of an image, each seen in other colours: what DINO learns from.

An image's crops are a function of the generator that is passed, whoever makes them and in whatever
process.

Source: DINO (Caron et al., ICCV 2021), section 3.2 and appendix E, after BYOL (Grill et al.,
NeurIPS 2020), appendix B.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.training.distillation import colours
from encoders.training.distillation.config import DistillationConfig

GLOBAL_CROPS = 2
_TRIES = 10
_RATIO = (3 / 4, 4 / 3)  # of a crop's sides, relative to those of the image
_LOCAL_SHARE = 3 / 7  # 96 of 224 pixels
_FEWEST_PATCHES = 2  # that the side of a crop is at least, so that there is something to recognise


@dataclasses.dataclass(frozen=True)
class CropSizes:
    """Sizes in pixels of what an encoder sees.

    Attributes:
        image: Height and width of a scene and of a large crop.
        local: Height and width of a small crop; None = there are none.
        patch: Side of a patch.
    """

    image: tuple[int, int]
    local: tuple[int, int] | None
    patch: int

    @property
    def grids(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of patches of a large and, where there are any, of a small crop."""
        sizes = (self.image,) if self.local is None else (self.image, self.local)
        return tuple((size[0] // self.patch, size[1] // self.patch) for size in sizes)


def crop_sizes(
    config: DistillationConfig, image_size: tuple[int, int], patch_size: int
) -> CropSizes:
    """What crops of scenes of a size are like.

    Args:
        config: Says how many small crops there are and, maybe, how large.
        image_size: Height and width of scenes, a multiple of the patch size.
        patch_size: Side of a patch.

    Raises:
        ValueError: Small crops that are no whole patches, or larger than the scenes.
    """
    if not config.local_crops:
        if config.local_size is not None:
            raise ValueError(
                f"local_size={config.local_size} does nothing with local_crops=0; leave it out"
            )
        return CropSizes(image_size, None, patch_size)
    local = config.local_size
    if local is None:
        rows, columns = (
            max(round(_LOCAL_SHARE * side / patch_size), 1) * patch_size for side in image_size
        )
        local = rows, columns
    if any(side % patch_size for side in local) or any(
        small > large for small, large in zip(local, image_size, strict=True)
    ):
        raise ValueError(
            f"local_size={local}; expected multiples of the patch size {patch_size}, at most the "
            f"scenes' {image_size}"
        )
    return CropSizes(image_size, local, patch_size)


class MultiCrop:
    """Cuts crops out of images.

    Args:
        config: Scales, colours and numbers.
        sizes: Of the crops.
        seamless: Whether the left and right edges of an image meet, so that crops of a panorama may
            lie across them.
    """

    def __init__(self, config: DistillationConfig, sizes: CropSizes, seamless: bool) -> None:
        self.config = config
        self.sizes = sizes
        self.seamless = seamless

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> list[Tensor]:
        """Cuts an image.

        Args:
            image: uint8 `[H, W, 3]`, writable.
            rng: Of this image.

        Returns:
            uint8 `[2, 3, H, W]` of the large crops, and `[n, 3, h, w]` of the small ones where
            there are any.
        """
        pixels = torch.from_numpy(image.transpose(2, 0, 1)[None])  # a view
        config, sizes = self.config, self.sizes
        blurs, solarizes = (1.0, 0.1), (0.0, config.solarize)
        large = [
            self._crop(pixels, rng, config.global_scale, sizes.image, blurs[n], solarizes[n])
            for n in range(GLOBAL_CROPS)
        ]
        groups = [torch.cat(large)]
        if sizes.local is not None:
            small = [
                self._crop(pixels, rng, config.local_scale, sizes.local, 0.5, 0.0)
                for _ in range(config.local_crops)
            ]
            groups.append(torch.cat(small))
        return groups

    def _crop(
        self,
        pixels: Tensor,
        rng: np.random.Generator,
        scale: tuple[float, float],
        size: tuple[int, int],
        blur: float,
        solarize: float,
    ) -> Tensor:
        config = self.config
        height, width = pixels.shape[2:]
        smallest = min(_FEWEST_PATCHES * self.sizes.patch, height, width)
        top, left, rows, columns = draw_box(rng, (height, width), scale, smallest)
        if self.seamless:
            left = int(rng.integers(width))
        cut = _columns(pixels[:, :, top : top + rows], left, columns)
        crop = resize(cut, size)
        if rng.random() < config.flip:
            crop = crop.flip(3)
        values = crop[0].float() / 255
        if rng.random() < config.color_jitter:
            values = colours.jitter(values, rng)
        if rng.random() < config.grayscale:
            values = colours.grayscale(values)
        if config.blur and rng.random() < blur:
            values = colours.blur(values, colours.draw_sigma(rng, size))
        if rng.random() < solarize:
            values = colours.solarize(values)
        return (values * 255).round_().clamp_(0, 255).to(torch.uint8)[None]


def draw_box(
    rng: np.random.Generator,
    image_size: tuple[int, int],
    scale: tuple[float, float],
    smallest: int = 1,
) -> tuple[int, int, int, int]:
    """Where a crop lies, drawn as `torchvision.transforms.RandomResizedCrop` draws it.

    The area is a uniform share of the image's; the ratio of the sides, relative to the image's own
    so that panoramas give panoramic crops, is drawn from 3/4 to 4/3 on a logarithmic scale.

    Args:
        rng: Of the image.
        image_size: Height and width in pixels.
        scale: Smallest and largest share of the area.
        smallest: Shortest side of a crop in pixels; boxes with a shorter one are drawn again.

    Returns:
        Top, left, height and width in pixels; after ten tries the largest share in the middle.
    """
    height, width = image_size
    for _ in range(_TRIES):
        share = rng.uniform(*scale)
        ratio = math.exp(rng.uniform(math.log(_RATIO[0]), math.log(_RATIO[1])))
        rows = round(height * math.sqrt(share / ratio))
        columns = round(width * math.sqrt(share * ratio))
        if smallest <= rows <= height and smallest <= columns <= width:
            top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
            return int(top), int(left), rows, columns
    side = math.sqrt(scale[1])
    rows = min(max(round(height * side), smallest), height)
    columns = min(max(round(width * side), smallest), width)
    return (height - rows) // 2, (width - columns) // 2, rows, columns


def resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Scales images uint8 `[N, 3, h, w]`: bicubic, antialiased."""
    if tuple(pixels.shape[2:]) == size:
        return pixels.clone()
    return F.interpolate(
        pixels.contiguous(), size, mode="bicubic", align_corners=False, antialias=True
    )


def _columns(pixels: Tensor, left: int, count: int) -> Tensor:
    """Columns `left` to `left + count`; those beyond the right edge are the first ones again."""
    width = pixels.shape[3]
    if left + count <= width:
        return pixels[:, :, :, left : left + count]
    return torch.cat([pixels[:, :, :, left:], pixels[:, :, :, : left + count - width]], dim=3)

"""Pixels to patches and back."""

from __future__ import annotations

import torch
from torch import Tensor


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cuts images into patches in row-major order.

    Args:
        images: `[B, 3, H, W]`, any dtype.
        patch_size: Side p of a patch in pixels.

    Returns:
        `[B, G, 3, p, p]`, a copy.

    Raises:
        ValueError: The image is not a whole number of patches.
    """
    batch, channels, height, width = images.shape
    if height % patch_size or width % patch_size:
        raise ValueError(f"a {height}x{width} image is not a multiple of patch size {patch_size}")
    rows, columns = height // patch_size, width // patch_size
    return (
        images.reshape(batch, channels, rows, patch_size, columns, patch_size)
        .permute(0, 2, 4, 1, 3, 5)
        .reshape(batch, rows * columns, channels, patch_size, patch_size)
    )


def pixel_targets(patches: Tensor) -> Tensor:
    """Puts patches into the decoder's pixel order, as MAE does: row, column, channel.

    Args:
        patches: `[B, G, 3, p, p]`.

    Returns:
        `[B, G, p*p*3]`.
    """
    return patches.permute(0, 1, 3, 4, 2).flatten(2)


def unpatchify(pixels: Tensor, grid: tuple[int, int]) -> Tensor:
    """Assembles decoder pixels into images.

    Args:
        pixels: `[B, G, p*p*3]`, channel last in each patch.
        grid: Rows and columns of patches.

    Returns:
        `[B, H, W, 3]`.
    """
    rows, columns = grid
    patch_size = round((pixels.shape[-1] // 3) ** 0.5)
    return (
        pixels.reshape(-1, rows, columns, patch_size, patch_size, 3)
        .permute(0, 1, 3, 2, 4, 5)
        .reshape(-1, rows * patch_size, columns * patch_size, 3)
    )


def normalise(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Standardises uint8 pixels `[..., 3, h, w]` channel by channel to float32."""
    scale = (1.0 / (255.0 * std)).view(3, 1, 1)
    return torch.addcmul((-mean / std).view(3, 1, 1), pixels.float(), scale)


def to_bytes(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Undoes `normalise` for channel-last pixels `[..., 3]`, rounding to uint8."""
    return ((pixels.float() * std + mean) * 255.0).round_().clamp_(0, 255).to(torch.uint8)


def token_sources(patch_ids: Tensor, num_patches: int) -> Tensor:
    """Which token stands for each patch of the grid, where tokens came in the order of `patch_ids`.

    Args:
        patch_ids: int64 `[B, N]`; -1 = padding. Of several tokens with one id the last counts.
        num_patches: G, patches of the grid.

    Returns:
        int64 `[B, G]`: j for the j-th token, counted from 1; 0 where there is none.
    """
    batch, count = patch_ids.shape
    arrival = torch.arange(1, count + 1, device=patch_ids.device).expand(batch, -1)
    source = patch_ids.new_zeros(batch, num_patches)
    arrival = arrival.masked_fill(patch_ids < 0, 0)
    return source.scatter_reduce_(1, patch_ids.clamp(min=0), arrival, reduce="amax")

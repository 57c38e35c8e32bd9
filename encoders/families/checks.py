"""What encoders refuse to be called with, whatever their family."""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.protocol import EncoderDescription


def checked_glimpse(
    config: EncoderDescription, patches: Tensor, patch_ids: Tensor, rows: int
) -> Tensor:
    """The patch ids of a glimpse, on the CPU.

    Args:
        config: The encoder's.
        patches: float `[B, n, 3, p, p]`.
        patch_ids: int64 `[B, n]`.
        rows: Rows of the state, which B has to be.

    Raises:
        ValueError: Shapes or ids that do not fit.
    """
    patch_ids = torch.as_tensor(patch_ids).cpu()
    side = config.patch_size
    expected = (rows, patch_ids.shape[-1], 3, side, side)
    if patch_ids.shape[:-1] != (rows,) or tuple(patches.shape) != expected:
        raise ValueError(
            f"patches {tuple(patches.shape)} with patch_ids {tuple(patch_ids.shape)}; expected "
            f"[B, n, 3, {side}, {side}] and [B, n] with B = {rows}, the rows of the state"
        )
    if not patch_ids.numel():
        return patch_ids
    limit = (config.image_size[0] // side) * (config.image_size[1] // side)
    lowest, highest = patch_ids.numpy().min(), patch_ids.numpy().max()
    if not -1 <= lowest <= highest < limit:
        raise ValueError(
            f"patch ids from {lowest} to {highest}; expected 0..{limit - 1}, or -1 for padding"
        )
    return patch_ids


def check_images(config: EncoderDescription, images: Tensor) -> None:
    """Makes sure that images `[B, 3, H, W]` have the encoder's size.

    Raises:
        ValueError: They have not.
    """
    expected = (3, *config.image_size)
    if tuple(images.shape[1:]) != expected:
        raise ValueError(
            f"images of shape {tuple(images.shape)}; {config.name!r} expects "
            f"[B, {', '.join(map(str, expected))}]"
        )

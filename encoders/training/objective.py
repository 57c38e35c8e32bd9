"""What an encoder is trained for: to name the scene, and to paint what it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.layers.patches import patchify, pixel_targets
from encoders.protocol import Belief
from encoders.training.config import TrainingConfig


def objective_outputs(encoder: Any) -> tuple[str, ...]:
    """The parts of the belief that the loss compares: those the encoder has a head for."""
    return tuple(name for name in ("logits", "pixels") if name in encoder.outputs)


def glimpses_and_targets(encoder: Any, images: Tensor, patch_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Cuts out what is seen of each image, and what the decoder should paint.

    Args:
        encoder: Whose patches, normalisation and device.
        images: uint8 `[B, H, W, 3]`.
        patch_ids: int64 `[B, T, n]`; -1 = padding, which gets patch 0.

    Returns:
        Normalised patches `[B, T, n, 3, p, p]`, and all patches as `Belief.pixels` holds them,
        `[B, G, p*p*3]`, both float32 on the encoder's device.
    """
    pixels = images.to(encoder.device).permute(0, 3, 1, 2)
    patches = patchify(encoder.normalise(pixels), encoder.config.patch_size)
    rows = torch.arange(len(patches), device=patches.device)[:, None, None]
    seen = patches[rows, patch_ids.clamp(min=0).to(patches.device)]
    targets = pixel_targets(patches)
    if encoder.config.patch_normalised_pixels:
        spread = (targets.var(-1, keepdim=True) + 1e-6).sqrt()
        targets = (targets - targets.mean(-1, keepdim=True)) / spread
    return seen, targets


def mean_over_unseen(errors: Tensor, patch_ids: Tensor) -> Tensor:
    """Averages errors over the patches of each image that were not seen.

    Args:
        errors: float `[B, G]`.
        patch_ids: int64 `[B, N]`, the patches seen, on any device; -1 = padding.

    Returns:
        `[B]`; 0 for an image seen whole.
    """
    ids = patch_ids.to(errors.device)
    known = ids.new_zeros(len(ids), 1 + errors.shape[1], dtype=torch.bool)
    unseen = (~known.scatter_(1, ids + 1, True)[:, 1:]).float()
    return (errors * unseen).sum(1) / unseen.sum(1).clamp(min=1)


def belief_loss(
    belief: Belief,
    targets: Tensor,
    labels: Tensor,
    patch_ids: Tensor,
    config: TrainingConfig,
    own: Mapping[str, tuple[float, Tensor]] | None = None,
) -> dict[str, Tensor]:
    """Cross-entropy plus the weighted squared error of the unseen patches.

    Args:
        belief: With `logits` and, for the pixel loss, `pixels`.
        targets: `[B, G, p*p*3]` in normalised colours.
        labels: int64 `[B]`.
        patch_ids: int64 `[B, N]`, the patches seen; -1 = padding.
        config: Weights of the terms.
        own: Further losses of the encoder's family by name, each with its weight.

    Returns:
        `total`, `classification`, `reconstruction` and the family's own, scalars. The squared error
        is averaged over the unseen patches of each image first and over images after, so that no
        image weighs more for having seen less.
    """
    losses: dict[str, Tensor] = {}
    if belief.logits is not None:
        losses["classification"] = F.cross_entropy(
            belief.logits.float(), labels, label_smoothing=config.label_smoothing
        )
    if belief.pixels is not None:
        errors = F.mse_loss(belief.pixels.float(), targets, reduction="none").mean(2)
        losses["reconstruction"] = mean_over_unseen(errors, patch_ids).mean()
    total = losses.get("classification", targets.new_zeros(()))
    if "reconstruction" in losses:
        total = total + config.reconstruction_weight * losses["reconstruction"]
    for name, (weight, value) in (own or {}).items():
        losses[name] = value.to(total)
        total = total + weight * losses[name]
    return {"total": total, **losses}

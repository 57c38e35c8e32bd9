"""What an encoder is trained for: to name the scene, and to paint what it has not seen."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.families.tore.model import GlimpseEncoder
from encoders.layers.patches import patchify, pixel_targets
from encoders.protocol import Belief
from encoders.reduction.halting_losses import distribution_loss, ponder_loss
from encoders.training.config import TrainingConfig


def objective_outputs(encoder: GlimpseEncoder) -> tuple[str, ...]:
    """The parts of the belief that the loss compares: those the encoder has a head for."""
    heads = {"logits": encoder.config.num_classes > 0, "pixels": encoder.decoder is not None}
    return tuple(name for name, present in heads.items() if present)


def glimpses_and_targets(
    encoder: GlimpseEncoder, images: Tensor, patch_ids: Tensor
) -> tuple[Tensor, Tensor]:
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


def tore_loss(
    belief: Belief,
    targets: Tensor,
    labels: Tensor,
    patch_ids: Tensor,
    config: TrainingConfig,
) -> dict[str, Tensor]:
    """Cross-entropy plus the weighted squared error of the unseen patches.

    Args:
        belief: With `logits` and, for the pixel loss, `pixels`.
        targets: `[B, G, p*p*3]` in normalised colours.
        labels: int64 `[B]`.
        patch_ids: int64 `[B, N]`, the patches seen; -1 = padding.
        config: Weights of the terms.

    Returns:
        `total`, `classification` and `reconstruction`, of an encoder whose tokens halt `ponder` and
        `distribution` too, scalars. The squared error is averaged over
        the unseen patches of each image first and over images after, so that no image weighs more
        for having seen less.
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
    for halting in () if belief.reduced is None else belief.reduced.halting:
        for name, weight, loss in (
            ("ponder", config.ponder_weight, ponder_loss),
            ("distribution", config.distribution_weight, distribution_loss),
        ):
            value = loss(halting).to(total)
            losses[name] = losses.get(name, 0.0) + value
            total = total + weight * value
    return {"total": total, **losses}

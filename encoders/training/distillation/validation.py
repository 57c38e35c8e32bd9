"""How good features are while they are learnt, and whether they have collapsed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from encoders.analysis.knn import knn_classify
from encoders.families.tore.model import GlimpseEncoder
from encoders.support.precision import autocast
from encoders.support.subsets import spread_evenly
from encoders.training.distillation.config import DistillationConfig
from encoders.training.validation import LabelledImages

_BATCH_SIZE = 64
_UNIFORM = 0.99  # share of log(D) from which a teacher says nothing
_ONE_OUTPUT = 0.01  # share of log(D) below which it says the same with certainty
_CONSTANT = 0.01  # of `feature_spread`, which is about 1 for features that differ

_COLUMNS = {
    "knn_top1": ("kNN %", 100, 1),
    "knn_top5": ("top 5 %", 100, 1),
    "loss": ("loss", 1, 3),
    "kl": ("KL", 1, 3),
    "teacher_entropy": ("entropy", 1, 3),
    "center_norm": ("centre", 1, 3),
    "feature_spread": ("spread", 1, 3),
}


@torch.no_grad()
def latents_of(
    encoder: GlimpseEncoder,
    images: LabelledImages,
    indices: np.ndarray,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Latents of whole images, float32 `[N, D]` on the CPU.

    Args:
        encoder: The encoder.
        images: Scenes of its size.
        indices: Which of them, int64 `[N]`.
        dtype: Of matrix products.
    """
    parts = []
    for start in range(0, len(indices), _BATCH_SIZE):
        batch = indices[start : start + _BATCH_SIZE]
        scenes = torch.from_numpy(np.stack([images.load(int(index)) for index in batch]))
        with autocast(encoder.device, dtype):
            pixels = encoder.normalise(scenes.permute(0, 3, 1, 2))
            latent = encoder.forward_full(pixels, ("latent",)).latent
        assert latent is not None  # asked for
        parts.append(latent.float().cpu())
    return torch.cat(parts)


def knn_metrics(
    encoder: GlimpseEncoder,
    train: LabelledImages,
    validation: LabelledImages,
    size: int,
    config: DistillationConfig,
    dtype: torch.dtype = torch.float32,
) -> dict[str, float]:
    """Nearest-neighbour accuracy of held-out scenes among training scenes, all seen whole.

    Args:
        encoder: The encoder; left in evaluation mode.
        train: Scenes with classes, of which `config.knn_bank`, evenly spread, are neighbours.
        validation: Held-out scenes of the same classes.
        size: How many of them, evenly spread, are classified.
        config: Neighbours.
        dtype: Of matrix products.

    Returns:
        `knn_top1` and `knn_top5`, in [0, 1].
    """
    encoder.eval()
    bank = spread_evenly(config.knn_bank, len(train))
    held_out = spread_evenly(size, len(validation))
    predictions = knn_classify(
        latents_of(encoder, train, bank, dtype),
        torch.from_numpy(train.labels[bank]),
        latents_of(encoder, validation, held_out, dtype),
        neighbours=config.knn_neighbours,
    )
    labels = torch.from_numpy(validation.labels[held_out])
    return {f"knn_top{top}": predictions.accuracy(labels, top) for top in (1, 5)}


def signs_of_collapse(metrics: Mapping[str, float], outputs: int) -> list[str]:
    """Says in words where student and teacher agree because they say nothing.

    Args:
        metrics: `teacher_entropy` in nats and `feature_spread`.
        outputs: Of the projection head.

    Returns:
        A sentence for each sign, with what to do; none where all is well.
    """
    entropy, most = metrics["teacher_entropy"], math.log(outputs)
    signs = []
    if entropy > _UNIFORM * most:
        signs.append(
            f"the teacher's entropy is {entropy:.3f} of at most {most:.3f} nats: its outputs are "
            "nearly uniform, from which nothing is learnt (collapse); lower "
            "--dino.teacher-temperature, or check that centering is not all that acts"
        )
    if entropy < _ONE_OUTPUT * most:
        signs.append(
            f"the teacher's entropy is {entropy:.3f} of at most {most:.3f} nats: one output takes "
            "all (collapse); keep --dino.centering on, raise "
            "--dino.teacher-temperature, or lower --dino.center-momentum"
        )
    if metrics["feature_spread"] < _CONSTANT:
        signs.append(
            f"the student's features are nearly the same for all images (spread "
            f"{metrics['feature_spread']:.4f}, where 1 is unrelated): a collapse; lower "
            "--learning-rate, or raise --dino.teacher-momentum"
        )
    return signs


def tabulate(history: Sequence[Mapping[str, float]], *, heading: bool = True) -> str:
    """A table of validations of self-distillation, at most 100 characters wide.

    Args:
        history: Metrics with `step`, the oldest first; all with the same names.
        heading: Begin with what the columns are.
    """
    shown = [name for name in _COLUMNS if name in history[0]]
    lines = []
    if heading:
        lines.append("step".rjust(8) + "".join(_COLUMNS[name][0].rjust(10) for name in shown))
    for metrics in history:
        line = f"{metrics['step']:8.0f}"
        for name in shown:
            _, scale, digits = _COLUMNS[name]
            line += f"{scale * metrics[name]:10.{digits}f}"
        lines.append(line)
    return "\n".join(lines)

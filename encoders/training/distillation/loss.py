"""DINO's loss: the student names what the teacher sees in other crops of the same image.

Source: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021,
equations 1 to 4.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class DistillationTerms(NamedTuple):
    """Scalars of a batch.

    Attributes:
        loss: Cross-entropy, the mean over all pairs of a teacher's and another student's crop.
        entropy: Of the teacher's distributions, their mean in nats; log(D) where they are uniform.
        divergence: Kullback-Leibler divergence of the student from the teacher: loss - entropy.
    """

    loss: Tensor
    entropy: Tensor
    divergence: Tensor


def distillation_loss(
    student: Tensor,
    teacher: Tensor,
    center: Tensor,
    student_temperature: float,
    teacher_temperature: float,
) -> DistillationTerms:
    """Cross-entropy between the centred, sharpened teacher and the student.

    Args:
        student: `[S, B, D]`, outputs of the head for S crops of B images.
        teacher: `[T, B, D]` for the first T of these crops; no gradient flows into it.
        center: `[D]`, taken off the teacher's outputs.
        student_temperature: Divides the student's outputs.
        teacher_temperature: Divides the teacher's centred outputs; the lower, the sharper.

    Returns:
        The loss, with the gradient of the student, and what it is made of.

    Raises:
        ValueError: Fewer than two crops, or more of the teacher's than of the student's.
    """
    crops, both = len(student), len(teacher)
    if crops < 2 or not 1 <= both <= crops:
        raise ValueError(
            f"{both} crops of the teacher and {crops} of the student; expected at least 1, and at "
            "least 2 of which the first are the teacher's"
        )
    targets = ((teacher.detach() - center) / teacher_temperature).log_softmax(-1)
    shares = targets.exp()
    entropy = -(shares * targets).sum(-1).mean()
    predicted = (student / student_temperature).log_softmax(-1)
    # All crops but the teacher's own: the sum over all of them, less one.
    others = predicted.sum(0) - predicted[:both]
    loss = -(shares * others).sum(-1).mean() / (crops - 1)
    return DistillationTerms(loss, entropy, loss.detach() - entropy)


@torch.no_grad()
def updated_center(center: Tensor, batch_mean: Tensor, momentum: float) -> Tensor:
    """The running mean of the teacher's outputs after one more batch.

    Args:
        center: `[D]` so far.
        batch_mean: `[D]`, the mean over the teacher's crops of this batch, in all processes.
        momentum: How much of the running mean stays.
    """
    return momentum * center + (1 - momentum) * batch_mean


@torch.no_grad()
def feature_spread(features: Tensor) -> Tensor:
    """How much directions of features differ: 0 where all are one, 1 where they cancel out.

    Args:
        features: `[N, D]`.

    Returns:
        Scalar, the root mean square distance of unit-length features from their mean.
    """
    directions = F.normalize(features.float(), dim=1)
    return directions.var(0, unbiased=False).sum().sqrt()

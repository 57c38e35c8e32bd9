"""How far features move when images are encoded in parts."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Drift:
    """Distances of single images, float64 `[N]` on the CPU.

    Attributes:
        l2: Euclidean distance, in the units of the features.
        cosine: One minus the cosine of the angle between them, from 0 to 2.
    """

    l2: Tensor
    cosine: Tensor


def feature_drift(features: Tensor, reference: Tensor) -> Drift:
    """Distances between two sets of features of the same images.

    Args:
        features: float `[N, D]`.
        reference: float `[N, D]`, e.g. those at K = 0.

    Raises:
        ValueError: Other shapes.
    """
    if features.ndim != 2 or features.shape != reference.shape:
        raise ValueError(
            f"features of shapes {tuple(features.shape)} and {tuple(reference.shape)}; expected "
            "[N, D] twice"
        )
    moved, still = features.cpu().double(), reference.cpu().double()
    return Drift(
        l2=torch.linalg.vector_norm(moved - still, dim=1),
        cosine=(1 - F.cosine_similarity(moved, still, dim=1)).clamp(0, 2),
    )

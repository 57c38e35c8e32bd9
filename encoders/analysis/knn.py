"""Weighted nearest neighbours on features: how well they name scenes without any training.

Source: Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination",
CVPR 2018, section 3.4, with the settings of Caron et al., "Emerging Properties in Self-Supervised
Vision Transformers" (DINO), ICCV 2021, section 4.1: 20 neighbours, temperature 0.07.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

NEIGHBOURS = 20
TEMPERATURE = 0.07
_TOP = 5
_SIMILARITIES_AT_ONCE = 2**24  # numbers in a block of the similarity matrix: 64 MiB in float32


@dataclasses.dataclass(frozen=True, eq=False)
class KnnPredictions:
    """Classes in the order of their votes.

    Attributes:
        ranking: int64 `[N, min(5, C)]` on the CPU: the classes with most votes, the best first. Of
            equal votes, those of classes that no neighbour has among them, the lower class comes
            first.
    """

    ranking: Tensor

    @property
    def predicted(self) -> Tensor:
        """The class of most votes, int64 `[N]`."""
        return self.ranking[:, 0]

    def hits(self, labels: Tensor, top: int = 1) -> Tensor:
        """Where the true class is among the first `top`, bool `[N]`.

        Args:
            labels: int64 `[N]`.
            top: From 1 to 5.

        Raises:
            ValueError: `top` is outside that, or there is another number of labels.
        """
        if not 1 <= top <= _TOP:
            raise ValueError(f"top={top}; expected 1 to {_TOP}")
        if len(labels) != len(self.ranking):
            raise ValueError(f"{len(labels)} labels for {len(self.ranking)} predictions")
        return (self.ranking[:, :top] == labels.cpu()[:, None]).any(1)

    def accuracy(self, labels: Tensor, top: int = 1) -> float:
        """The share of `hits`, in [0, 1]."""
        return float(self.hits(labels, top).double().mean())


@torch.no_grad()
def knn_classify(
    train_features: Tensor,
    train_labels: Tensor,
    features: Tensor,
    *,
    neighbours: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
) -> KnnPredictions:
    """Lets the nearest training features vote for the classes of others.

    The nearest are those of greatest cosine similarity s; each votes for its class with weight
    `exp(s / temperature)`. Similarities are computed block after block, so that memory stays
    bounded however many features there are.

    Args:
        train_features: float `[M, D]`; their lengths do not matter.
        train_labels: int64 `[M]`, at least 0.
        features: float `[N, D]`, of the same dtype and on the same device.
        neighbours: How many vote; all where there are fewer training features.
        temperature: The smaller, the more the very nearest count.

    Returns:
        The classes voted for.

    Raises:
        ValueError: Shapes that do not fit, nothing to compare with, features that are not finite,
            labels below 0, or settings out of range.
    """
    _check(train_features, train_labels, features)
    if neighbours < 1:
        raise ValueError(f"neighbours={neighbours}; expected at least 1")
    if not temperature > 0:
        raise ValueError(f"temperature={temperature}; expected a number above 0")
    count = min(neighbours, len(train_features))
    classes = int(train_labels.max()) + 1
    known = F.normalize(train_features, dim=1).T
    labels = train_labels.to(train_features.device)
    rows = max(_SIMILARITIES_AT_ONCE // len(train_features), 1)
    rankings = []
    for part in features.split(rows):
        similarities, nearest = (F.normalize(part, dim=1) @ known).topk(count, dim=1)
        # Relative to the nearest, so that low temperatures do not overflow.
        weights = ((similarities - similarities[:, :1]) / temperature).exp()
        votes = weights.new_zeros(len(part), classes).scatter_add_(1, labels[nearest], weights)
        ranking = votes.argsort(dim=1, descending=True, stable=True)
        rankings.append(ranking[:, :_TOP].cpu())
    return KnnPredictions(torch.cat(rankings))


def _check(train_features: Tensor, train_labels: Tensor, features: Tensor) -> None:
    shapes = tuple(train_features.shape), tuple(train_labels.shape), tuple(features.shape)
    if (
        train_features.ndim != 2
        or features.ndim != 2
        or train_features.shape[1] != features.shape[1]
        or train_labels.shape != train_features.shape[:1]
    ):
        raise ValueError(
            "training features, their labels and features of shapes {}, {}, {}; expected "
            "[M, D], [M], [N, D]".format(*shapes)
        )
    if not len(train_features) or not len(features):
        raise ValueError(
            f"{len(train_features)} training features and {len(features)} others; expected at "
            "least one of each"
        )
    for name, values in (("training features", train_features), ("features", features)):
        if not bool(values.isfinite().all()):
            raise ValueError(f"the {name} hold numbers that are not finite")
    if int(train_labels.min()) < 0:
        raise ValueError(f"a training label is {int(train_labels.min())}; expected at least 0")

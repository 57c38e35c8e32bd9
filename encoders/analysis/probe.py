"""A linear probe: what a linear layer can read off features that stay as they are."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

_ITERATIONS = 200
_SMALLEST_SPREAD = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class LinearProbe:
    """Class logits as a linear function of features.

    Attributes:
        weight: float64 `[C, D]` on the CPU.
        bias: float64 `[C]` on the CPU.
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Class logits float64 `[N, C]`, on the CPU, of features `[N, D]`."""
        return F.linear(features.cpu().double(), self.weight, self.bias)


def fit_probe(
    features: Tensor, labels: Tensor, num_classes: int, *, weight_decay: float = 1e-3
) -> LinearProbe:
    """Multinomial logistic regression, to the optimum and so without any randomness.

    Features are standardised, channel by channel. Minimised is the mean cross-entropy plus
    `weight_decay / 2` times the squared weights (not the biases), by L-BFGS in float64.

    Args:
        features: float `[N, D]`.
        labels: int64 `[N]`, the class of each; a class may be missing.
        num_classes: C, at least 2.
        weight_decay: Above 0, so that there is one optimum.

    Raises:
        ValueError: Shapes that do not fit, nothing to learn from, features that are not finite.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1] or not len(labels):
        raise ValueError(
            f"features of shape {tuple(features.shape)} and labels of shape "
            f"{tuple(labels.shape)}; expected [N, D] and [N] with N of at least 1"
        )
    if num_classes < 2:
        raise ValueError(f"num_classes={num_classes}; a probe tells at least 2 classes apart")
    values = features.cpu().double()
    if not bool(values.isfinite().all()):
        raise ValueError("the features hold numbers that are not finite")
    mean = values.mean(0)
    spread = values.std(0, unbiased=False).clamp(min=_SMALLEST_SPREAD)
    values = (values - mean) / spread
    targets = labels.cpu()
    weight = torch.zeros(num_classes, values.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(num_classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=_ITERATIONS,
        history_size=20,
        tolerance_grad=1e-7,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(F.linear(values, weight, bias), targets)
        value = value + weight_decay / 2 * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    scaled = weight.detach() / spread
    return LinearProbe(scaled, bias.detach() - scaled @ mean)

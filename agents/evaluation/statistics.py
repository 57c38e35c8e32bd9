"""How sure a mean over scenes is: percentile bootstrap, the same resamples for every agent."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from agents.evaluation.config import EvaluationConfig

Key = TypeVar("Key")

CONFIDENCE = 0.95
NUM_RESAMPLES = EvaluationConfig.resamples

# Scene indices drawn at a time; bounds the memory of large splits.
_DRAWS_AT_A_TIME = 1 << 22


@dataclasses.dataclass(frozen=True, eq=False)
class Interval:
    """Means over scenes and how far other scenes of the same kind might have moved them.

    Attributes:
        mean: float64, any shape.
        low: Lower ends of the intervals, same shape.
        high: Upper ends of the intervals, same shape.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def bootstrap_interval(
    values: np.ndarray,
    *,
    resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of the mean over scenes.

    The resamples depend on the seed and the number of scenes alone, so that the intervals of all
    agents over the same scenes are drawn alike, and the interval of the per-scene differences of
    two agents is their paired bootstrap.

    Source: Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.

    Args:
        values: One value per scene, `[N, ...]`; bool or float.
        resamples: Number of times the scenes are drawn anew.
        confidence: Share of the resampled means inside the interval.
        seed: Of the resamples.

    Raises:
        ValueError: No scenes, or values that are not finite.
    """
    values = np.asarray(values, np.float64)
    num_scenes = len(values)
    if not num_scenes:
        raise ValueError("no scenes: a mean needs at least one")
    if not np.isfinite(values).all():
        raise ValueError("values are not finite; an interval of their mean does not exist")
    flat = values.reshape(num_scenes, -1)
    means = np.empty((resamples, flat.shape[1]))
    rng = np.random.default_rng(seed)
    at_a_time = max(1, _DRAWS_AT_A_TIME // num_scenes)
    for start in range(0, resamples, at_a_time):
        part = means[start : start + at_a_time]
        drawn = rng.integers(num_scenes, size=(len(part), num_scenes))
        drawn += np.arange(len(part))[:, None] * num_scenes
        # A resampled mean weighs each scene by how often it was drawn: one matrix product for all.
        counts = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        part[:] = counts.astype(np.float64) @ flat
    means /= num_scenes
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(means, tails, axis=0).reshape(2, *values.shape[1:])
    return Interval(values.mean(axis=0), low, high)


def bootstrap_intervals(
    values: Mapping[Key, np.ndarray], resamples: int = NUM_RESAMPLES
) -> dict[Key, Interval]:
    """`bootstrap_interval` of several quantities of the same scenes, drawn once for all.

    Args:
        values: By name, one value per scene, `[N, M]` each.
        resamples: Number of times the scenes are drawn anew.
    """
    if not values:
        return {}
    together = bootstrap_interval(np.stack(list(values.values()), axis=1), resamples=resamples)
    ends = zip(together.mean, together.low, together.high, strict=True)
    return {name: Interval(*interval) for name, interval in zip(values, ends, strict=True)}

"""How sure a mean over scenes is.

A scene is what was drawn at random; what several seeds did in one scene are no further draws, and
are averaged first. Whatever is right or wrong in a scene gets score intervals (Wilson, and Newcombe
for paired differences), which have a width where all are right or none; everything else the
percentile bootstrap, the same resamples for every agent.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Literal, TypeVar

import numpy as np

from agents.evaluation.config import EvaluationConfig

Key = TypeVar("Key")

Method = Literal["wilson", "newcombe", "bootstrap"]

# How people write the methods.
METHODS: Mapping[Method, str] = {
    "wilson": "Wilson score",
    "newcombe": "Newcombe's paired score",
    "bootstrap": "bootstrap",
}
CONFIDENCE = 0.95
NUM_RESAMPLES = EvaluationConfig.resamples

# Scene indices drawn at a time; bounds the memory of large splits.
_DRAWS_AT_A_TIME = 1 << 22


@dataclasses.dataclass(frozen=True, eq=False)
class Interval:
    """Means over scenes and how far other scenes of the same kind might have moved them.

    Attributes:
        mean: float64, any shape.
        low: Lower ends of the intervals, same shape; NaN where there is no interval.
        high: Upper ends of the intervals, same shape; NaN where there is no interval.
        method: How they were computed.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    method: Method = "bootstrap"

    @property
    def exists(self) -> bool:
        """Whether there are intervals: the mean of a single scene has none but as a proportion."""
        return not np.isnan(self.low).any()


def wilson_interval(
    values: np.ndarray, *, per_scene: float = 1, confidence: float = CONFIDENCE
) -> Interval:
    """Wilson's score interval of a proportion.

    Where a scene was judged several times (by several seeds, after several glimpses), its
    judgements are alike: they count as N to `per_scene` * N independent ones, by the ratio of the
    binomial variance to the variance between scenes. One judgement per scene is plain Wilson.

    Sources: Wilson, "Probable inference", JASA 1927; Dean & Pagano, "Evaluating confidence interval
    methods for binomial proportions in clustered surveys", 2015, for the effective sample size.

    Args:
        values: Share of a scene's judgements that were right, `[N, ...]`; bool, or float in [0, 1].
        per_scene: Judgements of a scene, at least 1; of weighted ones Kish's effective number.
        confidence: Share of intervals that hold the true proportion.

    Raises:
        ValueError: No scenes, or values that are no shares.
    """
    values = _checked_shares(values)
    mean = values.mean(axis=0)
    count = _effective_count(values, per_scene)
    z = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    middle = mean + z**2 / (2 * count)
    spread = z * np.sqrt(mean * (1 - mean) / count + z**2 / (4 * count**2))
    shrink = 1 + z**2 / count
    low = np.where(mean <= 0, 0.0, (middle - spread) / shrink)
    high = np.where(mean >= 1, 1.0, (middle + spread) / shrink)
    return Interval(mean, low, high, "wilson")


def newcombe_interval(
    first: np.ndarray,
    second: np.ndarray,
    *,
    per_scene: tuple[float, float] = (1, 1),
    confidence: float = CONFIDENCE,
) -> Interval:
    """Newcombe's interval of the difference of two proportions in the same scenes.

    His method 10: the distances of both proportions to the ends of their Wilson intervals are
    squared and added, less what their correlation over scenes explains.

    Source: Newcombe, "Improved confidence intervals for the difference between binomial proportions
    based on paired data", Statistics in Medicine 17, 1998. For shares of several judgements the
    same with the intervals of `wilson_interval` (Zou & Donner, "Construction of confidence limits
    about effect measures", Statistics in Medicine 27, 2008).

    Args:
        first: As for `wilson_interval`, `[N, ...]`.
        second: What is subtracted, of the same scenes, same shape.
        per_scene: Judgements of a scene in each.
        confidence: Share of intervals that hold the true difference.

    Raises:
        ValueError: No scenes, or values that are no shares.
    """
    first, second = _checked_shares(first), _checked_shares(second)
    one = wilson_interval(first, per_scene=per_scene[0], confidence=confidence)
    two = wilson_interval(second, per_scene=per_scene[1], confidence=confidence)
    covariance = (first * second).mean(axis=0) - one.mean * two.mean
    # Newcombe's correction for continuity, of positive correlations alone.
    positive = np.maximum(covariance - 1 / (2 * len(first)), 0)
    covariance = np.where(covariance > 0, positive, covariance)
    scale = first.std(axis=0) * second.std(axis=0)
    correlation = np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0)
    correlation = np.clip(correlation, -1, 1)

    def together(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(a**2 + b**2 - 2 * correlation * a * b, 0))

    mean = one.mean - two.mean
    low = mean - together(one.mean - one.low, two.high - two.mean)
    high = mean + together(one.high - one.mean, two.mean - two.low)
    return Interval(mean, low, high, "newcombe")


def mcnemar_p_value(lost: int, won: int) -> float:
    """How likely it is that changes split so unevenly, or more so, if either way is as likely.

    The exact two-sided test of McNemar, on the judgements that differ alone.

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions",
    Psychometrika 1947.

    Args:
        lost: Scenes that are right the first time alone.
        won: Scenes that are right the second time alone.

    Returns:
        In (0, 1]; 1 where nothing changed.

    Raises:
        ValueError: A number below 0.
    """
    if lost < 0 or won < 0:
        raise ValueError(f"lost={lost}, won={won}; expected counts of at least 0")
    changed = lost + won
    tail = sum(math.comb(changed, count) for count in range(min(lost, won) + 1))
    return float(min(Fraction(2 * tail, 2**changed), Fraction(1)))


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """P values that allow for there being several, by Holm's step-down procedure.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 1979.

    Args:
        p_values: Of independent or dependent tests, each in [0, 1].

    Returns:
        In the same order: what is at most 0.05 may be called so with all of them in mind.
    """
    count, adjusted, highest = len(p_values), list(p_values), 0.0
    for rank, at in enumerate(sorted(range(count), key=lambda index: p_values[index])):
        highest = max(highest, min(1.0, (count - rank) * p_values[at]))
        adjusted[at] = highest
    return adjusted


def _checked_shares(values: np.ndarray) -> np.ndarray:
    values = _checked(values)
    # The mean of many ones may be a little more than one.
    if (values < -1e-9).any() or (values > 1 + 1e-9).any():
        raise ValueError("values are no shares; expected numbers from 0 to 1")
    return np.clip(values, 0, 1)


def _checked(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if not len(values):
        raise ValueError("no scenes: a mean needs at least one")
    if not np.isfinite(values).all():
        raise ValueError("values are not finite; an interval of their mean does not exist")
    return values


def _effective_count(values: np.ndarray, per_scene: float) -> np.ndarray:
    """How many independent judgements tell as much as those of N scenes, `[...]`."""
    count, mean, between = len(values), values.mean(axis=0), values.var(axis=0)
    independent = np.divide(
        (count - 1) * mean * (1 - mean),
        between,
        out=np.full_like(mean, count),  # all scenes alike: as if each were judged once
        where=between > 1e-15,
    )
    return np.clip(independent, count, count * per_scene)


def bootstrap_interval(
    values: np.ndarray,
    *,
    resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of the mean over scenes; of a single scene there is none.

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
    values = _checked(values)
    num_scenes = len(values)
    if num_scenes == 1:
        nothing = np.full(values.shape[1:], np.nan)
        return Interval(values[0], nothing, nothing)
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


def mean_intervals(
    values: Mapping[Key, np.ndarray],
    per_scene: Mapping[Key, float],
    resamples: int = NUM_RESAMPLES,
) -> dict[Key, Interval]:
    """Intervals of several quantities of the same scenes: of proportions Wilson's, else bootstrap.

    Args:
        values: By name, one value per scene, `[N, M]` each.
        per_scene: Judgements of a scene, by the names of those that are proportions.
        resamples: Of the bootstrap.
    """
    drawn = {name: each for name, each in values.items() if name not in per_scene}
    intervals = bootstrap_intervals(drawn, resamples)
    for name, judgements in per_scene.items():
        intervals[name] = wilson_interval(values[name], per_scene=judgements)
    return {name: intervals[name] for name in values}

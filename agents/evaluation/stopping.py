"""Stopping an episode once the belief is sure enough, and what that saves."""

from __future__ import annotations

import dataclasses

import numpy as np

from agents.evaluation.walk import Evaluation


@dataclasses.dataclass(frozen=True, eq=False)
class Stopping:
    """Where each of N episodes would have ended.

    Attributes:
        confidence: The probability of the most probable class that ends an episode.
        reached: Whether the episode got there within its glimpses, bool `[N]`.
        glimpses: Glimpses taken, at least 1, int64 `[N]`; all of them where it was not reached.
        correct: Whether the prediction was right when it stopped, bool `[N]`.
        flops: Multiply-accumulates of the encoder until then, int64 `[N]`.
        policy_flops: Multiply-accumulates of choosing until then, int64 `[N]`.
        saved: Share of all multiply-accumulates that a full episode would have spent on top.
    """

    confidence: float
    reached: np.ndarray
    glimpses: np.ndarray
    correct: np.ndarray
    flops: np.ndarray
    policy_flops: np.ndarray
    saved: float

    @property
    def median_glimpses(self) -> int | None:
        """Glimpses within which half of the scenes got there; None if fewer ever did."""
        ordered = np.sort(np.where(self.reached, self.glimpses, np.iinfo(np.int64).max))
        half = (len(ordered) - 1) // 2
        return int(ordered[half]) if self.reached.sum() > half else None


def stop_at_confidence(evaluation: Evaluation, confidence: float) -> Stopping:
    """Cuts full episodes at the first belief that is sure enough.

    What an agent does next depends on what it has seen alone, so that the first part of a full
    episode is what an episode that stops would have been.

    Args:
        evaluation: Full episodes, with the columns `confidence` and `correct`.
        confidence: In (0, 1].

    Raises:
        ValueError: A confidence out of range, or an evaluation without one.
    """
    if not 0 < confidence <= 1:
        raise ValueError(f"stop_confidence={confidence}; expected more than 0 and at most 1")
    if not evaluation.tells_when_sure:
        raise ValueError(
            f"agent {evaluation.agent!r}: nothing to be confident of; stopping early needs a task "
            f"that measures confidence, as 'classification' does (here {evaluation.task!r}), and a "
            "class head trained for the classes of the scenes"
        )
    sure = evaluation.columns["confidence"][:, 1:] >= confidence
    reached = np.asarray(sure.any(axis=1))
    glimpses = np.where(reached, sure.argmax(axis=1) + 1, evaluation.num_glimpses)
    scenes = np.arange(evaluation.num_scenes)
    spent, policy = evaluation.flops_total, evaluation.policy_flops_total
    full = int(spent[:, -1].sum()) + len(scenes) * int(policy[-1])
    flops, policy_flops = spent[scenes, glimpses], policy[glimpses]
    return Stopping(
        confidence=confidence,
        reached=reached,
        glimpses=glimpses,
        correct=evaluation.columns["correct"][scenes, glimpses],
        flops=flops,
        policy_flops=policy_flops,
        saved=1 - (int(flops.sum()) + int(policy_flops.sum())) / full,
    )

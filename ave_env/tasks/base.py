"""What is asked of a belief, and how well it answers.

A task scores a belief; the reward of a step is what the score gained in it, so that the rewards of
an episode add up to the final score less the one before the first glimpse.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ave_env.scenes.base import Scenes
from ave_env.tasks.metrics import Columns, Metric

# Parts of N beliefs by name. `pixels` are images, uint8 `[N, H, W, 3]`, as the belief paints them;
# `reconstruction` is the same with the truth pasted in where a glimpse has shown it.
Beliefs = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Truth:
    """What the environment knows of N scenes and no agent is told.

    Attributes:
        images: The whole scenes, uint8 `[N, H, W, 3]`.
        labels: Their classes, int64 `[N]`.
        visited: Patches seen so far, uint8 0/1 `[N, grid_h, grid_w]`.
        targets: What else the task asked of the scenes, by `Task.targets`, one entry per scene.
    """

    images: np.ndarray
    labels: np.ndarray
    visited: np.ndarray
    targets: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)


class Task(abc.ABC):
    """Base of tasks. `ave_env.testing.check_task` holds one to what is said here.

    A task states what it needs (`requires`, `targets`), scores beliefs, and measures them: it fills
    `columns`, from which `metrics` are computed. The first metric is the one agents are ranked by.

    Attributes:
        name: What tables and `task=` call it.
        requires: Parts of the belief without which there is no score.
        targets: Names of what it needs of a scene beyond image and label, as `Scenes.target` knows
            them or as its own `target` makes them.
        columns: What `measure` returns for every scene, in the order of files.
        metrics: What is computed from the columns; the main metric first.
    """

    name: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    targets: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ()
    metrics: tuple[Metric, ...] = ()

    @classmethod
    def of(cls, scenes: Scenes) -> Task:
        """The task for some scenes, whose classes it may depend on."""
        return cls()

    def target(self, name: str, scenes: Scenes, index: int) -> Any:
        """One target of one scene, asked for whenever an episode begins.

        Args:
            name: One of `targets`.
            scenes: What is explored.
            index: Number of the scene.

        Returns:
            What the scenes say; a task that works something out of them returns that instead.
        """
        return scenes.target(name, index)

    @abc.abstractmethod
    def score(self, belief: Beliefs, truth: Truth) -> np.ndarray:
        """How good each row's belief is, float64 `[N]`; more is better."""

    @abc.abstractmethod
    def measure(self, belief: Beliefs, truth: Truth) -> dict[str, np.ndarray]:
        """All `columns` of N beliefs, each bool, int64 or float64 `[N]`."""

    def measure_scored(
        self, belief: Beliefs, truth: Truth, score: np.ndarray
    ) -> dict[str, np.ndarray]:
        """As `measure`, of beliefs whose score is known: nothing needs to be computed twice.

        Args:
            belief: Parts of the belief by name.
            truth: What is so.
            score: What `score` has said of this belief.
        """
        return self.measure(belief, truth)

    def measure_step(self, belief: Beliefs, truth: Truth, score: np.ndarray) -> Columns:
        """The columns that `info`'s metrics are computed from, at every step of an environment.

        Args:
            belief: Parts of the belief by name.
            truth: What is so.
            score: What `score` has said of this belief.
        """
        return self.measure(belief, truth)

    @property
    def main_metric(self) -> Metric | None:
        """The metric agents are ranked by."""
        return self.metrics[0] if self.metrics else None

    def info(
        self, belief: Beliefs | None, truth: Truth, score: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """What the task adds to `info`, float64 `[N]` by name; placeholders without a belief."""
        shown = [each for each in self.metrics if each.in_info and each.aggregate is None]
        if not shown:
            return {}
        if belief is None or score is None:
            return {each.name: np.full(len(truth.labels), each.missing) for each in shown}
        columns = self.measure_step(belief, truth, score)
        return {each.name: each.of_scenes(columns) for each in shown}

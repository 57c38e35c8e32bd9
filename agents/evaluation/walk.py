"""Walking a split: every scene once, and what the agent did and knew after each glimpse."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from gymnasium.vector import AutoresetMode
from tqdm.auto import tqdm

from agents.base import Agent
from agents.evaluation.exploring import explore
from ave_env.rendering import Snapshot
from ave_env.tasks.base import Task, Truth
from ave_env.tasks.metrics import COVERAGE, Metric
from ave_env.vector import ActiveExplorationVectorEnv
from encoders.support.subsets import spread_evenly

# Called after the reset and after every step with the environment, the number of glimpses taken,
# and how many rows count (those beyond are padding).
Watcher = Callable[[ActiveExplorationVectorEnv, int, int], None]

# Beside the columns while a walk goes on; no Python names, so that no task can call a column so.
_BOXES, _SCORES = "newest glimpse", "score of the task"

# What the environment itself measures at every step, whatever the task.
OWN_COLUMNS = ("flops", "flops_without_recycling", "tokens", "coverage")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """What one agent did in N scenes, after t = 0..T glimpses each.

    Attributes:
        agent: Name of the agent.
        task: What was asked of the belief.
        uses_chance: Whether the agent drew random numbers.
        flops_per_action: Multiply-accumulates of choosing one glimpse, beyond the encoder's own.
        scene_ids: Numbers of the scenes in their split, int64 `[N]`.
        labels: True classes, int64 `[N]`.
        boxes: Newest glimpse in pixels (y0, x0, y1, x1), int64 `[N, T+1, 4]`.
        columns: What was measured, `[N, T+1]` by name: the environment's own `flops` (of the
            encoder in each step, int64; 0 at t = 0, for the belief before any glimpse is a constant
            of the weights), `flops_without_recycling` (the same, had every step encoded all that
            was seen again, int64), `tokens` (what the encoder remembers, int64) and `coverage`
            (share of the scene that was seen, float64); and, where the task's scores mean
            something, all that `Task.measure` returns.
        declared: What is computed from them: the task's metrics, where its scores mean something,
            and coverage.
        scores: The task's score, float64 `[N, T+1]`; None where it means nothing.
    """

    agent: str
    task: str
    uses_chance: bool
    flops_per_action: int
    scene_ids: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    columns: Mapping[str, np.ndarray]
    declared: tuple[Metric, ...]
    scores: np.ndarray | None

    @property
    def num_scenes(self) -> int:
        """N."""
        return len(self.scene_ids)

    @property
    def num_glimpses(self) -> int:
        """T."""
        return self.flops.shape[1] - 1

    @property
    def flops(self) -> np.ndarray:
        """Multiply-accumulates of the encoder in each step, int64 `[N, T+1]`."""
        return self.columns["flops"]

    @property
    def flops_total(self) -> np.ndarray:
        """Multiply-accumulates of the encoder so far, int64 `[N, T+1]`."""
        return self.flops.cumsum(axis=1)

    @property
    def policy_flops_total(self) -> np.ndarray:
        """Multiply-accumulates of choosing so far, int64 `[T+1]`."""
        return self.flops_per_action * np.arange(self.num_glimpses + 1)

    @property
    def main_metric(self) -> Metric | None:
        """What agents are ranked by: the task's first metric that every scene has a value of.

        None where nothing meaningful can be said.
        """
        of_scenes = (each for each in self.declared if each.aggregate is None)
        return next((each for each in of_scenes if each is not COVERAGE), None)

    @property
    def tells_when_sure(self) -> bool:
        """Whether the task measures how confident a prediction is and whether it is right."""
        return {"confidence", "correct"} <= self.columns.keys()

    def metrics(self) -> dict[str, np.ndarray]:
        """What can be averaged over scenes: float64 `[N, T+1]` by name."""
        return {
            each.name: each.of_scenes(self.columns)
            for each in self.declared
            if each.aggregate is None
        }

    @property
    def proportions(self) -> frozenset[str]:
        """Names of the metrics whose mean is the share of the scenes where something is so."""
        return frozenset(each.name for each in self.declared if each.is_proportion(self.columns))

    def aggregates(self) -> dict[str, np.ndarray]:
        """What all scenes have together: float64 `[T+1]` by name."""
        return {
            each.name: np.asarray(each.aggregate(self.columns), np.float64)
            for each in self.declared
            if each.aggregate is not None
        }

    def returns(self) -> np.ndarray | None:
        """Sum of the rewards of each episode, float64 `[N]`: what the task's score gained.

        None where the scores mean nothing.
        """
        return None if self.scores is None else self.scores[:, -1] - self.scores[:, 0]

    def final_score(self) -> float:
        """Mean of the main metric after the last glimpse, turned so that more is better.

        Raises:
            ValueError: There is no main metric.
        """
        main = self.main_metric
        if main is None:
            raise ValueError(
                f"task {self.task!r}: no score, because of an untrained head or a task that "
                "declares no metric of single scenes"
            )
        return main.sign * float(main.of_scenes(self.columns)[:, -1].mean())


def evaluate(
    agent: Agent,
    env: ActiveExplorationVectorEnv,
    *,
    num_scenes: int | None = None,
    progress: bool = True,
    watch: Watcher | None = None,
) -> Evaluation:
    """Lets an agent explore each scene of the environment's split exactly once.

    What an agent that does not use chance reaches depends on `env.num_envs` by no more than the
    rounding of matrix products.

    Args:
        agent: Made for `env`.
        env: With autoreset DISABLED and an encoder.
        num_scenes: Most scenes, spread evenly over the split; None = all.
        progress: Show a progress bar.
        watch: See `Watcher`.

    Raises:
        ValueError: Another autoreset mode, no encoder, fewer than one scene, or a task whose names
            are the environment's.
    """
    if env.autoreset_mode is not AutoresetMode.DISABLED:
        raise ValueError(
            f"autoreset_mode is {env.autoreset_mode.name}; to see each scene once make the "
            "environment with autoreset_mode='DISABLED'"
        )
    if env.observer is None:
        raise ValueError("an environment without an encoder has no belief to evaluate")
    _refuse_taken_names(env.task)
    scene_ids = spread_evenly(num_scenes, len(env.scenes))
    chance = agent.random.bit_generator.state
    bar = tqdm(
        total=len(scene_ids) * env.num_glimpses,
        desc=agent.name,
        unit="glimpse",
        disable=not progress,
        leave=False,
    )
    walked = []
    with bar:
        for start in range(0, len(scene_ids), env.num_envs):
            batch = scene_ids[start : start + env.num_envs]
            steps = []
            # Rows beyond the last scene explore the batch's scenes again, and nobody looks.
            for t, _, info in explore(agent, env, batch):
                if t:
                    bar.update(len(batch))
                steps.append(_measure(env, info, len(batch)))
                if watch is not None:
                    watch(env, t, len(batch))
            walked.append(_merge(steps, lambda values: np.stack(values, axis=1)))
    columns = _merge(walked, np.concatenate)
    return Evaluation(
        agent=agent.name,
        task=env.task.name,
        uses_chance=agent.random.bit_generator.state != chance,
        flops_per_action=agent.flops_per_action,
        scene_ids=scene_ids,
        labels=np.asarray(env.scenes.labels)[scene_ids],
        boxes=columns.pop(_BOXES),
        scores=columns.pop(_SCORES, None),
        columns=columns,
        declared=(*(env.task.metrics if env.scores_mean_something else ()), COVERAGE),
    )


def balanced_rows(num_scenes: int, most: int) -> int:
    """The number of rows, at most `most`, that walks the scenes in as few batches but pads least.

    Raises:
        ValueError: Less than one row.
    """
    if most < 1:
        raise ValueError(f"num_envs={most}; expected at least 1")
    batches = -(-num_scenes // most)
    return -(-num_scenes // batches)


class EpisodeRecorder:
    """A `Watcher` that keeps the episodes of a few scenes for drawing.

    Args:
        scene_ids: Which of the walk's scenes to keep.

    Attributes:
        episodes: By scene, one snapshot per t = 0..T.
    """

    def __init__(self, scene_ids: Iterable[int]) -> None:
        self.episodes: dict[int, list[Snapshot]] = {int(scene): [] for scene in scene_ids}

    def __call__(self, env: ActiveExplorationVectorEnv, step: int, num_rows: int) -> None:
        """Keeps the rows that hold chosen scenes."""
        for row, scene in enumerate(env.scene_ids[:num_rows].tolist()):
            if scene in self.episodes:
                self.episodes[scene].append(env.snapshot(row))


def _measure(
    env: ActiveExplorationVectorEnv, info: dict[str, np.ndarray], num_rows: int
) -> dict[str, np.ndarray]:
    """Where the first rows stand: all columns at one t, `[num_rows, ...]`, boxes and scores."""
    values = {name: info[name][:num_rows] for name in OWN_COLUMNS}
    values[_BOXES] = info["glimpse_box"][:num_rows]
    if env.scores_mean_something:
        values[_SCORES] = scores = env.scores[:num_rows].copy()
        belief = {name: part[:num_rows] for name, part in env.belief.items()}
        measured = env.task.measure_scored(belief, _first(env.truth, num_rows), scores)
        # Copies, for a task may hand out parts of a belief that the next step overwrites.
        values |= {name: np.array(column) for name, column in measured.items()}
    return values


def _first(truth: Truth, num_rows: int) -> Truth:
    """The truth about the first rows."""
    return Truth(
        images=truth.images[:num_rows],
        labels=truth.labels[:num_rows],
        visited=truth.visited[:num_rows],
        targets={name: values[:num_rows] for name, values in truth.targets.items()},
    )


def _refuse_taken_names(task: Task) -> None:
    """Refuses a task that calls something of its own as the environment calls something else."""
    names = [*task.columns, *(each.name for each in task.metrics)]
    if taken := sorted({*names} & {*OWN_COLUMNS, COVERAGE.name}):
        raise ValueError(
            f"task {task.name!r}: {', '.join(taken)} is what the environment measures; name the "
            "task's columns and metrics differently"
        )


def _merge(
    parts: list[dict[str, np.ndarray]], join: Callable[[list[np.ndarray]], np.ndarray]
) -> dict[str, np.ndarray]:
    return {name: join([part[name] for part in parts]) for name in parts[0]}

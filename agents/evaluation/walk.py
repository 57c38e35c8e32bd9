"""Walking a split: every scene once, and what the agent did and knew after each glimpse."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
from gymnasium.vector import AutoresetMode
from tqdm.auto import tqdm

from agents.base import Agent
from agents.evaluation.measures import measure_classes, measure_pixels
from ave_env.rendering import Snapshot
from ave_env.vector import ActiveExplorationVectorEnv
from encoders.support.subsets import spread_evenly

# Called after the reset and after every step with the environment, the number of glimpses taken,
# and how many rows count (those beyond are padding).
Watcher = Callable[[ActiveExplorationVectorEnv, int, int], None]

_COSTS = ("flops", "flops_without_recycling", "tokens", "coverage")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """What one agent did in N scenes, after t = 0..T glimpses each.

    Attributes:
        agent: Name of the agent.
        task: What was asked of the belief.
        trained_head: Whether the class head was trained for these classes.
        uses_chance: Whether the agent drew random numbers.
        flops_per_action: Multiply-accumulates of choosing one glimpse, beyond the encoder's own.
        num_classes: Classes that a scene may be of.
        scene_ids: Numbers of the scenes in their split, int64 `[N]`.
        labels: True classes, int64 `[N]`.
        flops: Multiply-accumulates of the encoder in each step, int64 `[N, T+1]`; 0 at t = 0, for
            the belief before any glimpse is a constant of the weights.
        flops_without_recycling: The same, had every step encoded all that was seen again.
        tokens: Tokens cached, int64 `[N, T+1]`.
        coverage: Share of the scene that was seen, float64 `[N, T+1]`.
        boxes: Newest glimpse in pixels (y0, x0, y1, x1), int64 `[N, T+1, 4]`.
        prediction: Most probable class, int64 `[N, T+1]`. This and the next three are None unless
            the task is classification and the head is trained.
        rank: Number of classes more probable than the true one, int64 `[N, T+1]`.
        confidence: Probability of the most probable class, float64 `[N, T+1]`.
        log_probability: Of the true class, in nats, float64 `[N, T+1]`.
        rmse: Root mean squared error over all pixels with the seen ones pasted, in grey levels
            (0-255), float64 `[N, T+1]`. This and the next three, which
            `agents.evaluation.measures.measure_pixels` explains, are None unless the task is
            reconstruction.
        rmse_predicted: Over all pixels as painted, float64 `[N, T+1]`.
        rmse_unseen: Over the pixels that were not seen, float64 `[N, T+1]`.
        pixel_distance: Mean distance between colours, float64 `[N, T+1]`.
    """

    agent: str
    task: str
    trained_head: bool
    uses_chance: bool
    flops_per_action: int
    num_classes: int
    scene_ids: np.ndarray
    labels: np.ndarray
    flops: np.ndarray
    flops_without_recycling: np.ndarray
    tokens: np.ndarray
    coverage: np.ndarray
    boxes: np.ndarray
    prediction: np.ndarray | None = None
    rank: np.ndarray | None = None
    confidence: np.ndarray | None = None
    log_probability: np.ndarray | None = None
    rmse: np.ndarray | None = None
    rmse_predicted: np.ndarray | None = None
    rmse_unseen: np.ndarray | None = None
    pixel_distance: np.ndarray | None = None

    @property
    def num_scenes(self) -> int:
        """N."""
        return len(self.scene_ids)

    @property
    def num_glimpses(self) -> int:
        """T."""
        return self.flops.shape[1] - 1

    @property
    def correct(self) -> np.ndarray | None:
        """Whether the most probable class is the true one, bool `[N, T+1]`."""
        return None if self.prediction is None else self.prediction == self.labels[:, None]

    @property
    def top5(self) -> np.ndarray | None:
        """Whether the true class is among the five most probable, bool `[N, T+1]`.

        None where it could hardly be otherwise: of five classes or fewer.
        """
        return None if self.rank is None or self.num_classes <= 5 else self.rank < 5

    @property
    def flops_total(self) -> np.ndarray:
        """Multiply-accumulates of the encoder so far, int64 `[N, T+1]`."""
        return self.flops.cumsum(axis=1)

    @property
    def policy_flops_total(self) -> np.ndarray:
        """Multiply-accumulates of choosing so far, int64 `[T+1]`."""
        return self.flops_per_action * np.arange(self.num_glimpses + 1)

    @property
    def main_metric(self) -> str | None:
        """The metric the task is judged by; None where nothing meaningful can be said."""
        return next((name for name in ("accuracy", "rmse") if name in self.metrics()), None)

    def metrics(self) -> dict[str, np.ndarray]:
        """What can be averaged over scenes: float64 `[N, T+1]` by name."""
        surprise = None if self.log_probability is None else -self.log_probability
        found: dict[str, np.ndarray | None] = {
            "accuracy": self.correct,
            "top5_accuracy": self.top5,
            "negative_log_likelihood": surprise,
            "rmse": self.rmse,
            "rmse_predicted": self.rmse_predicted,
            "rmse_unseen": self.rmse_unseen,
            "pixel_distance": self.pixel_distance,
            "coverage": self.coverage,
        }
        return {
            name: values.astype(np.float64) for name, values in found.items() if values is not None
        }

    def returns(self) -> np.ndarray | None:
        """Sum of the rewards of each episode, float64 `[N]`: what the task's score gained.

        None where the head is untrained.
        """
        score = self.log_probability if self.rmse is None else -self.rmse
        return None if score is None else score[:, -1] - score[:, 0]

    def final_score(self) -> float:
        """Mean after the last glimpse, more is better: accuracy, or minus the error.

        Raises:
            ValueError: The head is untrained.
        """
        if self.main_metric is None:
            raise ValueError("untrained head: there is no score")
        sign = -1 if self.main_metric == "rmse" else 1
        return sign * float(self.metrics()[self.main_metric][:, -1].mean())


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
        ValueError: Another autoreset mode, no encoder, or fewer than one scene.
    """
    if env.autoreset_mode is not AutoresetMode.DISABLED:
        raise ValueError(
            f"autoreset_mode is {env.autoreset_mode.name}; to see each scene once make the "
            "environment with autoreset_mode='DISABLED'"
        )
    if env.observer is None:
        raise ValueError("an environment without an encoder has no belief to evaluate")
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
            # Rows beyond the last scene explore the batch's scenes again, and nobody looks.
            observation, info = env.reset(options={"scene_id": np.resize(batch, env.num_envs)})
            state, begins = None, np.ones(env.num_envs, np.bool_)
            steps = []
            for t in range(env.num_glimpses + 1):
                if t:
                    actions, state = agent.predict(observation, state, begins, deterministic=True)
                    observation, _, _, _, info = env.step(actions)
                    begins = np.zeros_like(begins)
                    bar.update(len(batch))
                steps.append(_measure(env, info, len(batch)))
                if watch is not None:
                    watch(env, t, len(batch))
            walked.append(_merge(steps, lambda values: np.stack(values, axis=1)))
    return Evaluation(
        agent=agent.name,
        task=env.task.name,
        trained_head=env.observer.trained_head,
        uses_chance=agent.random.bit_generator.state != chance,
        flops_per_action=agent.flops_per_action,
        num_classes=len(env.scenes.class_names),
        scene_ids=scene_ids,
        labels=np.asarray(env.scenes.labels)[scene_ids],
        **_merge(walked, np.concatenate),
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
    """Where the first rows stand: columns of `Evaluation` at one t, `[num_rows, ...]`."""
    assert env.observer is not None
    values = {name: info[name][:num_rows] for name in _COSTS}
    values["boxes"] = info["glimpse_box"][:num_rows]
    belief = env.observer.belief
    if env.task.name == "classification" and env.observer.trained_head:
        values |= measure_classes(belief["logits"][:num_rows], info["label"][:num_rows])
    if env.task.name == "reconstruction":
        values["rmse"] = info["rmse"][:num_rows]
        # The environments' own error is of the truth pasted in; these look at what was painted.
        values |= measure_pixels(
            belief["pixels"][:num_rows], env.images[:num_rows], env.visited[:num_rows]
        )
    return values


def _merge(
    parts: list[dict[str, np.ndarray]], join: Callable[[list[np.ndarray]], np.ndarray]
) -> dict[str, np.ndarray]:
    return {name: join([part[name] for part in parts]) for name in parts[0]}

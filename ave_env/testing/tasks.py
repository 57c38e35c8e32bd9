"""The laws of tasks, tried on random beliefs about real scenes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ave_env.configuration import Configuration
from ave_env.parts import Parts
from ave_env.scenes import Scenes, open_scenes
from ave_env.sensors.grid import GridSensor
from ave_env.tasks.base import Beliefs, Task, Truth
from ave_env.tasks.classification import Classification
from ave_env.tasks.metrics import Metric
from ave_env.tasks.reconstruction import paste_known
from ave_env.vector import ActiveExplorationVectorEnv
from encoders.support.laws import pickled, require

_ROWS = 5
_STEPS = 3
_PATCH = 16
_SIZE = (64, 128)  # of procedural scenes
_DTYPES = (np.bool_, np.int64, np.float64)


def check_task(
    task_class: type[Task],
    *,
    scenes: Scenes | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    seed: int = 0,
) -> None:
    """Holds a task to what `ave_env.tasks.base` and `ave_env.tasks.metrics` say.

    A small environment is made with the task, and after each of its glimpses random beliefs are
    scored. What is asked: scores are finite float64 `[N]`, of each row by itself; columns are those
    declared; metrics can be computed of them after one glimpse and after all, elementwise; `info`
    holds those that say so, with placeholders where there is no belief; only parts of the belief
    that are required are read, and nothing is written to.

    Args:
        task_class: The task.
        scenes: What to explore, 16 pixels to a patch; None = procedural panoramas.
        shapes: Shapes of one row of those required parts of the belief that further heads make.
        seed: Of scenes and beliefs.

    Raises:
        AssertionError: A law is broken; the message says which, and what was found.
        ValueError: The scenes do not have what the task asks of them.
    """
    chosen = scenes or open_scenes("synthetic", split="train", image_size=_SIZE, seed=seed)
    task = task_class.of(chosen)
    _check_declaration(task, task_class)
    random = np.random.default_rng(seed)
    env = _environment(task, chosen)
    own_keys = set(_environment(Classification.of(chosen), chosen).reset(seed=seed)[1])
    _check_placeholders(task, env.reset(seed=seed)[1], own_keys)
    beliefs = _Beliefs(task, chosen, dict(shapes or {}), random)
    history = []
    for step in range(_STEPS):
        if step:
            env.step(env.action_space.sample())
        truth = _frozen(env.truth)
        belief = beliefs.draw(truth)
        score = _check_score(task, belief, truth)
        columns = _check_columns(task, belief, truth)
        _check_info(task, belief, truth, score, columns)
        history.append(columns)
    _check_metrics(task, history)


def _environment(task: Task, scenes: Scenes) -> ActiveExplorationVectorEnv:
    configuration = Configuration(
        scenes=scenes, image_size=scenes.image_size, patch_size=_PATCH, encoder=None
    )
    parts = Parts(scenes, GridSensor(scenes.image_size, _PATCH), task, None)
    env = ActiveExplorationVectorEnv(_ROWS, configuration=configuration, parts=parts)
    env.action_space.seed(0)
    return env


def _check_declaration(task: Task, task_class: type[Task]) -> None:
    kind = task_class.__name__
    require(isinstance(task, Task), f"{kind}.of(scenes) is a Task", f"{type(task).__name__}")
    require(isinstance(getattr(task, "name", None), str), "a task has a name", f"{kind} has none")
    for field in ("requires", "targets", "columns"):
        names = getattr(task, field)
        good = isinstance(names, tuple) and all(isinstance(name, str) for name in names)
        require(
            good and len(names) == len(set(names)), f"{field} are different names", f"{names!r}"
        )
    require(bool(task.columns), "a task declares its columns", f"{kind} has none")
    metrics = task.metrics
    require(
        bool(metrics) and all(isinstance(each, Metric) for each in metrics),
        "a task has metrics, the main one first",
        f"{metrics!r}",
    )
    names = [each.name for each in metrics]
    require(len(names) == len(set(names)), "the names of metrics differ", f"{names}")
    require(
        metrics[0].better in ("higher", "lower"),
        "the main metric, which is first, says which direction is good (`better`)",
        f"{names[0]!r} has better={metrics[0].better!r}",
    )
    pickled(task, "a task pickles (its metrics use functions of a module)")


def _check_placeholders(task: Task, info: Mapping[str, Any], own_keys: set[str]) -> None:
    """What the environment's `info` holds without an encoder."""
    for metric in _in_info(task):
        require(
            metric.name not in own_keys,
            "metrics in info have names that the environment does not use itself",
            f"{metric.name!r}",
        )
        values = info.get(metric.name)
        placeholders = (
            isinstance(values, np.ndarray)
            and (values.shape, values.dtype) == ((_ROWS,), np.float64)
            and bool((values == metric.missing).all())
        )
        require(
            placeholders,
            f"info holds {metric.name!r} = {metric.missing} (its `missing`) without a belief",
            f"{values!r}",
        )


def _check_score(task: Task, belief: Beliefs, truth: Truth) -> np.ndarray:
    score = _unharmed(task, "score", belief, truth)
    require(
        isinstance(score, np.ndarray) and (score.shape, score.dtype) == ((_ROWS,), np.float64),
        f"score() is float64 {(_ROWS,)}",
        f"{getattr(score, 'dtype', type(score).__name__)} {np.shape(score)}",
    )
    require(bool(np.isfinite(score).all()), "scores are finite", f"{score.tolist()}")
    again = task.score(belief, truth)
    require(np.array_equal(again, score), "score() is a function of its arguments", f"{again}")
    for rows, part in _some_rows(belief, truth):
        alone = task.score(*part)
        require(
            alone.shape == (len(rows),) and np.allclose(alone, score[rows], 1e-5, 1e-8),
            "the score of a row does not depend on the other rows",
            f"{alone} for rows {rows.tolist()}, and {score[rows]} among all",
        )
    return score


def _check_columns(task: Task, belief: Beliefs, truth: Truth) -> dict[str, np.ndarray]:
    columns = _unharmed(task, "measure", belief, truth)
    require(
        set(columns) == set(task.columns),
        f"measure() returns the columns declared, {sorted(task.columns)}",
        f"{sorted(columns)}",
    )
    for name, values in columns.items():
        require(
            isinstance(values, np.ndarray) and values.shape == (_ROWS,) and values.dtype in _DTYPES,
            f"column {name!r} is bool, int64 or float64 {(_ROWS,)}",
            f"{getattr(values, 'dtype', type(values).__name__)} {np.shape(values)}",
        )
    for rows, part in _some_rows(belief, truth):
        for name, values in task.measure(*part).items():
            require(
                values.shape == (len(rows),)
                and np.allclose(values, columns[name][rows], 1e-5, 1e-8, equal_nan=True),
                f"column {name!r} of a row does not depend on the other rows",
                f"{values} for rows {rows.tolist()}, and {columns[name][rows]} among all",
            )
    return columns


def _check_info(
    task: Task,
    belief: Beliefs,
    truth: Truth,
    score: np.ndarray,
    columns: Mapping[str, np.ndarray],
) -> None:
    shown = task.info(belief, truth, score)
    expected = [metric.name for metric in _in_info(task)]
    require(list(shown) == expected, f"info() holds the metrics {expected}", f"{list(shown)}")
    for metric in _in_info(task):
        values, measured = shown[metric.name], metric.of_scenes(columns)
        require(
            (values.shape, values.dtype) == ((_ROWS,), np.float64)
            and np.allclose(values, measured, 1e-5, 1e-8, equal_nan=True),
            f"info's {metric.name!r} is what the columns of measure() say (see measure_step)",
            f"{values} and {measured}",
        )


def _check_metrics(task: Task, history: list[dict[str, np.ndarray]]) -> None:
    """Every metric of one glimpse, and of all glimpses at once."""
    stacked = {name: np.stack([each[name] for each in history], axis=1) for name in task.columns}
    for metric in task.metrics:
        try:
            if metric.aggregate is not None:
                values = np.asarray(metric.aggregate(stacked))
                shape: tuple[int, ...] = (_STEPS,)
            else:
                values, shape = metric.of_scenes(stacked), (_ROWS, _STEPS)
        except KeyError as error:
            raise AssertionError(
                f"law: metrics are computed from columns that are declared; found: "
                f"{metric.name!r} reads {error}, and there are {sorted(task.columns)}"
            ) from error
        require(
            values.shape == shape,
            f"metric {metric.name!r} of columns [N, T+1] = {(_ROWS, _STEPS)} has shape {shape}",
            f"{values.shape}",
        )
        if metric.aggregate is not None:
            continue
        for step, columns in enumerate(history):
            one = metric.of_scenes(columns)
            require(
                one.shape == (_ROWS,) and np.allclose(one, values[:, step], equal_nan=True),
                f"metric {metric.name!r} is computed elementwise",
                f"{one} of the columns after {step} glimpses alone, {values[:, step]} among all",
            )


def _in_info(task: Task) -> list[Metric]:
    return [each for each in task.metrics if each.in_info and each.aggregate is None]


class _Beliefs:
    """Draws random beliefs.

    Args:
        task: Decides which parts there are.
        scenes: Decide their shapes.
        shapes: Of one row of further parts.
        random: What they are drawn with.
    """

    def __init__(
        self,
        task: Task,
        scenes: Scenes,
        shapes: dict[str, tuple[int, ...]],
        random: np.random.Generator,
    ) -> None:
        grid = scenes.image_size[0] // _PATCH, scenes.image_size[1] // _PATCH
        patches = grid[0] * grid[1]
        self.shapes = {
            "latent": (24,),
            "logits": (len(scenes.class_names),),
            "attention": (2, 1 + patches, 1 + patches),
            "entropy": grid,
            "normalised_entropy": grid,
            "cells": (*grid, 16),
            "pixels": (*scenes.image_size, 3),
            **shapes,
        }
        known = {*self.shapes, "reconstruction"}
        unknown = sorted(set(task.requires) - known)
        require(
            not unknown,
            f"`requires` names parts of a belief, {sorted(known)}, or those in `shapes`",
            f"{unknown}",
        )
        self.names = tuple(
            dict.fromkeys("pixels" if name == "reconstruction" else name for name in task.requires)
        )
        self.pasted = "pixels" in self.names
        self.random = random

    def draw(self, truth: Truth) -> Beliefs:
        """One belief for every row, of the required parts alone, read-only."""
        parts: dict[str, np.ndarray] = {}
        for name in self.names:
            shape = (len(truth.labels), *self.shapes[name])
            values = self.random.normal(size=shape).astype(np.float32)
            if name == "pixels":
                values = self.random.integers(0, 256, shape, np.uint8)
            elif name == "attention":
                values = np.exp(values) / np.exp(values).sum(axis=-1, keepdims=True)
            elif name.endswith("entropy"):
                values = np.abs(values)
            parts[name] = values
        if self.pasted:
            parts["reconstruction"] = paste_known(parts["pixels"], truth.images, truth.visited)
        return parts


def _unharmed(task: Task, method: str, belief: Beliefs, truth: Truth) -> Any:
    """Calls a method, which must leave its arguments as they are and read what is required."""
    before, targets = copy.deepcopy(dict(belief)), copy.deepcopy(dict(truth.targets))
    scenes, labels = truth.images.copy(), truth.labels.copy()
    try:
        result = getattr(task, method)(belief, truth)
    except KeyError as error:
        raise AssertionError(
            f"law: {method}() reads the parts of the belief in `requires` {task.requires} and the "
            f"targets in `targets` {task.targets}; found: it reads {error}"
        ) from error
    changed = [name for name in before if not np.array_equal(before[name], belief[name])]
    changed += [
        name
        for name, values in targets.items()
        if not all(map(np.array_equal, values, truth.targets[name]))
    ]
    if not (np.array_equal(scenes, truth.images) and np.array_equal(labels, truth.labels)):
        changed.append("images or labels")
    require(not changed, f"{method}() writes neither to beliefs nor to the truth", f"{changed}")
    return result


def _some_rows(belief: Beliefs, truth: Truth) -> Iterator[tuple[np.ndarray, tuple[Beliefs, Truth]]]:
    """Some rows of belief and truth: one alone, and all in another order."""
    for rows in (np.array([1]), np.arange(_ROWS)[::-1]):
        part = {name: values[rows] for name, values in belief.items()}
        targets = {name: [values[i] for i in rows] for name, values in truth.targets.items()}
        yield (
            rows,
            (
                part,
                Truth(truth.images[rows], truth.labels[rows], truth.visited[rows], targets),
            ),
        )


def _frozen(truth: Truth) -> Truth:
    """A truth that the environment's next step leaves as it is."""
    return Truth(
        truth.images.copy(),
        truth.labels.copy(),
        truth.visited.copy(),
        {name: list(values) for name, values in truth.targets.items()},
    )

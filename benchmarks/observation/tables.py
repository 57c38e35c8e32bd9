"""The points of a folder as tables, and means over seeds."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from encoders.support.files import replacing
from observation.settings import MODELS, REFERENCE

MODEL_COLUMNS = (
    *("model", "seed", "agent", "glimpses", "scenes", "accuracy", "ci_lo", "ci_hi"),
    *("gflops", "gflops_policy", "parameters", "steps", "images", "seconds", "precision"),
    "weights_hash",
)
COST_COLUMNS = (
    *("model", "parameters", "outputs", "rows", "glimpses", "ms_per_step"),
    *("ms_per_row_and_episode", "gflops_per_episode", "state_bytes_per_row"),
)
SPECTRUM_COLUMNS = (
    *("model", "seed", "scenes", "layer", "height", "width", "variance", "frequency"),
    "log_amplitude",
)

# 97.5 % quantile of Student's t by degrees of freedom; beyond, that of the normal distribution.
_QUANTILES = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """Accuracy of one model with one agent after 0..T glimpses, over seeds.

    Attributes:
        model: The model.
        agent: The agent.
        seeds: Of the trainings, ascending.
        accuracy: In per cent, float64 `[S, T+1]`.
        gflops: Billions of multiply-accumulates so far, encoder and policy, float64 `[T+1]`.
        outputs: What the agent has the encoder compute.
    """

    model: str
    agent: str
    seeds: tuple[int, ...]
    accuracy: np.ndarray
    gflops: np.ndarray
    outputs: str

    @property
    def mean(self) -> np.ndarray:
        """Over seeds, `[T+1]`."""
        return self.accuracy.mean(0)

    @property
    def margin(self) -> np.ndarray:
        """Half of the 95 % interval of the mean over seeds (Student's t), `[T+1]`; 0 of one."""
        return _margin(self.accuracy)

    def minus(self, other: Curve) -> tuple[np.ndarray, np.ndarray]:
        """Mean difference to another curve of the same seeds, and half of its interval, `[T+1]`."""
        differences = self.accuracy - other.accuracy
        return differences.mean(0), _margin(differences)


def _margin(values: np.ndarray) -> np.ndarray:
    """Half of the 95 % interval of the mean of `[S, T+1]` over seeds."""
    count = len(values)
    if count < 2:
        return np.zeros(values.shape[1])
    quantile = _QUANTILES[count - 2] if count - 2 < len(_QUANTILES) else 1.96
    return quantile * values.std(0, ddof=1) / math.sqrt(count)


def read_points(folder: Path) -> list[dict[str, Any]]:
    """All points in a folder: models in the order of `MODELS`, then agents and seeds."""
    paths = sorted((folder / "points").glob("*.json"))
    points = [json.loads(path.read_text("utf-8")) for path in paths]
    order = list(MODELS)
    return sorted(points, key=lambda each: (order.index(each["model"]), each["agent"]))


def model_rows(points: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for every number of glimpses of every point."""
    per_glimpse = ("accuracy", "ci_lo", "ci_hi", "gflops", "gflops_policy")
    return [
        {**point, "glimpses": step, **{name: point[name][step] for name in per_glimpse}}
        for point in points
        for step in range(len(point["accuracy"]))
    ]


def curves_of(points: Sequence[Mapping[str, Any]]) -> list[Curve]:
    """The seeds of each model and agent together."""
    found = []
    for key in dict.fromkeys((point["model"], point["agent"]) for point in points):
        own = [point for point in points if (point["model"], point["agent"]) == key]
        own.sort(key=lambda point: point["seed"])
        seeds = tuple(point["seed"] for point in own)
        spent = [np.add(point["gflops"], point["gflops_policy"]) for point in own]
        accuracy = np.array([point["accuracy"] for point in own])
        outputs = " ".join(own[0]["outputs"])
        found.append(Curve(*key, seeds, accuracy, np.mean(spent, axis=0), outputs))
    return found


def milliseconds(costs: Sequence[Mapping[str, Any]], curve: Curve) -> float | None:
    """What an episode of a curve takes the encoder, of the most rows measured; None if unknown."""
    own = [row for row in costs if row["model"] == curve.model and row["outputs"] == curve.outputs]
    if not own:
        return None
    return float(max(own, key=lambda row: row["rows"])["ms_per_row_and_episode"])


def write_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], path: Path) -> None:
    """The CSV: numbers with six significant digits."""
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in rows:
            cells = (row[name] for name in columns)
            writer.writerow(f"{cell:.6g}" if isinstance(cell, float) else cell for cell in cells)


def in_words(curves: Sequence[Curve], costs: Sequence[Mapping[str, Any]]) -> str:
    """A line for every model and agent: accuracy halfway and at the end, and what it costs.

    The difference to the reference with the same agent is one of pairs of seeds, and left out where
    the two were not trained with the same.
    """
    last = curves[0].accuracy.shape[1] - 1
    reference = {curve.agent: curve for curve in curves if curve.model == REFERENCE}
    lines = [
        f"{'model':<14}{'agent':<14}{'seeds':>6}{f'after {last // 2}':>16}{f'after {last}':>16}"
        f"{f'minus {REFERENCE}':>16}{'GFLOPs':>9}{'ms':>8}"
    ]
    for curve in curves:
        alone = len(curve.seeds) == 1
        cells = [
            f"{curve.mean[step]:.1f}" + ("" if alone else f" ±{curve.margin[step]:.1f}")
            for step in (last // 2, last)
        ]
        other = reference.get(curve.agent)
        if other is None or other is curve or other.seeds != curve.seeds:
            cells.append("")
        else:
            mean, margin = (values[last] for values in curve.minus(other))
            cells.append(f"{mean:+.1f}" + ("" if alone else f" ±{margin:.1f}"))
        taken = milliseconds(costs, curve)
        lines.append(
            f"{curve.model:<14}{curve.agent:<14}{len(curve.seeds):>6}"
            f"{''.join(f'{cell:>16}' for cell in cells)}{curve.gflops[-1]:>9.3f}"
            + (f"{taken:>8.2f}" if taken else "")
        )
    return "\n".join(lines)


def training_in_words(folder: Path) -> str:
    """A line for every model: steps, and seconds that they took."""
    lines = []
    for name in MODELS:
        paths = sorted((folder / "encoders").glob(f"{name}-[0-9]*/training.json"))
        if records := [json.loads(path.read_text("utf-8")) for path in paths]:
            seconds = statistics.mean(record["seconds"] for record in records)
            planned = records[0]["seconds_planned"]
            lines.append(
                f"{name:<14}{len(records)} trained, {records[0]['steps']:,} steps, "
                f"{records[0]['images']:,} images; {seconds:.0f} s of {planned:.0f} planned"
            )
    return "\n".join(lines)

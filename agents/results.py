"""The files of a comparison.

| file | what |
| --- | --- |
| `run.json` | command, versions, commit, machine, date |
| `summary.json` | settings, library versions, encoder, and what came out |
| `per_step.csv` | metrics over scenes after t = 0..T glimpses, a block per agent and seed |
| `per_scene.csv.gz` | every glimpse of every scene |
| `curves.png` | the task's metric over glimpses and over GFLOPs |
| `episodes/*.gif` | a few episodes of each agent |

All but `run.json` are the same bytes when the same thing is run again on the same machine.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from agents.comparison import AgentResult, Comparison
from agents.evaluation import Evaluation
from agents.run_folder import RUN_FILE, describe_run, write_json, write_text
from agents.statistics import CONFIDENCE, bootstrap_intervals
from ave_env.rendering import draw, save_gif

SUMMARY_FILE = "summary.json"
PER_STEP_FILE = "per_step.csv"
PER_SCENE_FILE = "per_scene.csv.gz"
CURVES_FILE = "curves.png"
EPISODES_FOLDER = "episodes"

FLOPS_CONVENTION = "one multiply-accumulate counts as one"

PER_STEP_COLUMNS = (
    "agent",
    "seed",
    "t",
    "n",
    "metric",
    "mean",
    "ci_lo",
    "ci_hi",
    "gflops_step",
    "gflops_total",
    "gflops_policy_total",
    "gflops_without_recycling_total",
)
PER_SCENE_COLUMNS = (
    "agent",
    "seed",
    "scene_id",
    "label",
    "t",
    "prediction",
    "correct",
    "rank",
    "confidence",
    "log_probability",
    "rmse",
    "coverage",
    "tokens",
    "flops",
    "flops_total",
    "flops_policy_total",
    "flops_without_recycling",
    "y0",
    "x0",
    "y1",
    "x1",
)

_VOLATILE = ("command", "date", "git_commit", "machine")


def write_results(comparison: Comparison, folder: Path) -> None:
    """Writes all files; each appears whole or not at all.

    Args:
        comparison: What was run.
        folder: Where they go; made if missing.
    """
    from agents.figures import draw_curves

    folder.mkdir(parents=True, exist_ok=True)
    run = describe_run(comparison.config)
    if not (folder / RUN_FILE).exists():  # a command may have written a better one
        write_json(folder / RUN_FILE, run)
    stable = {key: value for key, value in run.items() if key not in _VOLATILE}
    write_json(folder / SUMMARY_FILE, {**stable, **summarise(comparison)})
    _write_csv(folder / PER_STEP_FILE, PER_STEP_COLUMNS, _per_step(comparison))
    _write_csv(folder / PER_SCENE_FILE, PER_SCENE_COLUMNS, _per_scene(comparison))
    draw_curves(comparison, folder / CURVES_FILE)
    for result in comparison.results:
        for scene, snapshots in result.episodes.items():
            frames = [draw(snapshot) for snapshot in snapshots]
            save_gif(frames, folder / EPISODES_FOLDER / f"{result.label}-scene-{scene}.gif")


def summarise(comparison: Comparison) -> dict[str, Any]:
    """The JSON-able contents of `summary.json`, without versions."""
    results = comparison.results
    differences = [
        {
            "first": first,
            "second": second,
            "metric": comparison.main_metric,
            "t": t,
            **_interval(interval, t),
        }
        for (first, second), interval in comparison.differences.items()
        for t in comparison.table_steps
    ]
    return {
        **comparison.record,
        "flops_convention": FLOPS_CONVENTION,
        "intervals": {
            "confidence": CONFIDENCE,
            "method": "percentile bootstrap over scenes, averaged over seeds",
            "resamples": comparison.config.resamples,
        },
        "main_metric": comparison.main_metric,
        "agents": {result.label: _summarise_agent(result) for result in results},
        "paired_differences": differences,
    }


def _summarise_agent(result: AgentResult) -> dict[str, Any]:
    with_cache = float(result.gflops()[-1])
    without = float(result.gflops("flops_without_recycling")[-1])
    metrics = {}
    for name, interval in result.over_scenes.items():
        metrics[name] = _interval(interval, -1)
        if (deviation := result.over_seeds(name)) is not None:
            metrics[name]["sd_over_seeds"] = _rounded(deviation[-1])
    return {
        "source": result.source,
        "seeds": list(result.seeds),
        "privileged": result.privileged,
        "uses_chance": result.evaluations[0].uses_chance,
        "final": metrics,
        "gflops_per_episode": _rounded(with_cache),
        "gflops_without_recycling": _rounded(without),
        "saved_by_recycling": _rounded(1 - with_cache / without) if without else None,
        "gflops_of_policy": _rounded(result.gflops("policy")[-1]),
    }


def _interval(interval: Any, t: int) -> dict[str, float]:
    return {
        "mean": _rounded(interval.mean[t]),
        "ci_lo": _rounded(interval.low[t]),
        "ci_hi": _rounded(interval.high[t]),
    }


def _rounded(value: float) -> float:
    """Nine significant digits: more would be the order in which a processor adds."""
    return float(f"{value:.9g}")


def _per_step(comparison: Comparison) -> Iterator[tuple[Any, ...]]:
    for result in comparison.results:
        for seed, evaluation in zip(result.seeds, result.evaluations, strict=True):
            intervals = result.over_scenes
            if len(result.seeds) > 1:
                intervals = bootstrap_intervals(evaluation.metrics(), result.resamples)
            gflops = [
                values / 1e9
                for values in (
                    evaluation.flops.mean(axis=0),
                    evaluation.flops_total.mean(axis=0),
                    evaluation.policy_flops_total,
                    evaluation.flops_without_recycling.mean(axis=0).cumsum(),
                )
            ]
            for metric, interval in intervals.items():
                for t in range(evaluation.num_glimpses + 1):
                    numbers = (interval.mean[t], interval.low[t], interval.high[t])
                    numbers += tuple(values[t] for values in gflops)
                    fields = (result.label, seed, t, evaluation.num_scenes, metric)
                    yield (*fields, *(f"{number:.9g}" for number in numbers))


def _per_scene(comparison: Comparison) -> Iterator[tuple[Any, ...]]:
    for result in comparison.results:
        for seed, evaluation in zip(result.seeds, result.evaluations, strict=True):
            for fields in zip(*_scene_columns(evaluation), strict=True):
                yield (result.label, seed, *fields)


def _scene_columns(evaluation: Evaluation) -> list[list[Any]]:
    """Columns of `PER_SCENE_COLUMNS` after the seed; empty where nothing can be said."""
    shape = evaluation.flops.shape

    def whole(values: np.ndarray | None) -> list[Any]:
        if values is None:
            return [""] * (shape[0] * shape[1])
        return np.broadcast_to(values, shape).astype(np.int64).ravel().tolist()

    def real(values: np.ndarray | None) -> list[Any]:
        if values is None:
            return whole(None)
        return [f"{value:.6g}" for value in values.ravel().tolist()]

    return [
        whole(evaluation.scene_ids[:, None]),
        whole(evaluation.labels[:, None]),
        whole(np.arange(shape[1])),
        whole(evaluation.prediction),
        whole(evaluation.correct),
        whole(evaluation.rank),
        real(evaluation.confidence),
        real(evaluation.log_probability),
        real(evaluation.rmse),
        real(evaluation.coverage),
        whole(evaluation.tokens),
        whole(evaluation.flops),
        whole(evaluation.flops_total),
        whole(evaluation.policy_flops_total),
        whole(evaluation.flops_without_recycling),
        *(whole(evaluation.boxes[..., corner]) for corner in range(4)),
    ]


def _write_csv(path: Path, columns: tuple[str, ...], rows: Iterator[tuple[Any, ...]]) -> None:
    """Writes a table, compressed where the name ends in .gz, without the time of day in it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    if path.suffix != ".gz":
        write_text(path, text.getvalue())
        return
    partial = path.with_name(f".{path.name}.writing")
    partial.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))
    os.replace(partial, path)

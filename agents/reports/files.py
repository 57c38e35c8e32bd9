"""The files of a comparison.

| file | what |
| --- | --- |
| `run.json` | command, versions, commit, machine |
| `summary.json` | settings, library versions, encoder, and what came out |
| `per_step.csv` | metrics over scenes after t = 0..T glimpses, a block per agent and seed |
| `per_scene.csv.gz` | every glimpse of every scene |
| `curves.png` | the task's metric over glimpses and over GFLOPs |
| `gaze/*.png` | where each agent looks, glimpse by glimpse |
| `episodes/*.gif` | a few episodes of each agent |
| `episodes/*.mp4` | the same, where the optional dependency `imageio-ffmpeg` is installed |
| `report.html` | all of it to click through, in one file that needs no network |

All are the same bytes when the same command is run again on the same machine.
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

from agents.evaluation.comparison import Comparison
from agents.evaluation.statistics import bootstrap_intervals
from agents.evaluation.walk import Evaluation
from agents.reports.provenance import RUN_FILE, describe_run
from agents.reports.summary import summarise
from agents.reports.videos import save_mp4, videos_available
from ave_env.rendering import draw, save_gif
from encoders.support.files import write_json, write_text

SUMMARY_FILE = "summary.json"
PER_STEP_FILE = "per_step.csv"
PER_SCENE_FILE = "per_scene.csv.gz"
CURVES_FILE = "curves.png"
GAZE_FOLDER = "gaze"
EPISODES_FOLDER = "episodes"
REPORT_FILE = "report.html"

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
    "rmse_predicted",
    "rmse_unseen",
    "pixel_distance",
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

_VOLATILE = ("command", "git_commit", "machine")


def write_results(comparison: Comparison, folder: Path) -> None:
    """Writes all files; each appears whole or not at all.

    Args:
        comparison: What was run.
        folder: Where they go; made if missing.
    """
    from agents.reports.figures import draw_curves, draw_gaze
    from agents.reports.html import write_report

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
        draw_gaze(comparison, result, folder / GAZE_FOLDER / f"{result.label}.png")
        for scene, snapshots in result.episodes.items():
            frames = [draw(snapshot) for snapshot in snapshots]
            path = folder / EPISODES_FOLDER / f"{result.label}-scene-{scene}.gif"
            save_gif(frames, path)
            if videos_available():
                save_mp4(frames, path.with_suffix(".mp4"))
    write_report(comparison, folder / REPORT_FILE)


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
            columns: dict[str, tuple[np.ndarray, ...]] = {
                metric: (interval.mean, interval.low, interval.high)
                for metric, interval in intervals.items()
            }
            if result.calibration_errors is not None:
                unknown = np.full(evaluation.num_glimpses + 1, np.nan)
                errors = result.calibration_errors[result.seeds.index(seed)]
                columns["calibration_error"] = (errors, unknown, unknown)
            for metric, values in columns.items():
                for t, numbers in enumerate(zip(*values, *gflops, strict=True)):
                    fields = (result.label, seed, t, evaluation.num_scenes, metric)
                    yield (*fields, *(_written(number) for number in numbers))


def _written(number: float) -> str:
    return "" if np.isnan(number) else f"{number:.9g}"


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
        real(evaluation.rmse_predicted),
        real(evaluation.rmse_unseen),
        real(evaluation.pixel_distance),
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

"""The files of a comparison.

| file | what |
| --- | --- |
| `run.json` | command, versions, commit, machine |
| `summary.json` | settings, library versions, encoder, and what came out |
| `per_step.csv` | metrics over scenes after t = 0..T glimpses, a block per agent and seed |
| `per_scene.csv.gz` | every glimpse of every scene |
| `curves.png` | the task's metric over glimpses and over GFLOPs |
| `gaze/*.png` | where each agent looks, glimpse by glimpse |
| `episodes/*.gif` | a few episodes of each agent as animations, where they are asked for |
| `episodes/*.mp4` | the same, where the optional dependency `imageio-ffmpeg` is installed |
| `report.html` | all of it, episodes glimpse by glimpse too, to click through without any network |

All are the same bytes when the same command is run again on the same machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from agents.evaluation.comparison import Comparison
from agents.evaluation.statistics import mean_intervals
from agents.evaluation.walk import OWN_COLUMNS, Evaluation
from agents.reports.csv_files import (
    PER_SCENE_FILE,
    PER_STEP_COLUMNS,
    PER_STEP_FILE,
    SUMMARY_FILE,
    write_table,
)
from agents.reports.provenance import RUN_FILE, describe_run
from agents.reports.summary import setting_of, summarise
from agents.reports.videos import save_mp4, videos_available
from ave_env.rendering import draw, save_gif
from ave_env.tasks.classification import Classification
from ave_env.tasks.reconstruction import Reconstruction
from encoders.support.files import write_json
from encoders.support.rounding import SIGNIFICANT_DIGITS

CURVES_FILE = "curves.png"
GAZE_FOLDER = "gaze"
EPISODES_FOLDER = "episodes"
REPORT_FILE = "report.html"

_VOLATILE = ("command", "git_commit", "machine")


def write_results(comparison: Comparison, folder: Path, *, animations: bool = True) -> None:
    """Writes all files; each appears whole or not at all.

    Args:
        comparison: What was run.
        folder: Where they go; made if missing.
        animations: Whether the episodes kept are also written as animations, which takes longer
            than all else; the report shows them in any case.
    """
    from agents.reports.figures import draw_curves, draw_gaze
    from agents.reports.html import write_report

    folder.mkdir(parents=True, exist_ok=True)
    run = describe_run(comparison.config)
    if not (folder / RUN_FILE).exists():  # a command may have written a better one
        write_json(folder / RUN_FILE, run)
    stable = {key: value for key, value in run.items() if key not in _VOLATILE}
    write_json(folder / SUMMARY_FILE, {**stable, **summarise(comparison)})
    write_table(folder / PER_STEP_FILE, PER_STEP_COLUMNS, _per_step(comparison))
    write_table(folder / PER_SCENE_FILE, per_scene_columns(comparison), _per_scene(comparison))
    draw_curves(comparison, folder / CURVES_FILE)
    for result in comparison.results:
        draw_gaze(comparison, result, folder / GAZE_FOLDER / f"{result.label}.png")
        for scene, snapshots in result.episodes.items() if animations else ():
            frames = [draw(snapshot) for snapshot in snapshots]
            path = folder / EPISODES_FOLDER / f"{result.label}-scene-{scene}.gif"
            save_gif(frames, path)
            if videos_available():
                save_mp4(frames, path.with_suffix(".mp4"))
    write_report(comparison, folder / REPORT_FILE, animations=animations)


def _per_step(comparison: Comparison) -> Iterator[tuple[Any, ...]]:
    setting = tuple(setting_of(comparison.record).values())
    for result in comparison.results:
        for seed, evaluation in zip(result.seeds, result.evaluations, strict=True):
            intervals = result.over_scenes
            if len(result.seeds) > 1:
                judgements = dict.fromkeys(evaluation.proportions, 1)
                intervals = mean_intervals(evaluation.metrics(), judgements, result.resamples)
            gflops = [
                values / 1e9
                for values in (
                    evaluation.flops.mean(axis=0),
                    evaluation.flops_total.mean(axis=0),
                    evaluation.policy_flops_total,
                    evaluation.columns["flops_without_recycling"].mean(axis=0).cumsum(),
                )
            ]
            columns: dict[str, tuple[str, tuple[np.ndarray, ...]]] = {
                metric: (interval.method, (interval.mean, interval.low, interval.high))
                for metric, interval in intervals.items()
            }
            unknown = np.full(evaluation.num_glimpses + 1, np.nan)
            for metric, seeds in result.aggregates.items():
                columns[metric] = ("", (seeds[result.seeds.index(seed)], unknown, unknown))
            for metric, (method, values) in columns.items():
                for t, numbers in enumerate(zip(*values, *gflops, strict=True)):
                    fields = (result.label, seed, t, evaluation.num_scenes, metric)
                    yield (*fields, *(_number(number) for number in numbers), method, *setting)


def _number(number: float) -> str:
    return "" if np.isnan(number) else f"{number:.{SIGNIFICANT_DIGITS}g}"


def per_scene_columns(comparison: Comparison) -> tuple[str, ...]:
    """Names of the columns of `PER_SCENE_FILE`."""
    evaluation = comparison.results[0].evaluations[0]
    return ("agent", "seed", *_scene_columns(evaluation))


def _per_scene(comparison: Comparison) -> Iterator[tuple[Any, ...]]:
    for result in comparison.results:
        for seed, evaluation in zip(result.seeds, result.evaluations, strict=True):
            columns = _scene_columns(evaluation).values()
            for fields in zip(*columns, strict=True):
                yield (result.label, seed, *fields)


def _scene_columns(evaluation: Evaluation) -> dict[str, list[Any]]:
    """Columns of `PER_SCENE_FILE` after the seed; empty where nothing can be said.

    Those of the tasks come in an order that scripts know: of the two tasks that were always there,
    then of any other, then metrics that are no column.
    """
    shape, measured = evaluation.flops.shape, evaluation.columns

    def written(values: np.ndarray | None) -> list[Any]:
        if values is None:
            return [""] * (shape[0] * shape[1])
        flat = np.broadcast_to(values, shape).ravel()
        if flat.dtype.kind == "f":
            return [f"{value:.6g}" for value in flat.tolist()]
        return flat.astype(np.int64).tolist()

    known = (*Classification.columns, *Reconstruction.columns)
    others = {name: measured[name] for name in measured if name not in (*known, *OWN_COLUMNS)}
    for metric in evaluation.declared:
        if metric.aggregate is None and metric.name not in measured:
            others[metric.name] = metric.of_scenes(measured)
    corners = {name: evaluation.boxes[..., at] for at, name in enumerate(("y0", "x0", "y1", "x1"))}
    columns = {
        "scene_id": evaluation.scene_ids[:, None],
        "label": evaluation.labels[:, None],
        "t": np.arange(shape[1]),
        **{name: measured.get(name) for name in known},
        "coverage": measured["coverage"],
        "tokens": measured["tokens"],
        "flops": evaluation.flops,
        "flops_total": evaluation.flops_total,
        "flops_policy_total": evaluation.policy_flops_total,
        "flops_without_recycling": measured["flops_without_recycling"],
        **corners,
        **others,
    }
    return {name: written(values) for name, values in columns.items()}

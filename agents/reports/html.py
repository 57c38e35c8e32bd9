"""A comparison as one HTML file to click through, without any network."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from agents.evaluation.comparison import AgentResult, Comparison
from agents.evaluation.gaze import Gaze, gaze_of
from agents.evaluation.statistics import CONFIDENCE, METHODS
from agents.reports.figures import SceneAxes, scene_axes, styles_of
from agents.reports.layout import StackedTable
from agents.reports.styles import AgentStyle
from agents.reports.summary import (
    paired_method,
    stop_confidences,
    summarise,
    summarise_stopping,
    title,
)
from agents.reports.tables import comparison_notes, comparison_table, measures_table
from ave_env.rendering import Snapshot
from ave_env.tasks.metrics import COVERAGE, Metric
from encoders.flops.count import FLOPS_CONVENTION
from encoders.support.files import write_text
from encoders.support.rounding import written

_TEMPLATE = Path(__file__).with_name("report.html")
_PLACEHOLDER = "{{data}}"
_MOST_PREDICTIONS = 5

ANIMATED = "Beside this page, the folder episodes holds these episodes as animations."
NOT_ANIMATED = (
    "No animations were asked for; train_agent.py and eval_agent.py write those of N episodes per "
    "agent (GIF, and MP4 with the extra video) with --episodes N."
)


def write_report(comparison: Comparison, path: Path, *, animations: bool = True) -> None:
    """Writes the report; it appears whole or not at all.

    Args:
        comparison: What was run.
        path: HTML file to write.
        animations: Whether there are animations of the episodes beside it.
    """
    text = json.dumps(
        report_data(comparison, animations), separators=(",", ":"), allow_nan=False, default=str
    )
    # A class called "</script>" must not end the script that holds the data.
    page = _TEMPLATE.read_text("utf-8").replace(_PLACEHOLDER, text.replace("</", "<\\/"))
    write_text(path, page)


def page_style() -> str:
    """The style sheet of every page, as a `<style>` element."""
    template = _TEMPLATE.read_text("utf-8")
    return template[template.index("<style>") : template.index("</style>")] + "</style>"


def report_data(comparison: Comparison, animations: bool = True) -> dict[str, Any]:
    """All that the page shows, JSON-able.

    Args:
        comparison: What was run.
        animations: Whether there are animations of the episodes beside the page.
    """
    styles = styles_of(comparison)
    gazes = [gaze_of(comparison, result) for result in comparison.results]
    return {
        "summary": summarise(comparison),
        "title": title(comparison),
        "tables": _tables(comparison),
        "notes": comparison_notes(comparison),
        "differences": _differences(comparison),
        "stopping": _stopping(comparison),
        "convention": FLOPS_CONVENTION,
        "num_glimpses": comparison.num_glimpses,
        "metrics": [_metric(each) for each in comparison.declared],
        "axes": _axes(scene_axes(comparison)),
        "gaze_highest": _gaze_scales(gazes),
        "agents": [_agent(*each) for each in zip(comparison.results, styles, gazes, strict=True)],
        "animations": ANIMATED if animations else NOT_ANIMATED,
        "scenes": [
            {
                "id": scene,
                "title": snapshots[0].title,
                "truth": snapshots[0].class_names[snapshots[0].label],
                "size": list(snapshots[0].scene.shape[:2]),
                "image": _data_url(snapshots[0].scene, "PNG"),
            }
            for scene, snapshots in comparison.results[0].episodes.items()
        ],
    }


def _tables(comparison: Comparison) -> list[dict[str, Any]]:
    """The tables of the terminal, and what was seen."""
    first = _table(comparison_table(comparison))
    first["headings"].append("seen, %")
    for row, result in zip(first["rows"], comparison.results, strict=True):
        row.append([COVERAGE.text(result.over_scenes[COVERAGE.name].mean[-1])])
    if comparison.main_metric is None:
        return [first]
    return [first, _table(measures_table(comparison))]


def _table(table: StackedTable) -> dict[str, Any]:
    """A table of the terminal: each cell a list of lines, the agent's own cell left out."""
    return {
        "title": table.title,
        "headings": ["agent", *(heading.strip() for heading in table.headings)],
        "rows": [[cell.plain.split("\n") for cell in cells] for _, cells in table.rows],
    }


def _differences(comparison: Comparison) -> dict[str, Any] | None:
    """Every agent minus every other after the last glimpse; None where there is nothing to say."""
    metric, labels = comparison.main_metric, [result.label for result in comparison.results]
    if metric is None or len(labels) < 2:
        return None

    def between(row: str, column: str) -> list[str]:
        for sign, pair in ((1, (row, column)), (-1, (column, row))):
            if (found := comparison.differences.get(pair)) is not None:
                lines = [metric.text(sign * found.mean[-1], "+")]
                if found.exists:
                    ends = sorted((sign * found.low[-1], sign * found.high[-1]))
                    lines.append(" to ".join(metric.text(end, "+") for end in ends))
                return lines
        return [""]

    return {
        "title": f"{metric.title} after {comparison.num_glimpses} glimpses, scene by scene",
        "headings": ["row minus column", *labels],
        "rows": [[between(row, column) for column in labels] for row in labels],
        "note": f"Below each the {CONFIDENCE:.0%} {METHODS[paired_method(comparison)]} interval, "
        "paired over scenes.",
    }


def _stopping(comparison: Comparison) -> dict[str, Any] | None:
    """What ending an episode at some confidences would have done; None where there is none."""
    levels = stop_confidences(comparison)
    if not levels:
        return None

    def cell(result: AgentResult, level: float) -> list[str]:
        one = summarise_stopping(result, level)
        median = one["median_glimpses"]
        half = "" if median is None else f", half in {written(median, '.3g')}"
        return [
            f"{written(100 * one['accuracy']['mean'], '.1f')} %",
            f"{written(one['glimpses'], '.2f')} glimpses, "
            f"{written(one['saved_by_stopping'], '.0%')} saved",
            f"{written(one['share_reached'], '.0%')} got there{half}",
        ]

    return {
        "title": "accuracy once as confident as this",
        "headings": ["agent", *(f"at {level:g}" for level in levels)],
        "rows": [[cell(result, level) for level in levels] for result in comparison.results],
        "note": "Accuracy, mean number of glimpses and share of the GFLOPs saved (encoder and "
        "policy) when an episode ends after the first glimpse that makes the most probable class "
        "this probable; how many scenes got there, and within how many glimpses half of all did.",
    }


def _metric(metric: Metric) -> dict[str, Any]:
    """How the page names and draws a metric."""
    return {
        "name": metric.name,
        "title": metric.title,
        "axis_title": metric.axis_title,
        "scale": metric.scale,
        "limits": metric.limits,
        "chance": metric.chance,
        "chance_text": None if metric.chance is None else metric.text(metric.chance),
    }


def _axes(scene: SceneAxes) -> list[dict[str, Any]]:
    """The vertical and the horizontal axis of a scene."""
    return [
        {"name": name, "ticks": [f"{tick:g}{scene.unit}" for tick in ticks]}
        for name, ticks in zip(scene.names, scene.ticks, strict=True)
    ]


def _gaze_scales(gazes: Sequence[Gaze]) -> list[list[Any]]:
    """Where the scale of each map ends, for any glimpse and for each: a number and a text.

    Later glimpses are spread wider than the first, so each has its own, the same for all agents.
    """
    by_glimpse = np.max([gaze.by_glimpse.max(axis=(1, 2)) for gaze in gazes], axis=0)
    return [[_number(each), written(each, ".1%")] for each in (1.0, *by_glimpse.tolist())]


def _agent(result: AgentResult, style: AgentStyle, gaze: Gaze) -> dict[str, Any]:
    curves, texts = {}, {}
    for metric in result.evaluations[0].declared:
        if metric.aggregate is None:
            interval = result.over_scenes[metric.name]
            ends = (interval.mean, interval.low, interval.high)[: 3 if interval.exists else 1]
        else:  # of all scenes together, and so without a band
            ends = (result.aggregates[metric.name].mean(axis=0),)
        curves[metric.name] = [_numbers(each) for each in ends]
        lines = [[metric.text(value) for value in each] for each in ends]
        texts[metric.name] = [
            first + (f" ({' to '.join(others)})" if others else "")
            for first, *others in zip(*lines, strict=True)
        ]
    return {
        "label": result.label,
        "colors": {"light": style.color, "dark": style.dark_color},
        "marker": style.marker,
        "privileged": result.privileged,
        "gflops": _numbers(result.gflops_to_compare),
        "costs": [written(each, "#.3g") for each in result.gflops_to_compare.tolist()],
        "curves": curves,
        "texts": texts,
        "gaze": [_numbers(share) for share in (gaze.in_episode, *gaze.by_glimpse)],
        "episodes": {
            str(scene): [_moment(snapshot) for snapshot in snapshots]
            for scene, snapshots in result.episodes.items()
        },
    }


def _moment(snapshot: Snapshot) -> dict[str, Any]:
    """One step of an episode; the scene itself is stored once for all agents."""
    costs = [f"{written((snapshot.flops_total or 0) / 1e9, '#.3g')} GFLOPs"]
    moment: dict[str, Any] = {
        "boxes": snapshot.boxes.tolist(),
        "visited": snapshot.visited.tolist(),
    }
    if snapshot.probabilities is not None and snapshot.trained_head:
        moment["top"] = [
            [
                rank + 1,
                snapshot.class_names[each],
                _number(share),
                written(share, ".1%"),
                each == snapshot.label,
            ]
            for rank, each, share in snapshot.predictions(_MOST_PREDICTIONS)
        ]
    if snapshot.entropy is not None:
        moment["entropy"] = _numbers(snapshot.entropy)
        moment["entropy_text"] = f"{written(float(snapshot.entropy.max()), '.1f')} bit"
    if snapshot.reconstruction is not None:
        moment["reconstruction"] = _data_url(snapshot.reconstruction, "JPEG")
        costs.append(f"RMSE {written(snapshot.rmse or 0.0, '.1f')}")
    return {**moment, "cost": ", ".join(costs)}


def _data_url(image: np.ndarray, kind: str) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, quality=88)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/{kind.lower()};base64,{encoded}"


def _number(value: float) -> float:
    return float(f"{value:.4g}")


def _numbers(values: np.ndarray) -> list[Any]:
    if values.ndim > 1:
        return [_numbers(row) for row in values]
    return [_number(value) for value in values.tolist()]

"""A comparison as one HTML file to click through, without any network."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from agents.evaluation.comparison import AgentResult, Comparison
from agents.evaluation.gaze import gaze_of
from agents.evaluation.statistics import CONFIDENCE
from agents.reports.figures import styles_of
from agents.reports.styles import AgentStyle
from agents.reports.summary import summarise, title, why_no_metric
from ave_env.rendering import Snapshot
from ave_env.tasks.metrics import COVERAGE, Metric
from encoders.flops.count import FLOPS_CONVENTION
from encoders.support.files import write_text

_TEMPLATE = Path(__file__).with_name("report.html")
_PLACEHOLDER = "{{data}}"
_MOST_PREDICTIONS = 5


def write_report(comparison: Comparison, path: Path) -> None:
    """Writes the report; it appears whole or not at all.

    Args:
        comparison: What was run.
        path: HTML file to write.
    """
    text = json.dumps(report_data(comparison), separators=(",", ":"), allow_nan=False, default=str)
    # A class called "</script>" must not end the script that holds the data.
    page = _TEMPLATE.read_text("utf-8").replace(_PLACEHOLDER, text.replace("</", "<\\/"))
    write_text(path, page)


def report_data(comparison: Comparison) -> dict[str, Any]:
    """All that the page shows, JSON-able."""
    summary = summarise(comparison)
    return {
        "summary": summary,
        "title": title(comparison),
        "why_no_metric": why_no_metric(comparison)[1] if comparison.main_metric is None else None,
        "convention": FLOPS_CONVENTION,
        "confidence": CONFIDENCE,
        "num_scenes": comparison.num_scenes,
        "num_glimpses": comparison.num_glimpses,
        "table_steps": comparison.table_steps,
        "stop_confidence": comparison.config.stop_confidence,
        "metrics": [_metric(each) for each in comparison.declared],
        "coverage": COVERAGE.name,
        "agents": [
            _agent(comparison, result, style)
            for result, style in zip(comparison.results, styles_of(comparison), strict=True)
        ],
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


def _metric(metric: Metric) -> dict[str, Any]:
    """How the page writes and draws a metric."""
    return {
        "name": metric.name,
        "label": metric.label,
        "title": metric.title,
        "better": metric.better,
        "scale": metric.scale,
        "format": metric.format,
        "limits": metric.limits,
    }


def _agent(comparison: Comparison, result: AgentResult, style: AgentStyle) -> dict[str, Any]:
    gaze = gaze_of(comparison, result)
    return {
        "label": result.label,
        "color": style.color,
        "privileged": result.privileged,
        "gflops": _numbers(result.gflops_to_compare),
        "curves": {
            name: [
                _numbers(end)
                for end in (interval.mean, interval.low, interval.high)[
                    : 3 if interval.exists else 1
                ]
            ]
            for name, interval in result.over_scenes.items()
        }
        # Of all scenes together, and so without a band.
        | {name: [_numbers(seeds.mean(axis=0))] for name, seeds in result.aggregates.items()},
        "gaze": [_numbers(share) for share in (gaze.in_episode, *gaze.by_glimpse)],
        "episodes": {
            str(scene): [_moment(snapshot) for snapshot in snapshots]
            for scene, snapshots in result.episodes.items()
        },
    }


def _moment(snapshot: Snapshot) -> dict[str, Any]:
    """One step of an episode; the scene itself is stored once for all agents."""
    moment: dict[str, Any] = {
        "boxes": snapshot.boxes.tolist(),
        "visited": snapshot.visited.tolist(),
        "flops": snapshot.flops_total,
        "without": snapshot.flops_without_recycling,
    }
    if snapshot.probabilities is not None and snapshot.trained_head:
        likely = np.argsort(-snapshot.probabilities, kind="stable")[:_MOST_PREDICTIONS]
        moment["top"] = [
            [snapshot.class_names[each], _number(snapshot.probabilities[each])] for each in likely
        ]
    if snapshot.entropy is not None:
        moment["entropy"] = _numbers(snapshot.entropy)
    if snapshot.reconstruction is not None:
        moment["reconstruction"] = _data_url(snapshot.reconstruction, "JPEG")
        moment["rmse"] = _number(snapshot.rmse or 0.0)
    return moment


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

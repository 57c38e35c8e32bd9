"""What came out of a comparison, JSON-able."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from agents.evaluation.comparison import AgentResult, Comparison
from agents.evaluation.statistics import CONFIDENCE, METHODS, Interval, Method, wilson_interval
from ave_env.tasks.metrics import Metric
from encoders.flops.count import FLOPS_CONVENTION
from encoders.support.rounding import settled

# What distinguishes one comparison from another in tables of several.
SETTING_COLUMNS = (
    "environment",
    "task",
    "split",
    "encoder",
    "weights_hash",
    "split_block",
    "num_glimpses",
)

# Confidences at which every summary shows what stopping early would have done.
STOP_CONFIDENCES = (0.5, 0.8, 0.9, 0.95, 0.99)


def summarise(comparison: Comparison) -> dict[str, Any]:
    """The contents of `summary.json`, without versions."""
    main = comparison.main_metric
    return {
        **comparison.record,
        "flops_convention": FLOPS_CONVENTION,
        "intervals": {
            "confidence": CONFIDENCE,
            "method": "over scenes, averaged over seeds: Wilson score for proportions and "
            "Newcombe's method 10 for their paired differences, percentile bootstrap for all else",
            "main": None if main is None else METHODS[interval_method(comparison, main)],
            "paired": METHODS[paired_method(comparison)],
            "resamples": comparison.config.resamples,
        },
        "metrics": [_describe_metric(comparison, each) for each in comparison.declared],
        "main_metric": None if main is None else main.name,
        "agents": {
            result.label: _summarise_agent(comparison, result) for result in comparison.results
        },
        "paired_differences": [] if main is None else _differences(comparison, main),
    }


def setting_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """`SETTING_COLUMNS` of the record of a comparison, or of a summary."""
    settings = record["environment"]["kwargs"]
    return {
        "environment": record["environment"]["id"],
        "task": settings["task"],
        "split": record["scenes"]["split"],
        "encoder": record["encoder"]["name"],
        "weights_hash": record["encoder"]["weights_hash"][:12],
        "split_block": record.get("split_block", ""),  # of TORE alone
        "num_glimpses": settings["num_glimpses"],
    }


def interval_method(comparison: Comparison, metric: Metric) -> Method:
    """How the intervals of a metric of single scenes are computed."""
    return comparison.results[0].over_scenes[metric.name].method


def paired_method(comparison: Comparison) -> Method:
    """How the intervals of paired differences of the main metric are computed."""
    main = comparison.main_metric
    proportion = main is not None and interval_method(comparison, main) == "wilson"
    return "newcombe" if proportion else "bootstrap"


def title(comparison: Comparison) -> str:
    """What was explored, and by which encoder, in one line."""
    scenes, encoder = comparison.record["scenes"], comparison.record["encoder"]
    return (
        f"{scenes_text(comparison.num_scenes)} of {scenes['name']} ({scenes['split']}), "
        f"encoder {encoder['description']}"
    )


def scenes_text(count: int) -> str:
    """A number of scenes in words: "1 scene", "2,000 scenes"."""
    return f"{count:,} scene{'s'[: count != 1]}"


def why_no_metric(comparison: Comparison) -> tuple[str, str]:
    """Why there is no main metric: in two words, and in a sentence."""
    if comparison.record["encoder"]["trained_head"]:
        task = comparison.results[0].evaluations[0].task
        return "no metric", (
            f"no metric: the task {task!r} measures nothing of single scenes; what was spent is "
            "exact."
        )
    return "untrained head", (
        "untrained head: the class head was not trained for these classes, so whatever is said of "
        "them would mean nothing; what was spent is exact."
    )


def stop_confidences(comparison: Comparison) -> list[float]:
    """`STOP_CONFIDENCES` and the one asked for; none where there is no confidence."""
    if not comparison.results[0].evaluations[0].tells_when_sure:
        return []
    asked = comparison.config.stop_confidence
    return sorted({*STOP_CONFIDENCES} | ({asked} if asked is not None else set()))


def summarise_stopping(result: AgentResult, confidence: float) -> dict[str, Any]:
    """What stopping at a confidence would have done: means over scenes and seeds.

    `share_reached` of the scenes got to the confidence, half of all within `median_glimpses`
    (null if fewer than half ever did).
    """
    seeds = result.stopping(confidence)
    correct = np.mean([one.correct for one in seeds], axis=0)
    medians = [one.median_glimpses for one in seeds]
    median = None if None in medians else float(np.mean([m for m in medians if m is not None]))
    accuracy = wilson_interval(correct, per_scene=len(seeds))
    return {
        "confidence": confidence,
        "share_reached": settled(float(np.mean([one.reached for one in seeds]))),
        "median_glimpses": median,
        "glimpses": settled(float(np.mean([one.glimpses for one in seeds]))),
        "accuracy": _interval(accuracy),
        "gflops": settled(float(np.mean([one.flops for one in seeds])) / 1e9),
        "gflops_of_policy": settled(float(np.mean([one.policy_flops for one in seeds])) / 1e9),
        "saved_by_stopping": settled(float(np.mean([one.saved for one in seeds]))),
    }


def _differences(comparison: Comparison, main: Metric) -> list[dict[str, Any]]:
    return [
        {"first": first, "second": second, "metric": main.name, "t": t, **_interval(interval, t)}
        for (first, second), interval in comparison.differences.items()
        if interval.exists
        for t in comparison.table_steps
    ]


def _summarise_agent(comparison: Comparison, result: AgentResult) -> dict[str, Any]:
    with_cache = float(result.gflops()[-1])
    without = float(result.gflops("flops_without_recycling")[-1])
    metrics = {}
    for name, interval in result.over_scenes.items():
        metrics[name] = _interval(interval, -1)
        if (deviation := result.over_seeds(name)) is not None:
            metrics[name]["sd_over_seeds"] = settled(deviation[-1])
    summary: dict[str, Any] = {
        "source": result.source,
        "seeds": list(result.seeds),
        "privileged": result.privileged,
        "not_as_trained": list(result.differences),
        "uses_chance": result.evaluations[0].uses_chance,
        "final": metrics,
        "gflops_per_episode": settled(with_cache),
        "gflops_without_recycling": settled(without),
        "saved_by_recycling": settled(1 - with_cache / without) if without else None,
        "gflops_of_policy": settled(result.gflops("policy")[-1]),
    }
    for name, seeds in result.aggregates.items():
        value = settled(seeds[:, -1].mean())
        metrics[name] = {"mean": value}
        summary.setdefault(name, value)  # where the readers of older summaries look for it
    if comparison.areas:
        summary["area_under_curve"] = {
            "over_glimpses": _interval(comparison.areas[result.label, "glimpses"]),
            "over_gflops": {
                **_interval(comparison.areas[result.label, "gflops"]),
                "up_to": settled(comparison.gflops_budget),
            },
        }
    if confidences := stop_confidences(comparison):
        summary["stopping"] = [summarise_stopping(result, each) for each in confidences]
    return summary


def _describe_metric(comparison: Comparison, metric: Metric) -> dict[str, Any]:
    """How people write a metric, and how its intervals were computed (null: it has none)."""
    written = ("name", "label", "unit", "better", "scale", "format", "chance")
    method = None if metric.aggregate is not None else interval_method(comparison, metric)
    return {**{name: getattr(metric, name) for name in written}, "interval": method}


def _interval(interval: Interval, *t: int) -> dict[str, float]:
    """Mean and ends, as far as there are any."""
    mean = {"mean": settled(interval.mean[t])}
    if not interval.exists:
        return mean
    return {**mean, "ci_lo": settled(interval.low[t]), "ci_hi": settled(interval.high[t])}

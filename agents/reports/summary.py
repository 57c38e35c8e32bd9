"""What came out of a comparison, JSON-able."""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.evaluation.comparison import AgentResult, Comparison
from agents.evaluation.statistics import CONFIDENCE, Interval, bootstrap_interval
from ave_env.tasks.metrics import Metric
from encoders.flops.count import FLOPS_CONVENTION

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
            "method": "percentile bootstrap over scenes, averaged over seeds",
            "resamples": comparison.config.resamples,
        },
        "main_metric": None if main is None else main.name,
        "agents": {
            result.label: _summarise_agent(comparison, result) for result in comparison.results
        },
        "paired_differences": [] if main is None else _differences(comparison, main),
    }


def title(comparison: Comparison) -> str:
    """What was explored, and by which encoder, in one line."""
    scenes, encoder = comparison.record["scenes"], comparison.record["encoder"]
    return (
        f"{comparison.num_scenes:,} scenes of {scenes['name']} ({scenes['split']}), "
        f"encoder {encoder['description']}"
    )


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
    accuracy = bootstrap_interval(correct, resamples=result.resamples)
    return {
        "confidence": confidence,
        "share_reached": _rounded(float(np.mean([one.reached for one in seeds]))),
        "median_glimpses": median,
        "glimpses": _rounded(float(np.mean([one.glimpses for one in seeds]))),
        "accuracy": _interval(accuracy),
        "gflops": _rounded(float(np.mean([one.flops for one in seeds])) / 1e9),
        "gflops_of_policy": _rounded(float(np.mean([one.policy_flops for one in seeds])) / 1e9),
        "saved_by_stopping": _rounded(float(np.mean([one.saved for one in seeds]))),
    }


def _differences(comparison: Comparison, main: Metric) -> list[dict[str, Any]]:
    return [
        {"first": first, "second": second, "metric": main.name, "t": t, **_interval(interval, t)}
        for (first, second), interval in comparison.differences.items()
        for t in comparison.table_steps
    ]


def _summarise_agent(comparison: Comparison, result: AgentResult) -> dict[str, Any]:
    with_cache = float(result.gflops()[-1])
    without = float(result.gflops("flops_without_recycling")[-1])
    metrics = {}
    for name, interval in result.over_scenes.items():
        metrics[name] = _interval(interval, -1)
        if (deviation := result.over_seeds(name)) is not None:
            metrics[name]["sd_over_seeds"] = _rounded(deviation[-1])
    summary: dict[str, Any] = {
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
    for name, seeds in result.aggregates.items():
        value = _rounded(seeds[:, -1].mean())
        metrics[name] = {"mean": value}
        summary.setdefault(name, value)  # where the readers of older summaries look for it
    if comparison.areas:
        summary["area_under_curve"] = {
            "over_glimpses": _interval(comparison.areas[result.label, "glimpses"]),
            "over_gflops": {
                **_interval(comparison.areas[result.label, "gflops"]),
                "up_to": _rounded(comparison.gflops_budget),
            },
        }
    if confidences := stop_confidences(comparison):
        summary["stopping"] = [summarise_stopping(result, each) for each in confidences]
    return summary


def _interval(interval: Interval, *t: int) -> dict[str, float]:
    return {
        "mean": _rounded(interval.mean[t]),
        "ci_lo": _rounded(interval.low[t]),
        "ci_hi": _rounded(interval.high[t]),
    }


def _rounded(value: float) -> float:
    """Nine significant digits: more would be the order in which a processor adds."""
    return float(f"{value:.9g}")

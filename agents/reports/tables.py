"""The tables that people see."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np
from rich.console import Console
from rich.text import Text

from agents.evaluation.comparison import AgentResult, Comparison
from agents.evaluation.statistics import CONFIDENCE, METHODS, Interval
from agents.reports.layout import StackedTable
from agents.reports.merging import Line, Merged
from agents.reports.summary import (
    interval_method,
    paired_method,
    scenes_text,
    summarise_stopping,
    title,
    why_no_metric,
)
from ave_env.tasks.metrics import COVERAGE, Metric
from encoders.flops.count import FLOPS_CONVENTION
from encoders.support.rounding import written

# Where the output is no terminal and COLUMNS does not say how wide it is.
_WIDTH_OF_FILES = 100

# Where there is nothing to show.
_NOTHING = Text("-", style="dim")

_ENDS = ("mean", "ci_lo", "ci_hi")


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Prints agents x glimpses with intervals, what they cost, and how to read it.

    Args:
        comparison: What was run.
        console: Where to; None = standard output.
    """
    console = console or _standard_output()
    console.print(comparison_table(comparison))
    if comparison.main_metric is not None:
        console.print(measures_table(comparison))
    if comparison.config.stop_confidence is not None:
        console.print(stopping_table(comparison, comparison.config.stop_confidence))
    _print_notes(comparison_notes(comparison), console)


def print_merged(merged: Merged, console: Console | None = None) -> None:
    """Prints every agent in every setting, a table for each thing that they are judged by.

    Args:
        merged: What was put beside each other.
        console: Where to; None = standard output.
    """
    console = console or _standard_output()
    by_metric: dict[str | None, list[Line]] = {}
    for line in merged.lines:
        by_metric.setdefault(line.metric.name if line.metric else None, []).append(line)
    for lines in by_metric.values():
        console.print(merged_table(merged, lines))
    _print_notes(_notes_of_merged(merged), console)


def comparison_table(comparison: Comparison) -> StackedTable:
    """Agents x glimpses: the main metric with its interval, and GFLOPs per episode."""
    metric = comparison.main_metric
    several_seeds = metric is not None and any(len(one.seeds) > 1 for one in comparison.results)
    headings = []
    if metric is None:
        headings.append("\nscore")
    else:
        headings += [f"{t}\nglimpse{'s'[: t > 1]}" for t in comparison.table_steps]
    headings += ["over\nseeds"] * several_seeds + ["GFLOPs per\nepisode", "without\nrecycling"]
    table = StackedTable(title(comparison), ["agent"], headings)
    for result in comparison.results:
        cells = []
        if metric is None:
            cells.append(Text(why_no_metric(comparison)[0], style="yellow"))
        else:
            interval = result.over_scenes[metric.name]
            cells += [_interval_cell(metric, interval, t) for t in comparison.table_steps]
            if several_seeds:
                cells.append(_seeds_cell(result, metric))
        costs = _cost_cells(
            float(result.gflops()[-1]),
            float(result.gflops("flops_without_recycling")[-1]),
            float(result.gflops("policy")[-1]),
        )
        table.add_row([_agent_cell(result)], [*cells, *costs])
    return table


def merged_table(merged: Merged, lines: Sequence[Line]) -> StackedTable:
    """Settings and agents x glimpses, for lines that are judged by the same metric."""
    metric = lines[0].metric
    steps = sorted({t for line in lines for t in _table_steps(line.num_glimpses)})
    several_seeds = any(len(line.seeds) > 1 for line in lines)
    headings = [f"{t}\nglimpse{'s'[: t > 1]}" for t in steps] if metric else ["\nscore"]
    headings += ["over\nseeds"] * several_seeds + ["GFLOPs per\nepisode", "without\nrecycling"]
    scenes = " or ".join(dict.fromkeys(scenes_text(line.num_scenes) for line in lines))
    heading = f"{metric.title if metric else 'no metric'}, {scenes}"
    if constant := _constant_settings(merged):
        heading += f"; {constant}"
    table = StackedTable(heading, [*map(_setting_name, merged.varied), "agent"], headings)
    for line in lines:
        cells = []
        if metric is None or line.interval is None:
            cells.append(Text("untrained head", style="yellow"))
        else:
            cells += [
                _interval_cell(metric, line.interval, t) if t <= line.num_glimpses else _NOTHING
                for t in steps
            ]
        if several_seeds:
            deviation = None if metric is None else line.over_seeds
            cells.append(_deviation_cell(metric, deviation, len(line.seeds)))
        names = ("gflops_total", "gflops_without_recycling_total", "gflops_policy_total")
        costs = _cost_cells(*(float(line.gflops[name][-1]) for name in names))
        labels = [Text(str(line.setting.get(name, "-"))) for name in merged.varied]
        agent = _cell(line.agent, _remark(line.privileged, bool(line.differences)))
        table.add_row([*labels, agent], [*cells, *costs])
    return table


def measures_table(comparison: Comparison) -> StackedTable:
    """Agents x the other measures after the last glimpse, and areas under the curve."""
    main = comparison.main_metric
    others = [each for each in comparison.declared if each not in (main, COVERAGE)]
    areas = {"glimpses": "area over\nglimpses", "gflops": "area over\nGFLOPs"}
    table = StackedTable(
        f"after {comparison.num_glimpses} glimpses, and area under the curve",
        ["agent"],
        [*(_heading(each) for each in others), *areas.values()],
    )
    for result in comparison.results:
        cells = []
        for each in others:
            if each.aggregate is None:
                cells.append(_interval_cell(each, result.over_scenes[each.name], -1))
            else:
                cells.append(_cell(each.text(result.aggregates[each.name][:, -1].mean()), ""))
        if main is not None:
            cells += [_interval_cell(main, comparison.areas[result.label, over]) for over in areas]
        table.add_row([_agent_cell(result)], cells)
    return table


def stopping_table(comparison: Comparison, confidence: float) -> StackedTable:
    """Agents x what ending an episode at a confidence would have cost and saved."""
    headings = ("got\nthere", "\nglimpses", "accuracy\nthen (%)", "GFLOPs per\nepisode", "\nsaved")
    table = StackedTable(f"stopping once {confidence:g} confident", ["agent"], headings)
    for result in comparison.results:
        found = summarise_stopping(result, confidence)
        mean, low, high = (written(100 * found["accuracy"][end], ".1f") for end in _ENDS)
        policy = found["gflops_of_policy"]
        cells = [
            Text(written(found["share_reached"], ".0%")),
            Text(written(found["glimpses"], ".2f")),
            _cell(mean, f"{low}-{high}"),
            _cell(written(found["gflops"], "#.3g"), _policy(policy)),
            Text(written(found["saved_by_stopping"], ".0%")),
        ]
        table.add_row([_agent_cell(result)], cells)
    return table


def _standard_output() -> Console:
    console = Console()
    if console.is_terminal or os.environ.get("COLUMNS", "").isdecimal():
        return console
    return Console(width=_WIDTH_OF_FILES)


def _print_notes(notes: Sequence[str], console: Console) -> None:
    for note in notes:
        console.print(note, highlight=False, markup=False)


def _table_steps(num_glimpses: int) -> list[int]:
    """1, 2, 4, 8, ... and the last."""
    powers = (1 << exponent for exponent in range(num_glimpses.bit_length()))
    return sorted({*powers, num_glimpses})


def _setting_name(name: str) -> str:
    """What people call a setting that has a short name in the literature."""
    return {"split_block": "K", "num_glimpses": "T", "weights_hash": "weights"}.get(name, name)


def _constant_settings(merged: Merged) -> str:
    """What all lines have in common, of what tables have columns for."""
    names = [name for name in ("environment", "split", "encoder") if name not in merged.varied]
    first = merged.lines[0].setting
    words = [str(first[name]) for name in names]
    if "split_block" not in merged.varied and first["split_block"] != "":
        words.append(f"K = {first['split_block']}")
    return ", ".join(words)


def _agent_cell(result: AgentResult) -> Text:
    return _cell(result.label, _remark(result.privileged, bool(result.differences)))


def _remark(privileged: bool, not_as_trained: bool) -> str:
    """What tells an agent from the competitors."""
    return "upper bound" if privileged else "not as trained" if not_as_trained else ""


def _heading(metric: Metric) -> str:
    return metric.label if metric.heading is None else metric.heading


def _interval_cell(metric: Metric, interval: Interval, *t: int) -> Text:
    mean, low, high = (
        metric.text(ends[t]) for ends in (interval.mean, interval.low, interval.high)
    )
    if not interval.exists:
        return _cell(mean, "")
    return _cell(mean, f"{low} to {high}" if "-" in low + high else f"{low}-{high}")


def _seeds_cell(result: AgentResult, metric: Metric) -> Text:
    return _deviation_cell(metric, result.over_seeds(metric.name), len(result.seeds))


def _deviation_cell(metric: Metric | None, deviation: np.ndarray | None, seeds: int) -> Text:
    if metric is None or deviation is None:
        return Text()
    return _cell(f"sd {written(metric.scale * deviation[-1], '.3g')}", f"{seeds} seeds")


def _cost_cells(spent: float, without: float, policy: float) -> tuple[Text, Text]:
    saved = f"{written(1 - spent / without, '.0%')} saved" if without else ""
    return (
        _cell(written(spent, "#.3g"), _policy(policy)),
        _cell(written(without, "#.3g"), saved),
    )


def _policy(gflops: float) -> str:
    return f"+{written(gflops, '#.2g')} policy" if gflops else ""


def _cell(first: str, second: str) -> Text:
    text = Text(first, style="bold")
    if second:
        text.append(f"\n{second}", style="not bold dim")
    return text


def comparison_notes(comparison: Comparison) -> list[str]:
    """How to read the tables of a comparison, one sentence or a few to a line."""
    lines = []
    if comparison.main_metric is None:
        lines.append(why_no_metric(comparison)[1])
    else:
        lines.append(
            f"{_reading(comparison.main_metric)}; below it the "
            f"{_intervals(comparison, comparison.declared)} over scenes. An area is the mean "
            "height of the curve: over all glimpses, and over "
            f"{written(comparison.gflops_budget, '#.3g')} GFLOPs, which every agent spends."
        )
        lines += _best_two(comparison, comparison.main_metric)
        lines += _bounds(comparison, comparison.main_metric)
    lines += _not_as_trained((one.label, one.differences) for one in comparison.results)
    lines.append(
        f"GFLOPs: {FLOPS_CONVENTION}, in billions; what the encoder spends on an episode, mean "
        "over scenes. The belief before the first glimpse is a constant of the weights and charged "
        "to no episode. Policy: choosing the glimpses, beyond the encoder. Without recycling: the "
        "same encoder, encoding all that was seen again after each glimpse."
    )
    return lines


def _notes_of_merged(merged: Merged) -> list[str]:
    lines = []
    several_seeds = any(len(line.seeds) > 1 for line in merged.lines)
    spread = (
        ""
        if not several_seeds
        else (", averaged over seeds; sd is that of the mean over scenes, from seed to seed")
    )
    for metric in {line.metric.name: line.metric for line in merged.lines if line.metric}.values():
        found = [
            line.interval
            for line in merged.lines
            if line.interval and line.metric and line.metric.name == metric.name
        ]
        lines.append(
            f"{_reading(metric)}; below it the {CONFIDENCE:.0%} {METHODS[found[0].method]} "
            f"interval over scenes{spread}.{_chance(metric)}"
        )
    lines += _not_as_trained((line.agent, line.differences) for line in merged.lines)
    lines.append(f"GFLOPs: {FLOPS_CONVENTION}, in billions; mean over scenes and seeds.")
    return lines


def _not_as_trained(differences: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """What other things than those of their training agents had to do with."""
    by_agent: dict[str, dict[str, None]] = {}
    for agent, differing in differences:
        by_agent.setdefault(agent, {}).update(dict.fromkeys(differing))
    return [
        f"{agent}, not as trained: {'; '.join(differing)}."
        for agent, differing in by_agent.items()
        if differing
    ]


def _intervals(comparison: Comparison, metrics: Sequence[Metric]) -> str:
    """How the intervals of some metrics are computed: "95% Wilson score interval"."""
    main = comparison.main_metric
    by_method: dict[str, list[str]] = {}
    for metric in metrics:
        if metric.aggregate is None and metric is not COVERAGE:
            method = METHODS[interval_method(comparison, metric)]
            by_method.setdefault(method, []).append(metric.label)
    (first, _), *others = by_method.items()
    assert main is not None  # or there is nothing to explain
    more = ", ".join(f"{name} for {' and '.join(labels)}" for name, labels in others)
    return f"{CONFIDENCE:.0%} {first} interval{f' ({more})' if more else ''}"


def _bounds(comparison: Comparison, metric: Metric) -> list[str]:
    """Between what the numbers lie, as far as it is known."""
    lines = []
    if bounds := [result.label for result in comparison.results if result.privileged]:
        lines.append(
            f"Upper bound: {' and '.join(bounds)} {'are' if len(bounds) > 1 else 'is'} told the "
            "answer, and no competitor; the search is no cost of anybody."
        )
    if chance := _chance(metric):
        lines.append(chance.strip())
    return lines


def _chance(metric: Metric) -> str:
    if metric.chance is None:
        return ""
    return f" Chance: {metric.text(metric.chance)}{' %' if metric.unit == '%' else ''}."


def _reading(metric: Metric) -> str:
    """What the numbers of a metric are: "RMSE in grey levels (lower is better)"."""
    text = f"{metric.label} in {metric.unit}" if metric.unit else metric.label
    return f"{text} (lower is better)" if metric.better == "lower" else text


def _best_two(comparison: Comparison, metric: Metric) -> list[str]:
    """How far the best agent is ahead of the next, scene by scene."""
    if len(ranked := comparison.ranked()) < 2:
        return []
    best, second = ranked[0].label, ranked[1].label
    sign, pair = 1, (best, second)
    if pair not in comparison.differences:
        sign, pair = -1, (second, best)
    interval, t = comparison.differences[pair], comparison.num_glimpses
    if not interval.exists:  # of a single scene
        mean = metric.text(sign * interval.mean[t], "+")
        return [f"{best} minus {second} after {t} glimpses: {mean}."]
    ends = sorted((sign * interval.low[t], sign * interval.high[t]))
    mean, low, high = (metric.text(value, "+") for value in (sign * interval.mean[t], *ends))
    return [
        f"{best} minus {second} after {t} glimpses: {mean} ({low} to {high}, paired over scenes, "
        f"{METHODS[paired_method(comparison)]} interval)."
    ]

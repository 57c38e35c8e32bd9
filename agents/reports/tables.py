"""The tables that people see."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.evaluation.comparison import AgentResult, Comparison
from agents.evaluation.statistics import CONFIDENCE, Interval
from agents.reports.summary import (
    summarise_stopping,
    title,
    why_no_metric,
)
from ave_env.tasks.metrics import COVERAGE, Metric
from encoders.flops.count import FLOPS_CONVENTION

# Where the output is no terminal there is no width to keep to.
_WIDTH_OF_FILES = 100

_ENDS = ("mean", "ci_lo", "ci_hi")


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Prints agents x glimpses with intervals, what they cost, and how to read it.

    Args:
        comparison: What was run.
        console: Where to; None = standard output.
    """
    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=_WIDTH_OF_FILES)
    console.print(comparison_table(comparison))
    if comparison.main_metric is not None:
        console.print(measures_table(comparison))
    if comparison.config.stop_confidence is not None:
        console.print(stopping_table(comparison, comparison.config.stop_confidence))
    for line in _notes(comparison):
        console.print(line, highlight=False, markup=False, soft_wrap=console.is_terminal)


def comparison_table(comparison: Comparison) -> Table:
    """Agents x glimpses: the main metric with its interval, and GFLOPs per episode."""
    table = _table(title(comparison))
    metric = comparison.main_metric
    several_seeds = metric is not None and any(len(one.seeds) > 1 for one in comparison.results)
    headings = []
    if metric is None:
        headings.append("\nscore")
    else:
        headings += [f"{t}\nglimpse{'s'[: t > 1]}" for t in comparison.table_steps]
    headings += ["over\nseeds"] * several_seeds + ["GFLOPs per\nepisode", "without\nrecycling"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for result in comparison.results:
        cells = [_agent_cell(result)]
        if metric is None:
            cells.append(Text(why_no_metric(comparison)[0], style="yellow"))
        else:
            interval = result.over_scenes[metric.name]
            cells += [_interval_cell(metric, interval, t) for t in comparison.table_steps]
            if several_seeds:
                cells.append(_seeds_cell(result, metric))
        table.add_row(*cells, *_cost_cells(result))
    return table


def measures_table(comparison: Comparison) -> Table:
    """Agents x the other measures after the last glimpse, and areas under the curve."""
    main = comparison.main_metric
    others = [each for each in comparison.declared if each not in (main, COVERAGE)]
    table = _table(f"after {comparison.num_glimpses} glimpses, and area under the curve")
    areas = {"glimpses": "area over\nglimpses", "gflops": "area over\nGFLOPs"}
    for heading in (*(_heading(each) for each in others), *areas.values()):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in comparison.results:
        cells = [_agent_cell(result)]
        for each in others:
            if each.aggregate is None:
                cells.append(_interval_cell(each, result.over_scenes[each.name], -1))
            else:
                cells.append(_cell(each.text(result.aggregates[each.name][:, -1].mean()), ""))
        if main is not None:
            cells += [_interval_cell(main, comparison.areas[result.label, over]) for over in areas]
        table.add_row(*cells)
    return table


def stopping_table(comparison: Comparison, confidence: float) -> Table:
    """Agents x what ending an episode at a confidence would have cost and saved."""
    table = _table(f"stopping once {confidence:g} confident")
    headings = ("got\nthere", "\nglimpses", "accuracy\nthen (%)", "GFLOPs per\nepisode", "\nsaved")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for result in comparison.results:
        found = summarise_stopping(result, confidence)
        mean, low, high = (f"{100 * found['accuracy'][end]:.1f}" for end in _ENDS)
        policy = found["gflops_of_policy"]
        table.add_row(
            _agent_cell(result),
            f"{found['share_reached']:.0%}",
            f"{found['glimpses']:.2f}",
            _cell(mean, f"{low}-{high}"),
            _cell(f"{found['gflops']:#.3g}", f"+{policy:#.2g} policy" if policy else ""),
            f"{found['saved_by_stopping']:.0%}",
        )
    return table


def _table(title: str) -> Table:
    table = Table(
        title=title, box=box.SIMPLE_HEAD, title_style="bold", padding=(0, 1, 0, 0), pad_edge=False
    )
    table.add_column("\nagent", no_wrap=True)
    return table


def _agent_cell(result: AgentResult) -> Text:
    return _cell(result.label, "upper bound" if result.privileged else "")


def _heading(metric: Metric) -> str:
    return metric.label if metric.heading is None else metric.heading


def _interval_cell(metric: Metric, interval: Interval, *t: int) -> Text:
    mean, low, high = (
        metric.text(ends[t]) for ends in (interval.mean, interval.low, interval.high)
    )
    return _cell(mean, f"{low} to {high}" if "-" in low + high else f"{low}-{high}")


def _seeds_cell(result: AgentResult, metric: Metric) -> Text:
    deviation = result.over_seeds(metric.name)
    if deviation is None:
        return Text()
    return _cell(f"sd {metric.scale * deviation[-1]:.3g}", f"{len(result.seeds)} seeds")


def _cost_cells(result: AgentResult) -> tuple[Text, Text]:
    spent = float(result.gflops()[-1])
    without = float(result.gflops("flops_without_recycling")[-1])
    policy = float(result.gflops("policy")[-1])
    return (
        _cell(f"{spent:#.3g}", f"+{policy:#.2g} policy" if policy else ""),
        _cell(f"{without:#.3g}", f"{1 - spent / without:.0%} saved" if without else ""),
    )


def _cell(first: str, second: str) -> Text:
    text = Text(first, style="bold")
    if second:
        text.append(f"\n{second}", style="not bold dim")
    return text


def _notes(comparison: Comparison) -> list[str]:
    lines = []
    if comparison.main_metric is None:
        lines.append(why_no_metric(comparison)[1])
    else:
        lines.append(
            f"{_reading(comparison.main_metric)}; below it the {CONFIDENCE:.0%} bootstrap interval "
            "over scenes. An area is the mean height of the curve: over all glimpses, and over "
            f"{comparison.gflops_budget:#.3g} GFLOPs, which every agent spends."
        )
        lines += _best_two(comparison, comparison.main_metric)
    lines.append(
        f"GFLOPs: {FLOPS_CONVENTION}, in billions; what the encoder spends on an episode, mean "
        "over scenes. The belief before the first glimpse is a constant of the weights and charged "
        "to no episode. Policy: choosing the glimpses, beyond the encoder. Without recycling: the "
        "same encoder, encoding all that was seen again after each glimpse."
    )
    return lines


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
    ends = sorted((sign * interval.low[t], sign * interval.high[t]))
    mean, low, high = (metric.text(value, "+") for value in (sign * interval.mean[t], *ends))
    return [
        f"{best} minus {second} after {t} glimpses: {mean} ({low} to {high}, paired over scenes)."
    ]

"""Curves over glimpses and over compute, drawn without a display."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from agents.evaluation.comparison import AgentResult, Comparison
from agents.evaluation.gaze import gaze_of
from agents.evaluation.statistics import CONFIDENCE
from agents.reports.summary import title, why_no_metric
from ave_env.tasks.metrics import Metric
from encoders.flops.count import FLOPS_CONVENTION
from encoders.support.files import replacing

# Okabe & Ito, "Color Universal Design", 2008: told apart with any kind of colour vision. Its
# yellow, too pale for lines on white, is left out.
_BLACK, _GREY = "#000000", "#767676"
_AGENT_STYLES = {
    "random": (_GREY, "o"),
    "checkerboard": ("#56B4E9", "s"),
    "raster": ("#0072B2", "v"),
    "center_out": ("#E69F00", "P"),
    "ame": ("#009E73", "^"),
    "ame_normalised": ("#CC79A7", "D"),
    "oracle": (_BLACK, ""),
}
# For agents with names of their own: trained ones.
_OTHER_COLORS = ("#D55E00", "#882255", "#332288", "#44AA99")
_OTHER_MARKERS = ("o", "s", "^", "D", "v")

_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#4d4d4d",
    "axes.grid": True,
    "axes.labelcolor": "#1a1a1a",
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "xtick.color": "#4d4d4d",
    "ytick.color": "#4d4d4d",
}


def draw_curves(comparison: Comparison, path: Path) -> None:
    """Draws the main metric over glimpses and over GFLOPs; without one, what was spent.

    Args:
        comparison: What was run.
        path: PNG to write; appears whole or not at all.
    """
    with rc_context(_STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.1)
        figure = Figure(figsize=(9.6, 4.3), dpi=200, layout=layout)
        FigureCanvasAgg(figure)
        if comparison.main_metric is None:
            _draw_spending(figure, comparison)
        else:
            _draw_metric(figure, comparison, comparison.main_metric)
        figure.suptitle(_title(comparison), fontsize=11, fontweight="bold", x=0.01, ha="left")
        _save(figure, path)


def draw_gaze(comparison: Comparison, result: AgentResult, path: Path) -> None:
    """Draws in how many scenes an agent looked where, in each glimpse and in any of them.

    Args:
        comparison: What was run.
        result: Whose glimpses.
        path: PNG to write; appears whole or not at all.
    """
    gaze = gaze_of(comparison, result)
    shares = gaze.by_glimpse
    columns = min(len(shares), 4)
    lines = -(-len(shares) // columns)
    with rc_context({**_STYLE, "axes.grid": False}):
        layout = ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05)
        aspect = shares.shape[1] / shares.shape[2]
        large = 8.0 * aspect
        small = 8.0 / columns * aspect + 0.3
        figure = Figure(figsize=(9.0, large + lines * small + 0.9), dpi=130, layout=layout)
        FigureCanvasAgg(figure)
        rows = figure.subfigures(2, 1, squeeze=False, height_ratios=[large + 0.5, lines * small])
        top, bottom = rows[:, 0]
        axes = top.subplots()
        picture = _draw_map(axes, gaze.in_episode, "seen in an episode")
        bar = top.colorbar(picture, ax=axes, pad=0.02, format="{x:.0%}")
        bar.outline.set_visible(False)
        small_axes = bottom.subplots(lines, columns, squeeze=False).ravel()
        highest = float(shares.max())
        for t, share in enumerate(shares):
            _draw_map(small_axes[t], share, f"glimpse {t + 1}", highest)
        for unused in small_axes[len(shares) :]:
            unused.set_visible(False)
        figure.suptitle(
            f"Where {result.label} looks: share of {comparison.num_scenes:,} scenes "
            f"(glimpses: up to {highest:.0%})",
            fontsize=11,
            fontweight="bold",
            x=0.01,
            ha="left",
        )
        _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    """Writes a PNG without the name of the program in it."""
    with replacing(path) as partial:
        figure.savefig(partial, format="png", metadata={"Software": None})


def _draw_map(axes: Axes, values: np.ndarray, title: str, highest: float = 1.0) -> Any:
    picture = axes.imshow(values, cmap="magma", vmin=0.0, vmax=highest, interpolation="nearest")
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return picture


def _draw_metric(figure: Figure, comparison: Comparison, metric: Metric) -> None:
    over_glimpses, over_gflops = figure.subplots(1, 2, sharey=True)
    scale = metric.scale
    glimpses = np.arange(comparison.num_glimpses + 1)
    for result, style in zip(comparison.results, agent_styles(comparison), strict=True):
        interval = result.over_scenes[metric.name]
        for axes, places in ((over_glimpses, glimpses), (over_gflops, result.gflops_to_compare)):
            low, high = scale * interval.low, scale * interval.high
            axes.fill_between(places, low, high, color=style["color"], alpha=0.16, linewidth=0)
            axes.plot(places, scale * interval.mean, clip_on=False, **style)
    if metric.limits is not None:
        over_glimpses.set_ylim(*metric.limits)
    over_glimpses.set_ylabel(metric.title)
    _number_glimpses(over_glimpses, comparison)
    over_gflops.set_xlabel(f"GFLOPs ({FLOPS_CONVENTION})")
    over_gflops.set_xlim(left=0)
    over_gflops.xaxis.set_major_locator(MaxNLocator(5))
    # The order of the legend is that of the curves' ends, from top to bottom.
    handles, labels = over_glimpses.get_legend_handles_labels()
    ends = [result.over_scenes[metric.name].mean[-1] for result in comparison.results]
    order = np.argsort([-end for end in ends])
    notes = [f"Bands: {CONFIDENCE:.0%} bootstrap intervals\nover scenes."]
    if any(result.privileged for result in comparison.results):
        notes.append("Upper bounds are told the answer; their\nsearch is not counted in GFLOPs.")
    legend = figure.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="outside right upper",
        frameon=False,
        title="\n".join(notes) + "\n",
        title_fontsize=7.5,
        alignment="left",
        borderaxespad=0.8,
    )
    legend.get_title().set_color("#4d4d4d")


def _draw_spending(figure: Figure, comparison: Comparison) -> None:
    axes = figure.subplots()
    glimpses = np.arange(comparison.num_glimpses + 1)
    for result, style in zip(comparison.results, agent_styles(comparison), strict=True):
        axes.plot(glimpses, result.gflops(), clip_on=False, **style)
        without = {**style, "linestyle": ":", "marker": "", "label": None}
        axes.plot(glimpses, result.gflops("flops_without_recycling"), **without)
    axes.plot([], [], color=_GREY, linestyle=":", label="without recycling")
    _number_glimpses(axes, comparison)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"GFLOPs so far\n({FLOPS_CONVENTION})")
    figure.legend(loc="outside right center", frameon=False)


def _number_glimpses(axes: Axes, comparison: Comparison) -> None:
    axes.set_xlabel("glimpses")
    axes.set_xlim(0, comparison.num_glimpses)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0)


def _title(comparison: Comparison) -> str:
    text = title(comparison)
    if comparison.main_metric is not None:
        return text
    return f"{text}: {why_no_metric(comparison)[0]}, compute only"


def agent_styles(comparison: Comparison) -> list[dict[str, Any]]:
    """Line, colour and marker of each agent; those without parameters always look the same."""
    styles, others = [], 0
    for result in comparison.results:
        if result.label in _AGENT_STYLES:
            color, marker = _AGENT_STYLES[result.label]
        else:
            color = _OTHER_COLORS[others % len(_OTHER_COLORS)]
            marker = _OTHER_MARKERS[others // len(_OTHER_COLORS) % len(_OTHER_MARKERS)]
            others += 1
        style: dict[str, Any] = {"color": color, "marker": marker, "label": result.label}
        if result.privileged:
            style |= {"linestyle": "--", "label": f"{result.label} (upper bound)"}
        styles.append(style)
    return styles

"""Curves over glimpses and over compute, drawn without a display."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
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
from agents.evaluation.statistics import CONFIDENCE, METHODS
from agents.reports.styles import AgentStyle, agent_styles
from agents.reports.summary import interval_method, title, why_no_metric
from ave_env.tasks.metrics import Metric
from encoders.flops.count import FLOPS_CONVENTION
from encoders.support.files import replacing

_GREY = "#767676"
STYLE: dict[Any, Any] = {
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


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """One agent's line: a metric after t = 0..T glimpses, not scaled, each float64 `[T+1]`.

    Attributes:
        style: How it looks.
        mean: The line.
        low: Lower end of the band around it.
        high: Upper end of it.
        gflops: What was spent, in billions.
    """

    style: AgentStyle
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    gflops: np.ndarray


def draw_curves(comparison: Comparison, path: Path) -> None:
    """Draws the main metric over glimpses and over GFLOPs; without one, what was spent.

    Args:
        comparison: What was run.
        path: PNG to write; appears whole or not at all.
    """
    metric = comparison.main_metric
    if metric is None:
        with _figure(
            path, f"{title(comparison)}: {why_no_metric(comparison)[0]}, compute only"
        ) as figure:
            _draw_spending(figure, comparison)
        return
    curves = [
        Curve(style, interval.mean, interval.low, interval.high, result.gflops_to_compare)
        for result, style in zip(comparison.results, styles_of(comparison), strict=True)
        for interval in (result.over_scenes[metric.name],)
    ]
    draw_metric(
        curves,
        metric,
        path,
        title=title(comparison),
        bands=f"Bands: {CONFIDENCE:.0%} {METHODS[interval_method(comparison, metric)]}\n"
        "intervals over scenes.",
    )


def draw_metric(
    curves: Sequence[Curve], metric: Metric, path: Path, *, title: str, bands: str
) -> None:
    """Draws a metric over glimpses and over GFLOPs, with chance where it is known.

    Args:
        curves: One per agent.
        metric: What they are of.
        path: PNG to write; appears whole or not at all.
        title: Line above.
        bands: What the bands around the lines are.
    """
    with _figure(path, title) as figure:
        _draw_metric(figure, curves, metric, bands)


@contextlib.contextmanager
def _figure(path: Path, title: str) -> Iterator[Figure]:
    with rc_context(STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.1)
        figure = Figure(figsize=(9.6, 4.3), dpi=200, layout=layout)
        FigureCanvasAgg(figure)
        yield figure
        figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left")
        _save(figure, path)


def draw_gaze(comparison: Comparison, result: AgentResult, path: Path) -> None:
    """Draws in how many scenes an agent looked where, in each glimpse and in any of them.

    Args:
        comparison: What was run.
        result: Whose glimpses.
        path: PNG to write; appears whole or not at all.
    """
    gaze = gaze_of(comparison, result)
    shares, axes_of = gaze.by_glimpse, scene_axes(comparison)
    columns = min(len(shares), 4)
    lines = -(-len(shares) // columns)
    with rc_context({**STYLE, "axes.grid": False}):
        layout = ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05)
        aspect = shares.shape[1] / shares.shape[2]
        large = 7.4 * aspect
        small = 7.4 / columns * aspect + 0.4
        figure = Figure(figsize=(9.0, large + lines * small + 1.3), dpi=130, layout=layout)
        FigureCanvasAgg(figure)
        rows = figure.subfigures(2, 1, squeeze=False, height_ratios=[large + 0.9, lines * small])
        top, bottom = rows[:, 0]
        axes = top.subplots()
        picture = _draw_map(axes, gaze.in_episode, "seen in an episode", 1.0, axes_of, named=True)
        bar = top.colorbar(picture, ax=axes, pad=0.02, format="{x:.0%}")
        bar.outline.set_visible(False)
        small_axes = bottom.subplots(lines, columns, squeeze=False).ravel()
        for t, share in enumerate(shares):
            highest = float(share.max())  # later glimpses are spread wider: each has its own scale
            heading = f"glimpse {t + 1}: up to {highest:.1%}"
            _draw_map(small_axes[t], share, heading, highest, axes_of)
        for unused in small_axes[len(shares) :]:
            unused.set_visible(False)
        figure.suptitle(
            f"Where {result.label} looks: share of {comparison.num_scenes:,} scenes, black: none",
            fontsize=11,
            fontweight="bold",
            x=0.01,
            ha="left",
        )
        _save(figure, path)


@dataclasses.dataclass(frozen=True)
class SceneAxes:
    """How places in a scene are written along its sides.

    Attributes:
        names: What the vertical and the horizontal axis say.
        starts: Their values at the top left corner.
        ends: Their values at the bottom right one.
        ticks: Values that are written, of each.
        unit: What follows a value.
    """

    names: tuple[str, str]
    starts: tuple[float, float]
    ends: tuple[float, float]
    ticks: tuple[tuple[float, ...], tuple[float, ...]]
    unit: str


def scene_axes(comparison: Comparison) -> SceneAxes:
    """Degrees in 360-degree panoramas, pixels in other images."""
    ticks: tuple[tuple[float, ...], tuple[float, ...]]
    if comparison.record["scenes"]["seamless"]:
        ticks = ((90.0, 0.0, -90.0), (-180.0, -90.0, 0.0, 90.0, 180.0))
        return SceneAxes(("elevation", "azimuth"), (90, -180), (-90, 180), ticks, "\N{DEGREE SIGN}")
    height, width = comparison.record["environment"]["kwargs"]["image_size"]
    ticks = ((0.0, height / 2, height), (0.0, width / 2, width))
    return SceneAxes(("y (pixels)", "x (pixels)"), (0, 0), (height, width), ticks, "")


def _save(figure: Figure, path: Path) -> None:
    """Writes a PNG without the name of the program in it."""
    with replacing(path) as partial:
        figure.savefig(partial, format="png", metadata={"Software": None})


def _draw_map(
    axes: Axes,
    values: np.ndarray,
    title: str,
    highest: float,
    scene: SceneAxes,
    *,
    named: bool = False,
) -> Any:
    """Draws one map; its sides have names where there is room for them, ticks everywhere."""
    (top, left), (bottom, right) = scene.starts, scene.ends
    picture = axes.imshow(
        values,
        cmap="magma",
        vmin=0.0,
        vmax=highest,
        interpolation="nearest",
        extent=(left, right, bottom, top),
        aspect=abs((right - left) / (bottom - top)) * values.shape[0] / values.shape[1],
    )
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_yticks(scene.ticks[0], [f"{tick:g}{scene.unit}" for tick in scene.ticks[0]])
    across = scene.ticks[1] if named else scene.ticks[1][:: len(scene.ticks[1]) // 2]
    axes.set_xticks(across, [f"{tick:g}{scene.unit}" for tick in across])
    axes.tick_params(labelsize=8 if named else 6, length=2)
    if named:
        axes.set_ylabel(scene.names[0])
        axes.set_xlabel(scene.names[1])
    axes.spines[:].set_visible(False)
    return picture


def _draw_metric(figure: Figure, curves: Sequence[Curve], metric: Metric, bands: str) -> None:
    over_glimpses, over_gflops = figure.subplots(1, 2, sharey=True)
    scale = metric.scale
    num_glimpses = len(curves[0].mean) - 1
    for curve in curves:
        for axes, places in (
            (over_glimpses, np.arange(num_glimpses + 1)),
            (over_gflops, curve.gflops),
        ):
            low, high = scale * curve.low, scale * curve.high
            axes.fill_between(places, low, high, color=curve.style.color, alpha=0.16, linewidth=0)
            axes.plot(places, scale * curve.mean, clip_on=False, **curve.style.line)
    handles, labels = over_glimpses.get_legend_handles_labels()
    # The order of the legend is that of the curves' ends, from top to bottom.
    ends = [curve.mean[-1] for curve in curves]
    if metric.chance is not None:
        for axes in (over_glimpses, over_gflops):
            line = axes.axhline(scale * metric.chance, color=_GREY, linestyle=":", linewidth=1.4)
        handles.append(line)
        labels.append(f"chance ({metric.text(metric.chance)})")
        ends.append(-np.inf)  # known, and so no result: last
    order = np.argsort([-end for end in ends], kind="stable")
    if metric.limits is not None:
        over_glimpses.set_ylim(*metric.limits)
    over_glimpses.set_ylabel(metric.axis_title)
    _number_glimpses(over_glimpses, num_glimpses)
    over_gflops.set_xlabel(f"GFLOPs ({FLOPS_CONVENTION})")
    over_gflops.set_xlim(left=0)
    over_gflops.xaxis.set_major_locator(MaxNLocator(5))
    notes = [bands]
    if any(curve.style.dashed for curve in curves):
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
    for result, style in zip(comparison.results, styles_of(comparison), strict=True):
        axes.plot(glimpses, result.gflops(), clip_on=False, **style.line)
        without = {**style.line, "linestyle": ":", "marker": "", "label": None}
        axes.plot(glimpses, result.gflops("flops_without_recycling"), **without)
    axes.plot([], [], color=_GREY, linestyle=":", label="without recycling")
    _number_glimpses(axes, comparison.num_glimpses)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"GFLOPs so far\n({FLOPS_CONVENTION})")
    figure.legend(loc="outside right center", frameon=False)


def _number_glimpses(axes: Axes, num_glimpses: int) -> None:
    axes.set_xlabel("glimpses")
    axes.set_xlim(0, num_glimpses)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0)


def styles_of(comparison: Comparison) -> list[AgentStyle]:
    """How each agent of a comparison looks."""
    return agent_styles((result.label, result.privileged) for result in comparison.results)

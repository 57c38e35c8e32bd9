"""Draws what an episode costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encoders.flops.count import FLOPS_CONVENTION, PARTS, FlopCount
from encoders.flops.episode import EpisodeCosts
from encoders.support.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito's colours, told apart with any kind of colour vision.
PART_COLORS = dict(zip(PARTS, ("#0072B2", "#56B4E9", "#E69F00", "#CC79A7"), strict=True))

_NEAR = 1.5  # a heavy decoder that costs less than this many light ones stays on the scale


@dataclasses.dataclass(frozen=True)
class Series:
    """One way to a belief, as it is drawn.

    Attributes:
        cost: What its steps cost.
        label: Its name in the legend.
        tick: Its name below a bar.
        color: Of its line.
        line_width: Of its line, in points.
    """

    cost: FlopCount
    label: str
    tick: str
    color: str | np.ndarray
    line_width: float = 1.8


def series_of(costs: EpisodeCosts) -> list[Series]:
    """The ways that were compared, from the dearest on."""
    from matplotlib import colormaps

    series = []
    for cost, decoder, color, line_width in (
        (costs.heavy, costs.heavy_decoder, "#1a1a1a", 1.8),
        (costs.light, costs.light_decoder, "#c8c8c8", 5),  # broad: that of K = 0 lies upon it
    ):
        label, tick = f"all anew, decoder {decoder}", f"all anew,\n{decoder}"
        series.append(Series(cost, label, tick, color, line_width))
    shades = colormaps["viridis"](np.linspace(0.05, 0.85, len(costs.recycled)))
    for (split, cost), shade in zip(costs.recycled.items(), shades, strict=True):
        series.append(Series(cost, f"K = {split}", f"K = {split}", shade))
    return series


def draw_costs(costs: EpisodeCosts, path: Path) -> None:
    """Draws cumulative costs over glimpses, and the parts of whole episodes.

    The scale is that of the encoder's own decoder; where the heavy one costs far more, its line
    and bar are cut off at the top and labelled with what they come to.

    Args:
        costs: What to draw.
        path: PNG, SVG or PDF to write, by its extension; appears whole or not at all.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    series = series_of(costs)
    # Without a date and random names, the same picture is the same bytes.
    kind = path.suffix.lower().removeprefix(".")
    metadata = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with rc_context(
        {
            "axes.spines.top": False,
            "axes.spines.right": False,
            "font.size": 9,
            "svg.hashsalt": "active-visual-exploration",
        }
    ):
        figure = Figure(figsize=(10, 4.2), dpi=160, layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        top = _top(costs)
        _draw_lines(left, costs.glimpses, series, top)
        _draw_bars(right, series, top)
        figure.suptitle(costs.title, fontsize=10.5, fontweight="bold", x=0.01, ha="left")
        with replacing(path) as partial:
            figure.savefig(partial, format=kind, metadata=metadata[kind])


def _top(costs: EpisodeCosts) -> float:
    """Where the scale ends, in GFLOPs: at the light decoder's, unless the heavy one's is near."""
    light, heavy = (float(np.sum(each.total)) / 1e9 for each in (costs.light, costs.heavy))
    return 1.12 * (heavy if heavy < _NEAR * light else light)


def _draw_lines(axes: Axes, glimpses: np.ndarray, series: Sequence[Series], top: float) -> None:
    from matplotlib.ticker import MaxNLocator

    for each in series:
        total = np.cumsum(each.cost.total) / 1e9
        label = f"{each.label} ({total[-1]:.3g}, off the scale)" if total[-1] > top else each.label
        axes.plot(glimpses, total, label=label, color=each.color, linewidth=each.line_width)
    axes.set_xlabel("glimpses")
    axes.set_ylabel("GFLOPs since the start of the episode")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(0, top)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.13), ncols=3, frameon=False)


def _draw_bars(axes: Axes, series: Sequence[Series], top: float) -> None:
    places = np.arange(len(series))
    bottom = np.zeros(len(series))
    for part, color in PART_COLORS.items():
        heights = np.array([np.sum(getattr(each.cost, part)) for each in series]) / 1e9
        axes.bar(places, heights, bottom=bottom, color=color, width=0.7, label=part)
        bottom += heights
    for place, height in zip(places, bottom, strict=True):
        if height > top:  # an arrow out of the picture
            style = {"arrowstyle": "-|>", "color": "white", "linewidth": 1.5}
            axes.annotate("", (place, top), (place, 0.9 * top), arrowprops=style)
            axes.annotate(f"{height:.3g}", (place, top), ha="center", va="bottom")
        else:
            axes.annotate(f"{height:.3g}", (place, height), ha="center", va="bottom")
    axes.set_xticks(places, [each.tick for each in series])
    axes.set_ylabel(f"GFLOPs per episode\n({FLOPS_CONVENTION})")
    axes.set_ylim(0, top)
    axes.legend(frameon=False)

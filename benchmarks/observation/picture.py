"""The picture: accuracy against what it costs, and glimpse by glimpse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D

from encoders.support.files import replacing
from observation.settings import MODELS
from observation.tables import Curve, milliseconds

_MARKERS = {"random": "o", "checkerboard": "s", "ame": "^", "regions": "P", "ppo": "D"}
_OTHER_MARKERS = "vX*<>"
COLOURS = dict(zip(MODELS, plt.get_cmap("tab10").colors, strict=False))


def draw(
    curves: Sequence[Curve], costs: Sequence[Mapping[str, Any]], path: Path, title: str
) -> None:
    """Draws what is there.

    Above: accuracy after the last glimpse against GFLOPs and against milliseconds. Below: accuracy
    after every glimpse, a panel for every agent.
    """
    agents = list(dict.fromkeys(curve.agent for curve in curves))
    agents.sort(key=lambda agent: [*_MARKERS, agent].index(agent))
    others = [agent for agent in agents if agent not in _MARKERS]
    markers = {**_MARKERS, **dict(zip(others, _OTHER_MARKERS, strict=False))}
    figure = plt.figure(figsize=(max(12.0, 2.9 * len(agents)), 9.5), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.25, 1))
    left, right = above.subplots(1, 2, sharey=True)
    for curve in curves:
        _draw_point(left, curve, float(curve.gflops[-1]), markers)
        taken = milliseconds(costs, curve)
        if taken is not None:
            _draw_point(right, curve, taken, markers)
    glimpses = curves[0].accuracy.shape[1] - 1
    left.set_ylabel(f"accuracy after {glimpses} glimpses, %")
    left.set_xlabel("GFLOPs per episode, encoder and policy (a multiply-accumulate is one)")
    rows = max((row["rows"] for row in costs), default=0)
    right.set_xlabel(f"milliseconds per episode, encoder, one thread, {rows} rows at once")
    for axis in (left, right):
        axis.set_xscale("log")
        axis.grid(alpha=0.3, which="both")
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.xaxis.set_minor_formatter(lambda value, _: _few_ticks(value))
    models = [name for name in MODELS if any(curve.model == name for curve in curves)]
    handles = [Line2D([], [], color=COLOURS[name], linewidth=4, label=name) for name in models]
    handles += [
        Line2D([], [], color="0.3", marker=markers[agent], linestyle="", label=agent)
        for agent in agents
    ]
    above.legend(handles=handles, loc="outside right upper", frameon=False)
    panels = below.subplots(1, len(agents), sharey=True, squeeze=False)[0]
    for axis, agent in zip(panels, agents, strict=True):
        for curve in curves:
            if curve.agent == agent:
                _draw_curve(axis, curve)
        axis.set_title(agent)
        axis.set_xlabel("glimpses")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    panels[0].set_ylabel("accuracy, %")
    seeds = sorted({len(curve.accuracy) for curve in curves})
    spread = "bars and bands: 95 % interval of the mean (Student's t)" if max(seeds) > 1 else ""
    words = f"seeds of each: {'-'.join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))}"
    figure.suptitle("; ".join(filter(None, (title, words, spread))), fontsize=10)
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=110)
    plt.close(figure)


def _few_ticks(value: float) -> str:
    """Labels of a logarithmic axis between powers of ten: 2 and 5 alone."""
    digit = round(value / 10 ** np.floor(np.log10(value)))
    return f"{value:g}" if digit in (2, 5) else ""


def _draw_point(axis: Any, curve: Curve, across: float, markers: Mapping[str, str]) -> None:
    low, high = _ends(curve)
    mean = curve.mean[-1]
    axis.errorbar(
        across,
        mean,
        [[mean - low[-1]], [high[-1] - mean]],
        color=COLOURS[curve.model],
        marker=markers[curve.agent],
        markersize=7,
        markeredgecolor="white",
        elinewidth=1,
        alpha=0.9,
    )


def _draw_curve(axis: Any, curve: Curve) -> None:
    steps = np.arange(curve.accuracy.shape[1])
    colour = COLOURS[curve.model]
    axis.plot(steps, curve.mean, color=colour, marker=".", linewidth=1.4)
    axis.fill_between(steps, *_ends(curve), color=colour, alpha=0.12, linewidth=0)


def _ends(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Of the interval; no accuracy is beyond 0 and 100 %."""
    return (curve.mean - curve.margin).clip(0, 100), (curve.mean + curve.margin).clip(0, 100)

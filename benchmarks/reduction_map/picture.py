"""Accuracy against FLOPs and against time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.lines import Line2D

from encoders.support.files import replacing
from reduction_map.points import CONTROL, PLAIN, REDUCING
from reduction_map.tables import Group

_WAYS = {"untouched encoder": "s", "TORE alone": "D", "reduction alone": "o", "both": "^"}
_COLOURS = {"none": "tab:blue", "memory": "tab:green", "evit": "tab:red", "tome": "tab:orange"}
_COLOURS["avit"] = "tab:purple"
_EDGES = {PLAIN: "none", REDUCING: "black", CONTROL: "tab:gray"}
_SHOWN = 12.0  # points of accuracy below the best; what lies deeper is counted and not drawn


def draw(groups: Sequence[Group], path: Path) -> None:
    """Every way over its seeds, a line of axes per model and number of glimpses.

    The thin lines go from the least to the most accurate seed.
    """
    names = ("model", "glimpses", "num_glimpses", "environment")
    episodes = sorted({tuple(group[name] for name in names) for group in groups})
    size = (11, 4.5 * len(episodes))
    figure, grid = plt.subplots(len(episodes), 2, figsize=size, layout="constrained", squeeze=False)
    for axes, episode in zip(grid, episodes, strict=True):
        own = [group for group in groups if tuple(group[name] for name in names) == episode]
        _draw_front(axes[0], own, "gflops")
        _draw_front(axes[1], own, "ms")
        axes[1].sharey(axes[0])
        model, glimpses, count, environment = episode
        axes[0].set_title(f"{environment}: {model}", loc="left", fontsize=9)
        axes[0].set_ylabel(f"accuracy after {count} glimpses ({glimpses}), %")
    grid[-1, 0].set_xlabel("GFLOPs per episode (one multiply-accumulate counts as one)")
    grid[-1, 1].set_xlabel("milliseconds per episode")
    figure.legend(handles=_legend(groups), loc="outside lower center", ncols=4, fontsize=8)
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=120)
    plt.close(figure)


def _legend(groups: Sequence[Group]) -> list[Line2D]:
    """What markers, colours and edges stand for, of those that are there."""
    dot = {"linestyle": "none", "markersize": 6}
    ways, kinds = {each["way"] for each in groups}, {_kind(each) for each in groups}
    trainings = {each["training"] for each in groups} - {PLAIN}
    return [
        *(
            Line2D([], [], marker=_WAYS[way], color="black", mfc="none", label=way, **dot)
            for way in _WAYS
            if way in ways
        ),
        *(
            Line2D([], [], marker="o", color=_COLOURS[kind], label=kind, **dot)
            for kind in _COLOURS
            if kind in kinds and kind != "none"
        ),
        *(
            Line2D(
                [],
                [],
                marker="o",
                color="white",
                mec=_EDGES[training],
                label=f"trained {training}",
                **dot,
            )
            for training in _EDGES
            if training in trainings
        ),
    ]


def _kind(group: Group) -> str:
    """The kind of reduction, or a bounded memory without another one."""
    kind = str(group["reduction"]).partition(":")[0]
    return "memory" if kind == "none" and int(group["max_tokens"]) else kind


def _draw_front(axis: Any, groups: Sequence[Group], column: str) -> None:
    """All ways that are nearly as accurate as the best, and a line along those no other beats."""
    least = max(each.accuracy for each in groups) - _SHOWN
    shown = [each for each in groups if each.accuracy >= least]
    if deeper := len(groups) - len(shown):
        note = {"xy": (0.99, 0.02), "xycoords": "axes fraction", "ha": "right", "fontsize": 8}
        axis.annotate(f"{deeper} more below {least:.0f} %", **note)
    for each in shown:
        axis.errorbar(
            each.mean(column),
            each.accuracy,
            yerr=[[part] for part in _spread(each)],
            fmt=_WAYS[each["way"]],
            color=_COLOURS[_kind(each)],
            markeredgecolor=_EDGES[each["training"]],
            elinewidth=0.7,
            alpha=0.7,
        )
    front: list[Group] = []
    for each in sorted(shown, key=lambda each: (each.mean(column), -each.accuracy)):
        if not front or each.accuracy > front[-1].accuracy:
            front.append(each)
    across, up = [each.mean(column) for each in front], [each.accuracy for each in front]
    axis.plot(across, up, "k:", linewidth=1)
    axis.grid(alpha=0.3)


def _spread(group: Group) -> tuple[float, float]:
    """How far the least and the most accurate seed are from the mean."""
    seeds = [100 * sum(each["hits"]) / len(each["hits"]) for each in group.points.values()]
    return max(group.accuracy - min(seeds), 0.0), max(max(seeds) - group.accuracy, 0.0)

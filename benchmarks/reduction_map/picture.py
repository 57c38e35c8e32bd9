"""Accuracy against FLOPs and against time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from encoders.support.files import replacing
from reduction_map.points import CONTROL, PLAIN, REDUCING
from reduction_map.tables import Group

_WAYS = {"untouched encoder": "s", "TORE alone": "D", "reduction alone": "o", "both": "^"}
_COLOURS = {PLAIN: "tab:blue", REDUCING: "tab:red", CONTROL: "tab:green"}


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
    grid[0, 0].legend(fontsize=8)
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=120)
    plt.close(figure)


def _draw_front(axis: Any, groups: Sequence[Group], column: str) -> None:
    """All ways, and a line along those that no other one beats."""
    for training, colour in _COLOURS.items():
        for way, marker in _WAYS.items():
            own = [each for each in groups if (each["training"], each["way"]) == (training, way)]
            if not own:
                continue
            label = way if training == PLAIN else f"{way}, trained {training}"
            spread = [_spread(each) for each in own]
            axis.errorbar(
                [each.mean(column) for each in own],
                [each.accuracy for each in own],
                yerr=list(zip(*spread, strict=True)),
                fmt=marker,
                color=colour,
                elinewidth=0.7,
                alpha=0.7,
                label=label,
            )
    front: list[Group] = []
    for each in sorted(groups, key=lambda each: (each.mean(column), -each.accuracy)):
        if not front or each.accuracy > front[-1].accuracy:
            front.append(each)
    across, up = [each.mean(column) for each in front], [each.accuracy for each in front]
    axis.plot(across, up, "k:", linewidth=1)
    axis.grid(alpha=0.3)


def _spread(group: Group) -> tuple[float, float]:
    """How far the least and the most accurate seed are from the mean."""
    seeds = [100 * sum(each["hits"]) / len(each["hits"]) for each in group.points.values()]
    return max(group.accuracy - min(seeds), 0.0), max(max(seeds) - group.accuracy, 0.0)

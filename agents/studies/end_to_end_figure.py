"""The picture of training with and without sampling, and how far curves keep their shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from agents.studies.figures import COLORS, figure, legend_below, number_split_blocks
from agents.studies.table import PointTable
from agents.studies.training import RECIPE_TITLES, RECIPES
from encoders.support.rounding import written

_LINES = {"first": "-", "second": "--"}


def draw_end_to_end(table: PointTable, folder: Path) -> None:
    """Draws `end_to_end.png` and `end_to_end.svg`.

    Args:
        table: Of the study `end_to_end`.
        folder: Where the pictures go.
    """
    parts = sorted(int(each) for each in table.values("parts"))
    splits = sorted(int(each) for each in table.values("split_block"))
    most = parts[-1]
    deep = splits[-2] if len(splits) > 1 else splits[-1]
    first = table.rows[0]
    title = f"Trained on {first['scenes']}, {first['n']} test scenes"
    with figure(folder, "end_to_end", title, (9.6, 4.6)) as drawn:
        over_split, over_parts = drawn.subplots(1, 2, sharey=True)
        for color, recipe in zip(COLORS, RECIPES, strict=False):
            for test_set, line in _LINES.items():
                points = accuracies(table, test_set, recipe)
                if not points:
                    continue
                label = f"{RECIPE_TITLES[recipe]}, {test_set} test set"
                style = {"color": color, "linestyle": line, "marker": "o", "markersize": 3}
                _draw(over_split, splits, [_at(points, k, most) for k in splits], label, style)
                _draw(over_parts, parts, [_at(points, deep, m) for m in parts], label, style)
        over_split.set_title(f"M = {most}", fontsize=9.5, loc="left")
        over_split.set_ylabel("accuracy, %")
        number_split_blocks(over_split, splits)
        over_parts.set_title(f"K = {deep}", fontsize=9.5, loc="left")
        over_parts.set_xlabel("parts M")
        over_parts.set_xticks(parts)
        legend_below(drawn, over_split, columns=2)


def _draw(axes: Any, places: list[int], values: list[np.ndarray], label: str, style: Any) -> None:
    """The mean over seeds, and every seed as a thin line."""
    by_seed = np.array(values)  # [places, seeds]
    if by_seed.shape[1] > 1:
        axes.plot(places, by_seed, color=style["color"], linewidth=0.5, alpha=0.5)
    axes.plot(places, by_seed.mean(1), label=label, **style)


def accuracies(table: PointTable, test_set: str, recipe: str) -> dict[tuple[int, int], np.ndarray]:
    """Accuracy in per cent by (K, M), mean over orientations, float64 `[seeds]`.

    Args:
        table: Of the study `end_to_end`.
        test_set: "first" or "second".
        recipe: "classic" or "sampled".
    """
    rows = table.where(test_set=test_set, recipe=recipe)
    seeds = sorted({int(row["seed"]) for row in rows})
    found: dict[tuple[int, int], dict[int, list[float]]] = {}
    for row in rows:
        key = int(row["split_block"]), int(row["parts"])
        by_seed = found.setdefault(key, {})
        by_seed.setdefault(int(row["seed"]), []).append(100 * float(row["accuracy"]))
    return {
        key: np.array([np.mean(by_seed[seed]) for seed in seeds]) for key, by_seed in found.items()
    }


def compare_shapes(table: PointTable) -> tuple[tuple[str, ...], ...]:
    """How alike the curves on both test sets are: a row of cells for each recipe; none without.

    Args:
        table: Of the study `end_to_end`.
    """
    rows = []
    for recipe in RECIPES:
        first, second = (accuracies(table, each, recipe) for each in _LINES)
        points = sorted(first.keys() & second.keys())
        if len(points) < 2:
            continue
        one, other = (np.array([each[key].mean() for key in points]) for each in (first, second))
        flat = one.std() < 1e-9 or other.std() < 1e-9
        correlation = "constant" if flat else written(float(np.corrcoef(one, other)[0, 1]), ".3f")
        begin = points.index(min(points))
        moved = np.abs((one - one[begin]) - (other - other[begin]))
        at = int(moved.argmax())
        rows.append(
            (
                RECIPE_TITLES[recipe],
                str(len(points)),
                correlation,
                written(float(moved[at]), ".1f"),
                str(points[at]),
            )
        )
    return tuple(rows)


def _at(points: dict[tuple[int, int], np.ndarray], split: int, parts: int) -> np.ndarray:
    return points[split, parts]

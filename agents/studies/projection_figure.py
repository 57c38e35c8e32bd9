"""The picture of features in a plane."""

from __future__ import annotations

import collections
from pathlib import Path

from agents.studies.figures import COLORS, MARKERS, figure, legend_below, scenes_title
from agents.studies.table import PointTable

_MOST_CLASSES = 12  # that can be told apart by colour and shape


def draw_projection(table: PointTable, folder: Path) -> None:
    """Draws `projection.png` and `projection.svg`: a panel for every K, in the same plane.

    Args:
        table: Of the study `projection`.
        folder: Where the pictures go.
    """
    splits = sorted(int(each) for each in table.values("split_block"))
    counted = collections.Counter(str(row["class"]) for row in table.rows)
    shown = sorted(name for name, _ in counted.most_common(_MOST_CLASSES))
    first = table.rows[0]
    title = scenes_title(first, parts=True)
    columns = min(len(splits), 4)
    lines = -(-len(splits) // columns)
    with figure(folder, "projection", title, (3.2 * columns, 3.3 * lines + 1.1)) as drawn:
        axes = drawn.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for axis, split in zip(axes, splits, strict=False):
            rows = table.where(split_block=split)
            others = [row for row in rows if row["class"] not in shown]
            style = {"s": 9, "linewidths": 0}
            axis.scatter(
                [float(row["x"]) for row in others],
                [float(row["y"]) for row in others],
                color="#d0d0d0",
                **style,
            )
            for at, name in enumerate(shown):
                own = [row for row in rows if row["class"] == name]
                axis.scatter(
                    [float(row["x"]) for row in own],
                    [float(row["y"]) for row in own],
                    color=COLORS[at % len(COLORS)],
                    marker=MARKERS[at // len(COLORS)],
                    label=name,
                    **style | {"s": 13},
                )
            axis.set_title(f"K = {split}", fontsize=9.5, loc="left")
            axis.set_xticks([])
            axis.set_yticks([])
        for unused in axes[len(splits) :]:
            unused.set_visible(False)
        legend_below(drawn, axes[0], columns=6 if columns > 2 else 3)

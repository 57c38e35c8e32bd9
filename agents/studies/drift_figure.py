"""The picture of features that move with K."""

from __future__ import annotations

from pathlib import Path

from agents.studies.figures import (
    figure,
    legend_below,
    number_split_blocks,
    scenes_title,
    shades,
)
from agents.studies.table import PointTable

_PANELS = {
    "l2": ("Euclidean distance to K = 0", 1.0),
    "cosine": ("1 - cosine to K = 0", 1.0),
    "knn": ("neighbours at K = 0: accuracy, %", 100.0),
}
_LINES = {"as specified": "-", "transposed": "--"}


def draw_drift(table: PointTable, folder: Path) -> None:
    """Draws `drift.png` and `drift.svg`: both distances, and nearest neighbours, over K.

    Args:
        table: Of the study `drift`.
        folder: Where the pictures go.
    """
    parts = sorted(int(each) for each in table.values("parts"))
    splits = sorted(int(each) for each in table.values("split_block"))
    first = table.rows[0]
    title = scenes_title(first)
    with figure(folder, "drift", title, (11.5, 4.2)) as drawn:
        axes = drawn.subplots(1, len(_PANELS))
        for axis, (name, (words, scale)) in zip(axes, _PANELS.items(), strict=True):
            for color, count in zip(shades(len(parts) + 1), parts, strict=False):
                for orientation, line in _LINES.items():
                    rows = table.where(parts=count, orientation=orientation)
                    if not rows:
                        continue
                    rows = sorted(rows, key=lambda row: int(row["split_block"]))
                    at = [int(row["split_block"]) for row in rows]
                    mean, low, high = (
                        [scale * float(row[each]) for row in rows]
                        for each in (name, f"{name}_lo", f"{name}_hi")
                    )
                    label = f"M = {count}" + (", transposed" if line == "--" else "")
                    axis.plot(at, mean, line, color=color, marker="o", markersize=3, label=label)
                    axis.fill_between(at, low, high, color=color, alpha=0.15, linewidth=0)
            if name != "knn":
                axis.axhline(float(first[f"{name}_other"]), color="#767676", linestyle=":")
                axis.set_ylim(bottom=0)
            axis.set_title(words, fontsize=9.5, loc="left")
            number_split_blocks(axis, splits)
        legend_below(drawn, axes[0])

"""The picture of accuracy over (K, M)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agents.studies.figures import (
    figure,
    legend_below,
    number_split_blocks,
    scenes_title,
    shades,
)
from agents.studies.readouts import TITLES
from agents.studies.table import PointTable, Row
from encoders.flops.count import FLOPS_CONVENTION

_LINES = {"as specified": "-", "transposed": "--"}


def draw_grid(table: PointTable, folder: Path) -> None:
    """Draws `grid.png` and `grid.svg`: over K, and over GFLOPs, a column for every readout.

    Args:
        table: Of the study `grid`.
        folder: Where the pictures go.
    """
    readouts = [str(each) for each in table.values("readout")]
    first = table.rows[0]
    title = scenes_title(first)
    with figure(folder, "grid", title, (1.2 + 4.1 * len(readouts), 7.2)) as drawn:
        axes = drawn.subplots(2, len(readouts), sharey=True, squeeze=False)
        for column, readout in enumerate(readouts):
            _draw_readout(axes[0][column], axes[1][column], table, readout)
            axes[0][column].set_title(TITLES[readout], fontsize=9.5, loc="left")
        for row in axes:
            row[0].set_ylabel("accuracy, %")
        for each in axes[1]:
            each.set_xlabel(f"GFLOPs per image\n({FLOPS_CONVENTION})")
        _explain(drawn, axes[0][0])


def _draw_readout(over_split: Axes, over_gflops: Axes, table: PointTable, readout: str) -> None:
    parts = sorted(int(each) for each in table.values("parts"))
    splits = sorted(int(each) for each in table.values("split_block"))
    for color, count in zip(shades(len(parts)), parts, strict=True):
        for orientation, rows in _lines(table, readout, count):
            accuracy = [100 * float(row["accuracy"]) for row in rows]
            style: dict[str, Any] = {
                "color": color,
                "linestyle": _LINES[orientation],
                "linewidth": 1.4,
            }
            label = f"M = {count}" + (", transposed" if orientation != "as specified" else "")
            over_split.plot(
                [int(row["split_block"]) for row in rows],
                accuracy,
                marker="o",
                markersize=3,
                clip_on=False,
                label=label,
                **style,
            )
            over_gflops.plot(
                [float(row["gflops"]) for row in rows], accuracy, marker="o", markersize=3, **style
            )
    number_split_blocks(over_split, splits)


def _lines(table: PointTable, readout: str, parts: int) -> Iterator[tuple[str, list[Row]]]:
    for orientation in _LINES:
        rows = table.where(readout=readout, parts=parts, orientation=orientation)
        if rows:
            yield orientation, sorted(rows, key=lambda row: int(row["split_block"]))


def _explain(drawn: Figure, axes: Axes) -> None:
    legend_below(drawn, axes, columns=5)

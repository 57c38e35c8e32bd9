"""The picture of accuracy after every part."""

from __future__ import annotations

from pathlib import Path

from matplotlib.ticker import MaxNLocator

from agents.studies.figures import figure, legend_below, scenes_title, shades
from agents.studies.table import PointTable
from encoders.flops.count import FLOPS_CONVENTION


def draw_sequential(table: PointTable, folder: Path) -> None:
    """Draws `sequential.png` and `sequential.svg`: a row for every order, a line for every K.

    Args:
        table: Of the study `sequential`.
        folder: Where the pictures go.
    """
    orders = [str(each) for each in table.values("order")]
    splits = sorted(int(each) for each in table.values("split_block"))
    first = table.rows[0]
    title = scenes_title(first)
    with figure(folder, "sequential", title, (9.6, 0.9 + 3.1 * len(orders))) as drawn:
        axes = drawn.subplots(len(orders), 2, sharey=True, squeeze=False)
        for row, order in zip(axes, orders, strict=True):
            for color, split in zip(shades(len(splits)), splits, strict=True):
                lines = table.where(order=order, split_block=split)
                accuracy = [100 * float(line["accuracy"]) for line in lines]
                style = {"color": color, "marker": "o", "markersize": 2.5, "linewidth": 1.4}
                row[0].plot([int(line["part"]) for line in lines], accuracy, **style)
                row[1].plot(
                    [float(line["gflops"]) for line in lines],
                    accuracy,
                    label=f"K = {split}",
                    **style,
                )
            row[0].set_title(f"order: {order}", fontsize=9.5, loc="left")
            row[0].set_ylabel("accuracy, %")
            row[0].xaxis.set_major_locator(MaxNLocator(integer=True))
            row[1].set_xlim(left=0)
        axes[-1][0].set_xlabel("parts seen")
        axes[-1][1].set_xlabel(f"GFLOPs so far ({FLOPS_CONVENTION})")
        legend_below(drawn, axes[0][1], columns=8)

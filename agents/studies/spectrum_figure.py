"""The picture of frequencies and variance over depth and K."""

from __future__ import annotations

from pathlib import Path

from matplotlib.ticker import MaxNLocator

from agents.studies.figures import figure, legend_below, scenes_title, shades
from agents.studies.table import PointTable


def draw_spectrum(table: PointTable, folder: Path) -> None:
    """Draws `spectrum.png` and `spectrum.svg`.

    Args:
        table: Of the study `spectrum`.
        folder: Where the pictures go.
    """
    splits = sorted(int(each) for each in table.values("split_block"))
    highest = max(float(each) for each in table.values("frequency"))
    last = max(int(each) for each in table.values("block"))
    first = table.rows[0]
    title = scenes_title(first, parts=True)
    with figure(folder, "spectrum", title, (11.5, 4.2)) as drawn:
        over_depth, variance, spectrum = drawn.subplots(1, 3)
        for color, split in zip(shades(len(splits)), splits, strict=True):
            rows = table.where(split_block=split, frequency=highest)
            blocks = [int(row["block"]) for row in rows]
            style = {"color": color, "marker": "o", "markersize": 3, "linewidth": 1.4}
            amplitude = [float(row["log_amplitude"]) for row in rows]
            over_depth.plot(blocks, amplitude, label=f"K = {split}", **style)
            variance.plot(blocks, [float(row["variance"]) for row in rows], **style)
            final = table.where(split_block=split, block=last)
            spectrum.plot(
                [float(row["frequency"]) for row in final],
                [float(row["log_amplitude"]) for row in final],
                **style,
            )
        over_depth.set_title("log amplitude, highest frequency", fontsize=9.5, loc="left")
        variance.set_title("variance over positions", fontsize=9.5, loc="left")
        variance.set_ylim(bottom=0)
        spectrum.set_title("log amplitude after the last block", fontsize=9.5, loc="left")
        spectrum.set_xlabel("frequency, units of pi per patch")
        for axis in (over_depth, variance):
            axis.set_xlabel("after block")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend_below(drawn, over_depth, columns=8)

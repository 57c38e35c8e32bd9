"""The picture of several encoders over K."""

from __future__ import annotations

from pathlib import Path

from matplotlib.ticker import MaxNLocator, PercentFormatter

from agents.studies.figures import COLORS, MARKERS, figure, legend_below, short_name
from agents.studies.table import PointTable


def draw_curves(table: PointTable, folder: Path) -> None:
    """Draws `curves.png` and `curves.svg`: over K, and after every part.

    Args:
        table: Of the study `curves`.
        folder: Where the pictures go.
    """
    encoders = [str(each) for each in table.values("encoder")]
    first = table.rows[0]
    title = (
        f"{first['n']} {first['scenes']} scenes ({first['split']}) in {first['parts']} parts, "
        f"readout: {first['readout']}"
    )
    with figure(folder, "curves", title, (9.6, 4.3 + 0.2 * len(encoders))) as drawn:
        over_split, over_parts = drawn.subplots(1, 2, sharey=True)
        for at, encoder in enumerate(encoders):
            color, marker = COLORS[at % len(COLORS)], MARKERS[at % len(MARKERS)]
            for axis, curve in ((over_split, "grid"), (over_parts, "sequential")):
                rows = table.where(encoder=encoder, curve=curve)
                places = [
                    int(row["split_block"]) / int(row["depth"])
                    if curve == "grid"
                    else int(row["part"])
                    for row in rows
                ]
                mean, low, high = (
                    [100 * float(row[name]) for row in rows]
                    for name in ("accuracy", "ci_lo", "ci_hi")
                )
                label = short_name(encoder)
                axis.plot(places, mean, color=color, marker=marker, markersize=4, label=label)
                axis.fill_between(places, low, high, color=color, alpha=0.14, linewidth=0)
        over_split.set_xlabel("split block K, share of the depth")
        over_split.xaxis.set_major_formatter(PercentFormatter(1.0))
        over_split.set_ylabel("accuracy, %")
        over_parts.set_xlabel("parts seen")
        over_parts.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend_below(drawn, over_split, columns=3)

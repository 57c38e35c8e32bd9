"""The picture of AME on a masked autoencoder, untouched and fine-tuned."""

from __future__ import annotations

from pathlib import Path

from matplotlib.ticker import MaxNLocator

from agents.reports.styles import agent_styles
from agents.studies.figures import figure, legend_below, scenes_title
from agents.studies.table import PointTable


def draw_emergent(table: PointTable, folder: Path) -> None:
    """Draws `emergent.png` and `emergent.svg`: a row for each encoder, a column for each K.

    Args:
        table: Of the study `emergent`.
        folder: Where the pictures go.
    """
    splits = sorted(int(each) for each in table.values("split_block"))
    kinds = [str(each) for each in table.values("weights")]
    agents = [str(each) for each in table.values("agent")]
    first = table.rows[0]
    title = f"{scenes_title(first)}: a head only"
    size = (1.4 + 4.0 * len(splits), 1.0 + 2.9 * len(kinds))
    with figure(folder, "emergent", title, size) as drawn:
        axes = drawn.subplots(len(kinds), len(splits), sharex=True, sharey=True, squeeze=False)
        for line, kind in zip(axes, kinds, strict=True):
            for axis, split in zip(line, splits, strict=True):
                for style in agent_styles((agent, False) for agent in agents):
                    rows = table.where(weights=kind, split_block=split, agent=style.label)
                    at = [int(row["glimpse"]) for row in rows]
                    mean, low, high = (
                        [100 * float(row[name]) for row in rows]
                        for name in ("accuracy", "ci_lo", "ci_hi")
                    )
                    axis.plot(at, mean, **style.line)
                    axis.fill_between(at, low, high, color=style.color, alpha=0.14, linewidth=0)
                axis.set_title(f"{kind}, K = {split}", fontsize=9.5, loc="left")
                axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            line[0].set_ylabel("accuracy, %")
        for axis in axes[-1]:
            axis.set_xlabel("glimpses")
        legend_below(drawn, axes[0][0])

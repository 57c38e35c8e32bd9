"""The picture of encoders that are fine-tuned in pairs."""

from __future__ import annotations

from pathlib import Path

from agents.studies.figures import COLORS, figure, legend_below, short_name
from agents.studies.table import PointTable
from agents.studies.training import RECIPE_TITLES, RECIPES


def draw_transfer(table: PointTable, folder: Path) -> None:
    """Draws `transfer.png` and `transfer.svg`: a panel for every point, a pair for every start.

    Args:
        table: Of the study `transfer`.
        folder: Where the pictures go.
    """
    points = [str(each) for each in table.values("point")]
    encoders = [str(each) for each in table.values("encoder")]
    first = table.rows[0]
    title = f"Fine-tuned on {first['scenes']}, {first['n']} scenes ({first['split']})"
    with figure(folder, "transfer", title, (3.4 * len(points), 2.4 + 0.5 * len(encoders))) as drawn:
        axes = drawn.subplots(1, len(points), sharey=True, sharex=True)
        for axis, point in zip(axes, points, strict=True):
            for color, recipe, lift in zip(COLORS, RECIPES, (-0.12, 0.12), strict=False):
                for at, encoder in enumerate(encoders):
                    rows = table.where(encoder=encoder, recipe=recipe, point=point)
                    for row in rows:  # of every seed
                        mean, low, high = (
                            100 * float(row[name]) for name in ("accuracy", "ci_lo", "ci_hi")
                        )
                        axis.errorbar(
                            mean,
                            at + lift,
                            xerr=[[mean - low], [high - mean]],
                            fmt="o",
                            color=color,
                            markersize=4,
                            linewidth=1,
                            label=RECIPE_TITLES[recipe] if at == 0 and row is rows[0] else None,
                        )
            axis.set_title(f"(K, M) = {point}", fontsize=9.5, loc="left")
            axis.set_xlabel("accuracy, %")
        axes[0].set_yticks(range(len(encoders)), [short_name(each) for each in encoders])
        axes[0].set_ylim(len(encoders) - 0.5, -0.5)
        legend_below(drawn, axes[0], columns=2)

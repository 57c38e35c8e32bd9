"""Pictures of studies, as PNG and SVG, drawn without a display."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from agents.reports.figures import STYLE
from agents.studies.table import Row
from encoders.support.files import replacing

# Okabe & Ito, told apart with any kind of colour vision; without black and the pale yellow.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#767676")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")


@contextlib.contextmanager
def figure(folder: Path, name: str, title: str, size: tuple[float, float]) -> Iterator[Figure]:
    """A figure that is written as `name.png` and `name.svg` once it is drawn.

    Args:
        folder: Where.
        name: Of the files.
        title: Above everything.
        size: Width and height in inches.
    """
    # Names of things in an SVG are hashes; without a salt they differ every time.
    with rc_context({**STYLE, "svg.hashsalt": name}):
        drawn = Figure(figsize=size, dpi=150, layout="constrained")
        FigureCanvasAgg(drawn)
        yield drawn
        drawn.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left")
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            with replacing(folder / f"{name}.{kind}") as partial:
                drawn.savefig(partial, format=kind, metadata=metadata)


def short_name(encoder: object) -> str:
    """What a title calls an encoder: its name, of a path the last part."""
    name = str(encoder).rstrip("/")
    is_path = name.startswith(("/", ".", "~")) or name.count("/") > 1
    return name.rpartition("/")[2] if is_path else name


def scenes_title(row: Row, *, parts: bool = False) -> str:
    """Encoder and scenes of a table's row, for the title of a picture.

    Args:
        row: Of any study.
        parts: Whether to say in how many parts the images are.
    """
    words = f"{short_name(row['encoder'])} on {row['n']} {row['scenes']} scenes ({row['split']})"
    return f"{words} in {row['parts']} parts" if parts else words


def shades(count: int) -> list[tuple[float, ...]]:
    """Colours of an ordered quantity, such as K or M, from dark to light."""
    colors = matplotlib.colormaps["viridis"]
    return [colors(0.92 * at / max(count - 1, 1)) for at in range(count)]


def number_split_blocks(axes: Axes, splits: Sequence[int]) -> None:
    """Writes K along the horizontal axis, whole numbers alone."""
    axes.set_xlabel("split block K")
    axes.set_xlim(min(splits), max(max(splits), min(splits) + 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def legend_below(drawn: Figure, axes: Axes, columns: int = 5, title: str | None = None) -> None:
    """The legend of some axes, below all."""
    handles, labels = axes.get_legend_handles_labels()
    drawn.legend(
        handles,
        labels,
        loc="outside lower left",
        ncols=columns,
        frameon=False,
        title=title,
        alignment="left",
        fontsize=8.5,
    )

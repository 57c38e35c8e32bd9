"""Pictures of where the class token looks, head by head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from torch import Tensor

from encoders.analysis.attention_maps import MASS, mass_mask
from encoders.support.files import replacing

_STYLE: dict[Any, Any] = {"font.family": "DejaVu Sans", "font.size": 8.5}
_CELL = 1.5  # inches of the shorter side of a picture
_COLOURS = "inferno"
_OUTLINE = "#39d0ff"


def attention_figure(
    images: np.ndarray,
    maps: Tensor,
    *,
    title: str,
    names: Sequence[str] | None = None,
    mass: float = MASS,
) -> Figure:
    """Draws a row per image: the image, every head's map, and the mean of the heads.

    Colours are scaled to each map's own maximum. Outlined are the fewest patches that carry `mass`
    of the map; patches that were not seen are grey.

    Args:
        images: uint8 `[B, H, W, 3]`.
        maps: float `[B, heads, grid_h, grid_w]`, as `encoders.analysis.attention_maps` has them.
        title: Line above.
        names: What the images are called; None = nothing.
        mass: Share of a map's mass to outline.

    Returns:
        The figure, which belongs to no window.

    Raises:
        ValueError: Images and maps of different numbers.
    """
    if len(images) != len(maps) or not len(images):
        raise ValueError(
            f"{len(maps)} maps for {len(images)} images; expected one of each at least"
        )
    cells = torch.cat([maps, maps.mean(1, keepdim=True)], dim=1).float()
    masks = mass_mask(cells, mass)
    lines, columns = len(images), 1 + cells.shape[1]
    height, width = images.shape[1:3]
    scale = _CELL / min(height, width)
    size = columns * width * scale + 0.3, lines * (height * scale + 0.1) + 0.6
    with rc_context(_STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
        figure = Figure(figsize=size, dpi=130, layout=layout)
        FigureCanvasAgg(figure)
        grid = figure.subplots(lines, columns, squeeze=False)
        heads = [f"head {number}" for number in range(1, maps.shape[1] + 1)]
        for line, axes_of_line in enumerate(grid):
            axes_of_line[0].imshow(images[line])
            axes_of_line[0].set_ylabel("" if names is None else names[line])
            for axes, values, mask in zip(axes_of_line[1:], cells[line], masks[line], strict=True):
                _draw_map(axes, values.numpy(), mask.numpy(), (height, width))
            for axes in axes_of_line:
                axes.set_xticks([])
                axes.set_yticks([])
        for axes, name in zip(grid[0], ["image", *heads, "mean"], strict=True):
            axes.set_title(name, fontsize=8.5)
        outlined = f"outlined: {mass:.0%} of the mass"
        figure.suptitle(f"{title} ({outlined})", x=0.01, ha="left", fontsize=10)
    return figure


def draw_attention(
    images: np.ndarray,
    maps: Tensor,
    path: Path,
    *,
    title: str,
    names: Sequence[str] | None = None,
    mass: float = MASS,
) -> None:
    """Draws as `attention_figure` into a PNG, which appears whole or not at all."""
    figure = attention_figure(images, maps, title=title, names=names, mass=mass)
    with replacing(path) as partial, rc_context(_STYLE):
        figure.savefig(partial, format="png", metadata={"Software": None})


def _draw_map(axes: Axes, values: np.ndarray, mask: np.ndarray, size: tuple[int, int]) -> None:
    """One map over an image's area, and the outline of its mask."""
    height, width = size
    axes.set_facecolor("#9a9a9a")
    axes.imshow(
        np.ma.masked_invalid(values),
        cmap=_COLOURS,
        vmin=0,
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        interpolation="nearest",
    )
    rows, columns = (
        np.linspace(-0.5, side - 0.5, count + 1)
        for side, count in zip(size, mask.shape, strict=True)
    )
    padded = np.pad(mask, 1)
    for row, column in np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1]):
        axes.plot(columns[[column, column + 1]], rows[[row, row]], color=_OUTLINE, lw=0.9)
    for row, column in np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1]):
        axes.plot(columns[[column, column]], rows[[row, row + 1]], color=_OUTLINE, lw=0.9)

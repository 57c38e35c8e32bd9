"""Exact recycling for bodies of local layers: after a glimpse only what it reaches is run again.

Every layer's output is kept. A glimpse changes a window of the canvas; of each layer the window of
the output that any changed cell reaches is computed from exactly the cells that it is made of,
layer by layer, and all other cells stay as they are. Nothing is approximated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.families.canvas.body import CanvasBody, MapLayer
from encoders.families.canvas.windows import Window, whole

Crop = Callable[[int, Window], Tensor]


def changed_window(patch_ids: np.ndarray, columns: int) -> Window | None:
    """The smallest window of the grid that holds all patches of a glimpse; None for padding alone.

    Args:
        patch_ids: int64 `[n]`; -1 = padding.
        columns: Of the grid.
    """
    ids = patch_ids[patch_ids >= 0]
    if not len(ids):
        return None
    rows, places = ids // columns, ids % columns
    return Window(int(rows.min()), int(places.min()), int(rows.max()) + 1, int(places.max()) + 1)


def repair(
    body: CanvasBody,
    maps: list[Tensor],
    crop: Crop,
    changed: Sequence[Window | None],
    image_size: tuple[int, int],
    patch_size: int,
) -> np.ndarray:
    """Brings the maps of all rows up to date, in place.

    Args:
        body: Of local layers alone.
        maps: Outputs of its layers, each `[B, C, h, w]`.
        crop: Gives the pixels `[3, h, w]` of a window of a row's canvas.
        changed: Of each row the window of pixels that changed; None = none did.
        image_size: Height and width of a canvas.
        patch_size: Side of a patch in pixels.

    Returns:
        Multiply-accumulates of each row, int64 `[2, B]`: of layers that see patches one by one, and
        of all others.
    """
    spent = np.zeros((2, len(changed)), np.int64)
    windows, size = list(changed), image_size
    for number, (layer, mixed) in enumerate(zip(body.steps, body.mixing(patch_size), strict=True)):
        if number:
            crop = _crop_of(maps[number - 1])
        out_size = layer.footprint.output_size(size)
        groups: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for row, window in enumerate(windows):
            if window is not None:
                reached = layer.footprint.reach(window, out_size)
                windows[row] = reached if reached.cells else None
                if reached.cells:
                    groups[reached.size].append(row)
        for reached_size, rows in groups.items():
            # With the cells around it a window may take more than the whole map does.
            window_macs, whole_macs = layer.macs(*reached_size, alone=True), layer.macs(*out_size)
            alone = reached_size != out_size and window_macs < whole_macs
            _run(layer, maps[number], crop, [(row, windows[row]) for row in rows], size, alone)
            spent[int(mixed), rows] += window_macs if alone else whole_macs
        size = out_size
    return spent


def _run(
    layer: MapLayer,
    target: Tensor,
    crop: Crop,
    places: Sequence[tuple[int, Window | None]],
    size: tuple[int, int],
    alone: bool,
) -> None:
    """Computes windows of one size, one in each of some rows, and writes them to the map."""
    if not alone:
        everything = whole(size)
        rows = [row for row, _ in places]
        values = layer(torch.stack([crop(row, everything) for row in rows]))
        target[torch.tensor(rows, device=target.device)] = values.to(target.dtype)
        return
    crops, inside = [], []
    for row, window in places:
        assert window is not None  # rows without one are in no group
        needed = layer.footprint.needs(window)
        there = needed.within(size)
        border = (
            there.left - needed.left,
            needed.right - there.right,
            there.top - needed.top,
            needed.bottom - there.bottom,
        )
        pixels = crop(row, there)
        crops.append(F.pad(pixels, border) if any(border) else pixels)
        if layer.asks_inside:
            mask = torch.ones(1, *there.size, dtype=torch.bool, device=target.device)
            inside.append(F.pad(mask, border) if any(border) else mask)
    values = layer.run(torch.stack(crops), torch.stack(inside) if inside else None)
    values = values.to(target.dtype)
    for (row, window), repaired in zip(places, values, strict=True):
        assert window is not None
        top, left, bottom, right = window
        target[row, :, top:bottom, left:right] = repaired


def _crop_of(source: Tensor) -> Crop:
    def crop(row: int, window: Window) -> Tensor:
        top, left, bottom, right = window
        return source[row, :, top:bottom, left:right]

    return crop

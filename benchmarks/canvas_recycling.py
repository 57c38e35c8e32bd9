"""What repairing a canvas costs beside looking at the whole of it, glimpse by glimpse.

Usage: python benchmarks/canvas_recycling.py [--encoders convmixer alternet riformer-patches]

Glimpses of SIDE x SIDE patches without overlap. A step is measured over and over from a copy of the
state that it begins with, once with `recycle=True` and once without; the two take turns in one
process, and the table holds medians. Below it: from which glimpse on a repair is no longer the
faster of the two, how many layers it runs in part, and after how many glimpses the repairs together
have cost more than one look at the whole canvas, which is what matters to those who want no belief
in between.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoders.families.canvas.build import build_canvas_encoder
from encoders.families.canvas.config import CanvasConfig
from encoders.families.canvas.model import CanvasEncoder
from encoders.families.canvas.windows import Window
from encoders.storage import load_encoder
from encoders.support.files import replacing

BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "convmixer": ("convmixer", {}),
    "convmixer-k3": ("convmixer", {"kernel_size": 3, "depth": 5, "width": 400}),
    "alternet": ("alternet", {}),
    "riformer-cells": ("riformer", {"norm": "channel"}),
    "riformer-patches": ("riformer", {"norm": "channel", "embedding": "patches"}),
}
COLUMNS = (
    *("encoder", "side", "glimpse", "gmacs_recycled", "gmacs_whole", "ms_recycled", "ms_whole"),
    *("bytes_recycled", "bytes_whole"),
)


def open_encoder(name: str, image_size: tuple[int, int]) -> CanvasEncoder:
    """One of `BODIES` with random weights, or one in a folder."""
    if name not in BODIES:
        return load_encoder(name).resized(image_size)
    family, body = BODIES[name]
    return build_canvas_encoder(family, CanvasConfig(name, body, image_size, 16, num_classes=26))


def glimpse_ids(grid: tuple[int, int], side: int, number: int, seed: int) -> torch.Tensor:
    """Random fields of a tiling, each at most once, int64 `[number, side**2]`."""
    rows, columns = (length // side for length in grid)
    ids = np.arange(grid[0] * grid[1]).reshape(grid)[: rows * side, : columns * side]
    tiles = ids.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side**2)
    return torch.from_numpy(np.random.default_rng(seed).permutation(tiles)[:number])


def measure(
    encoder: CanvasEncoder, name: str, side: int, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """A row for every glimpse."""
    ids = glimpse_ids(encoder.grid, side, options.glimpses, options.seed)
    patch = encoder.config.patch_size
    generator = torch.Generator().manual_seed(options.seed)
    patches = torch.randn(*ids.shape, 3, patch, patch, generator=generator)
    patches = patches[:, None].expand(-1, options.rows, -1, -1, -1, -1)
    numbers = ids[:, None].expand(-1, options.rows, -1)
    states = {True: encoder.init_state(options.rows), False: encoder.init_state(options.rows)}
    table = []
    for step in range(len(ids)):
        row: dict[str, Any] = {"encoder": name, "side": side, "glimpse": step + 1}
        before = {recycle: state.fork() for recycle, state in states.items()}
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(options.rounds):
            for recycle in seconds:
                state = before[recycle].fork()
                begun = time.perf_counter()
                encoder.observe(patches[step], numbers[step], state, recycle=recycle)
                seconds[recycle].append(time.perf_counter() - begun)
        for recycle, word in ((True, "recycled"), (False, "whole")):
            observed = encoder.observe(
                patches[step], numbers[step], states[recycle], recycle=recycle
            )
            row[f"gmacs_{word}"] = float(observed.cost.spent.total.mean()) / 1e9
            row[f"ms_{word}"] = 1e3 * statistics.median(seconds[recycle])
            row[f"bytes_{word}"] = states[recycle].num_bytes // options.rows
        table.append(row)
    return table


def layers_in_part(encoder: CanvasEncoder, side: int) -> int:
    """Layers whose repair after a glimpse in the middle is not the whole map."""
    size, patch = encoder.config.image_size, encoder.config.patch_size
    top, left = ((length // patch - side) // 2 for length in size)
    window = Window(top, left, top + side, left + side).scaled(patch)
    count = 0
    for layer, out in zip(encoder.body.steps, encoder.body.sizes(size), strict=True):
        window = layer.footprint.reach(window, out)
        count += window.size != out
    return count


def conclude(rows: list[dict[str, Any]], encoder: CanvasEncoder) -> str:
    """What the table says of one encoder and one size of glimpses, the first look apart."""
    first, *later = rows
    slower = [row["glimpse"] for row in later if row["ms_recycled"] >= row["ms_whole"]]
    together, spent = None, 0.0
    for row in later:
        spent += row["gmacs_recycled"]
        if together is None and spent > row["gmacs_whole"]:
            together = row["glimpse"] - 1
    layers = len(encoder.body.layers)
    shares = [sum(row[f"{unit}_recycled"] for row in later) for unit in ("gmacs", "ms")]
    wholes = [sum(row[f"{unit}_whole"] for row in later) for unit in ("gmacs", "ms")]
    gmacs, ms = (100 * a / b for a, b in zip(shares, wholes, strict=True))
    return (
        f"{first['encoder']}, glimpses of {first['side']}x{first['side']} patches: "
        f"{layers_in_part(encoder, first['side'])} of {layers} layers in part; a repair is "
        f"{gmacs:.0f} % of the multiply-accumulates and {ms:.0f} % of the time of the whole; "
        f"slower than the whole from glimpse {min(slower) if slower else 'none'} on; "
        f"{'more than all glimpses' if together is None else together} repairs cost one whole"
    )


def main() -> None:
    """Measures, prints a table and writes it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--encoders", nargs="+", default=[*BODIES], help=f"{', '.join(BODIES)}, or folders"
    )
    parser.add_argument("--image-size", type=int, nargs=2, default=(128, 256))
    parser.add_argument("--sides", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--glimpses", type=int, default=8, help="of an episode")
    parser.add_argument("--rows", type=int, default=1, help="episodes side by side")
    parser.add_argument("--rounds", type=int, default=9, help="measurements of every step")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="CSV file to write")
    parser.add_argument("--smoke", action="store_true", help="few short steps of small scenes")
    options = parser.parse_args()
    if options.smoke:
        options.image_size, options.sides = (64, 128), [1]
        options.glimpses, options.rounds = 3, 1
    torch.set_num_threads(options.threads)
    table, conclusions = [], []
    for name in options.encoders:
        encoder = open_encoder(name, tuple(options.image_size))
        for side in options.sides:
            rows = measure(encoder, name, side, options)
            table += rows
            conclusions.append(conclude(rows, encoder))
    print(" ".join(f"{name:>16}" for name in COLUMNS))
    for row in table:
        cells = [f"{each:.4g}" if isinstance(each, float) else str(each) for each in row.values()]
        values = dict(zip(row, cells, strict=True))
        print(" ".join(f"{values[name]:>16}" for name in COLUMNS))
    print("\n".join(conclusions))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        with replacing(options.output) as partial, partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(table)


if __name__ == "__main__":
    main()

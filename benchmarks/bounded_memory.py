"""What a bounded memory of tokens saves: FLOPs, time and memory of a step late in a long episode.

Usage: python benchmarks/bounded_memory.py [--encoder tore-nano] [--max-tokens 0 64 256]

Glimpses of 2x2 patches without overlap in scenes of 512x1024 pixels. A step is measured over and
over from a copy of the state that it begins with; the bounds take turns in one process, and the
table holds medians.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoders import GlimpseEncoder, create_encoder
from encoders.support.files import replacing

PER_SIDE = 2
COLUMNS = ("encoder", "split_block", "max_tokens", "glimpse", "tokens", "gflops", "ms", "bytes")


def glimpse_ids(grid: tuple[int, int], number: int, seed: int) -> torch.Tensor:
    """Random fields of a tiling, each at most once, int64 `[number, 4]`."""
    rows, columns = grid
    ids = np.arange(rows * columns).reshape(
        rows // PER_SIDE, PER_SIDE, columns // PER_SIDE, PER_SIDE
    )
    tiles = ids.swapaxes(1, 2).reshape(-1, PER_SIDE**2)
    return torch.from_numpy(np.random.default_rng(seed).permutation(tiles)[:number])


def states_before(
    encoder: GlimpseEncoder, patches: torch.Tensor, ids: torch.Tensor, steps: list[int], most: int
) -> dict[int, Any]:
    """What is remembered before some glimpses, by their number from 1."""
    state, found = encoder.init_state(1), {}
    for step in range(max(steps)):
        if step + 1 in steps:
            found[step + 1] = state.fork()
        encoder.observe(
            patches[step], ids[step : step + 1], state, outputs=("latent",), max_tokens=most
        )
    return found


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for every bound and glimpse."""
    size = tuple(options.image_size)
    pretrained = False if options.encoder.startswith("timm/") else None
    encoder = create_encoder(
        options.encoder, image_size=size, pretrained=pretrained, device=options.device
    )
    steps = sorted(options.glimpses)
    ids = glimpse_ids(encoder.grid, max(steps), options.seed)
    if len(ids) < max(steps):
        sys.exit(f"{max(steps)} glimpses do not fit into {encoder.grid} patches side by side")
    side, generator = encoder.config.patch_size, torch.Generator().manual_seed(options.seed)
    patches = torch.randn(len(ids), 1, PER_SIDE**2, 3, side, side, generator=generator)
    patches = patches.to(encoder.device)
    states = {
        (most, step): state
        for most in options.max_tokens
        for step, state in states_before(encoder, patches, ids, steps, most).items()
    }
    seconds: dict[tuple[int, int], list[float]] = {key: [] for key in states}
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    sync = torch.cuda.synchronize if encoder.device.type == "cuda" else lambda: None
    # The thread's own processor time, which other programs hardly change.
    alone = torch.get_num_threads() == 1 and encoder.device.type == "cpu"
    clock = time.thread_time if alone else time.perf_counter
    for repetition in range(options.rounds + 1):
        for (most, step), state in states.items():
            fresh = state.fork()
            sync()
            start = clock()
            observed = encoder.observe(
                patches[step - 1],
                ids[step - 1 : step],
                fresh,
                outputs=("logits",) if "logits" in encoder.outputs else ("latent",),
                max_tokens=most,
            )
            sync()
            if repetition:
                seconds[most, step].append(clock() - start)
            rows[most, step] = {
                "encoder": encoder.config.name,
                "split_block": encoder.default_split_block,
                "max_tokens": most or "none",
                "glimpse": step,
                "tokens": fresh.tokens.item(),
                "gflops": f"{np.sum(observed.cost.spent.total) / 1e9:.4f}",
                "bytes": fresh.num_bytes,
            }
    for key, times in seconds.items():
        rows[key]["ms"] = f"{1e3 * statistics.median(times):.2f}"
    return list(rows.values())


def main() -> None:
    """Measures, prints a table and writes it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="tore-nano", help="name or folder")
    parser.add_argument("--image-size", type=int, nargs=2, default=(512, 1024))
    parser.add_argument("--glimpses", type=int, nargs="+", default=[64, 256])
    parser.add_argument(
        "--max-tokens", type=int, nargs="+", default=[0, 64, 256], help="0 = no bound"
    )
    parser.add_argument("--rounds", type=int, default=9, help="measurements of every step")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="CSV file to write")
    parser.add_argument("--smoke", action="store_true", help="few short steps of small scenes")
    options = parser.parse_args()
    if options.smoke:
        options.image_size, options.glimpses = (64, 128), [3, 6]
        options.max_tokens, options.rounds = [0, 8], 1
    torch.set_num_threads(options.threads)
    rows = measure(options)
    print(" ".join(f"{name:>12}" for name in COLUMNS))
    for row in rows:
        print(" ".join(f"{row[name]!s:>12}" for name in COLUMNS))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        with replacing(options.output) as partial, partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()

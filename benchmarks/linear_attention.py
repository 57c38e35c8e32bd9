"""What angular attention costs beside softmax attention, by how much was seen before.

Usage: python benchmarks/linear_attention.py [--cached 8 64 256 1024] [--width 192] [--depth 12]

Random encoders of one shape that differ in their attention alone take in a glimpse of 2x2 patches,
after 8 to 1,024 patches, in scenes of 512x1024 pixels. K is two thirds of the depth, where the
aggregator reads all tokens at every step, and depth - 1, where angular attention needs a running
sum alone. A step is measured over and over from a copy of the state that it begins with; the
encoders take turns in one process, and the table holds medians.
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

from encoders import EncoderConfig, build_encoder
from encoders.support.files import replacing

PATCH_SIZE, GLIMPSE = 16, 4
COLUMNS = ("attention", "order", "split_block", "cached", "mmacs", "mmacs_of_attention", "ms")
KINDS = (("softmax", "none"), ("angular", "grid"), ("angular", "arrival"))


def make_encoder(options: argparse.Namespace, attention: str, order: str) -> Any:
    """A random encoder without decoder."""
    vit = {"embed_dim": options.width, "depth": options.depth, "num_heads": options.heads}
    if attention == "angular":
        vit |= {"attention": attention, "attention_order": order}
    size = tuple(options.image_size)
    config = EncoderConfig(attention, vit, size, PATCH_SIZE, num_classes=26)
    return build_encoder(config, options.seed).to(options.device)


def attention_cost(encoder: Any, tokens: int, split: int) -> int:
    """Multiply-accumulates of a step's aggregator beyond its projections and MLPs."""
    without = sum(
        layer.in_features * layer.out_features
        for layer in encoder.backbone.blocks[0].modules()
        if isinstance(layer, torch.nn.Linear)
    )
    total = encoder.flops(GLIMPSE, tokens, split, ("tokens",)).aggregator
    blocks = encoder.depth - split
    return total - blocks * without * (1 + tokens + GLIMPSE)


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for every attention, K and number of cached tokens."""
    encoders = {kind: make_encoder(options, *kind) for kind in KINDS}
    splits = sorted({2 * options.depth // 3, options.depth - 1})
    grid = encoders[KINDS[0]].grid
    generator = torch.Generator().manual_seed(options.seed)
    order = torch.randperm(grid[0] * grid[1], generator=generator)
    most = max(options.cached) + GLIMPSE
    shape = (1, most, 3, PATCH_SIZE, PATCH_SIZE)
    patches = torch.randn(shape, generator=generator).to(options.device)
    ids = order[None, :most]
    states = {}
    for kind, encoder in encoders.items():
        for split in splits:
            for cached in options.cached:
                state = encoder.init_state(1, most)
                if cached:  # as one glimpse, for how it came does not matter here
                    encoder.observe(patches[:, :cached], ids[:, :cached], state, split, ("logits",))
                states[kind, split, cached] = state
    seconds: dict[Any, list[float]] = {key: [] for key in states}
    rows: dict[Any, dict[str, Any]] = {}
    sync = torch.cuda.synchronize if options.device.startswith("cuda") else lambda: None
    # The thread's own processor time, which other programs hardly change.
    alone = torch.get_num_threads() == 1 and options.device == "cpu"
    clock = time.thread_time if alone else time.perf_counter
    for repetition in range(options.rounds + 1):
        for key, state in states.items():
            kind, split, cached = key
            encoder, fresh = encoders[kind], state.fork()
            part = slice(cached, cached + GLIMPSE)
            sync()
            start = clock()
            observed = encoder.observe(patches[:, part], ids[:, part], fresh, split, ("logits",))
            sync()
            if repetition:
                seconds[key].append(clock() - start)
            rows[key] = {
                "attention": kind[0],
                "order": kind[1],
                "split_block": split,
                "cached": cached,
                "mmacs": f"{np.sum(observed.cost.spent.total) / 1e6:.2f}",
                "mmacs_of_attention": f"{attention_cost(encoder, cached, split) / 1e6:.2f}",
            }
    for key, times in seconds.items():
        rows[key]["ms"] = f"{1e3 * statistics.median(times):.2f}"
    return [rows[key] for key in sorted(rows, key=lambda key: (key[1], key[2]))]


def main() -> None:
    """Measures, prints a table and writes it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--image-size", type=int, nargs=2, default=(512, 1024))
    parser.add_argument("--cached", type=int, nargs="+", default=[8, 64, 256, 1024])
    parser.add_argument("--rounds", type=int, default=15, help="measurements of every step")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="CSV file to write")
    parser.add_argument("--smoke", action="store_true", help="few steps of small encoders")
    options = parser.parse_args()
    if options.smoke:
        options.width, options.depth, options.image_size = 48, 3, (64, 128)
        options.cached, options.rounds = [4, 16], 1
    torch.set_num_threads(options.threads)
    rows = measure(options)
    print(" ".join(f"{name:>18}" for name in COLUMNS))
    for row in rows:
        print(" ".join(f"{row[name]!s:>18}" for name in COLUMNS))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        with replacing(options.output) as partial, partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()

"""What the encoders cost in time and memory, always beside something to compare with.

Usage: python benchmarks/encoder_speed.py [--parts memory overhead recycling attention precision
    last_block one_row]

The two sides of a comparison take turns in one process; the table holds medians and the median of
the quotients of neighbouring runs. On one thread the clock is that thread's processor time, which
other programs hardly change.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import timm
import torch

from ave_env.scenes.synthetic.panoramas import SyntheticScenes
from encoders import GlimpseEncoder, create_encoder
from encoders.layers.patches import patchify
from encoders.layers.vit import set_fused_attention
from encoders.support.precision import autocast, cast_for_inference, resolve_precision
from encoders.training.glimpses import random_glimpses

NANO, BASE = "tore-nano", "timm/vit_base_patch16_224"
IMAGE_SIZE = (128, 256)
GLIMPSES, PER_GLIMPSE = 8, 4
FLOAT32, BFLOAT16 = torch.float32, torch.bfloat16

Contestant = Callable[[], object]


def open_encoder(name: str, device: str) -> GlimpseEncoder:
    """tore-nano as shipped, and a ViT-B with random weights, for the same scenes."""
    only_shape = None if name == NANO else False
    return create_encoder(name, image_size=IMAGE_SIZE, pretrained=only_shape, device=device)


class Episode:
    """Eight glimpses of 2x2 patches without overlap, in every row.

    Args:
        encoder: Encodes them.
        rows: Rows.
        dtype: Of matrix products.
        once: Whether weights are cast once (as environments do) or by autocast at every call.
        outputs: Parts of the belief after each glimpse.
        packed: Whether to lay weights out for few rows, as environments of few rows do.
    """

    def __init__(
        self,
        encoder: GlimpseEncoder,
        rows: int,
        *,
        dtype: torch.dtype = FLOAT32,
        once: bool = True,
        outputs: tuple[str, ...] = ("latent", "logits"),
        packed: bool = False,
    ) -> None:
        self.encoder = encoder
        if once:
            self.encoder = cast_for_inference(encoder, dtype, rows if packed else None)
        self.dtype = dtype
        self.outputs = outputs
        side = encoder.config.patch_size
        size = (rows, GLIMPSES, PER_GLIMPSE, 3, side, side)
        self.patches = torch.randn(size, device=encoder.device)
        self.ids = torch.arange(GLIMPSES * PER_GLIMPSE).view(GLIMPSES, -1).expand(rows, -1, -1)
        self.state = encoder.init_state(rows, GLIMPSES * PER_GLIMPSE)

    def recycling(self, split_block: int) -> None:
        """Glimpse after glimpse, tokens recycled."""
        self.state.reset(torch.arange(len(self.state)))
        with autocast(self.encoder.device, self.dtype):
            for step in range(GLIMPSES):
                patches, ids = self.patches[:, step], self.ids[:, step]
                self.encoder.observe(
                    patches, ids, self.state, split_block=split_block, outputs=self.outputs
                )

    @torch.no_grad()
    def anew(self) -> None:
        """Everything seen so far encoded again after each glimpse, by the same blocks."""
        with autocast(self.encoder.device, self.dtype):
            for step in range(1, GLIMPSES + 1):
                patches = self.patches[:, :step].flatten(1, 2)[:, None]
                ids = self.ids[:, :step].flatten(1)[:, None]
                self.encoder(patches, ids, split_block=0, outputs=self.outputs)

    @torch.no_grad()
    def bare_blocks(self, split_block: int) -> None:
        """The blocks of timm alone, on as many tokens."""
        blocks, width = self.encoder.backbone.blocks, self.encoder.width
        rows, device = len(self.state), self.encoder.device
        for step in range(1, GLIMPSES + 1):
            blocks[:split_block](torch.zeros(rows, 1 + PER_GLIMPSE, width, device=device))
            blocks[split_block:](torch.zeros(rows, 1 + PER_GLIMPSE * step, width, device=device))


def compare(contestants: dict[str, Contestant], rounds: int, device: str) -> dict[str, list[float]]:
    """Lets the contestants take turns; seconds of every run, the first not counted."""
    sync = torch.cuda.synchronize if device == "cuda" else lambda: None
    clock = time.thread_time if torch.get_num_threads() == 1 and device == "cpu" else None
    clock = clock or time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for index in range(rounds + 1):
        for name, run in contestants.items():
            sync()
            start = clock()
            run()
            sync()
            if index:
                seconds[name].append(clock() - start)
    return seconds


def quotient(above: list[float], below: list[float]) -> float:
    """Median quotient of runs that followed each other."""
    return statistics.median(one / other for one, other in zip(above, below, strict=True))


def report(label: str, seconds: dict[str, list[float]], result: str) -> None:
    """Prints one line: milliseconds per episode of every contestant, and what follows."""
    times = ", ".join(
        f"{name} {1e3 * statistics.median(values):,.1f}" for name, values in seconds.items()
    )
    print(f"{label:40} {result}   (ms: {times})", flush=True)


def overhead(device: str, rounds: int) -> None:
    """A step of TORE against bare timm blocks on as many tokens."""
    print("\nOverhead: an episode of TORE / the bare blocks (float32)")
    for name in (NANO, BASE):
        encoder = open_encoder(name, device)
        split = encoder.default_split_block
        for rows in (1, 32):
            one = Episode(encoder, rows)
            contestants: dict[str, Contestant] = {
                "tore": lambda one=one, split=split: one.recycling(split),
                "blocks": lambda one=one, split=split: one.bare_blocks(split),
            }
            count = rounds * (4 if rows * encoder.width < 1000 else 1)
            seconds = compare(contestants, count, device)
            ratio = quotient(seconds["tore"], seconds["blocks"])
            report(f"{name}, {rows} rows, K = {split}", seconds, f"x {ratio:.3f}")


def recycling(device: str, rounds: int) -> None:
    """Recycled episodes against encoding everything again after each glimpse."""
    print("\nRecycling: an episode / encoding everything seen anew after each glimpse (float32)")
    encoder = open_encoder(BASE, device)
    one = Episode(encoder, 32)
    splits = (8, encoder.depth)
    contestants: dict[str, Contestant] = {"anew": one.anew}
    for split in splits:
        contestants[f"K = {split}"] = lambda split=split: one.recycling(split)
    seconds = compare(contestants, rounds, device)
    cached = np.arange(GLIMPSES) * PER_GLIMPSE
    seen = cached + PER_GLIMPSE
    everything = np.sum(encoder.flops(seen, 0, split_block=0, outputs=one.outputs).total)
    for split in splits:
        ratio = quotient(seconds[f"K = {split}"], seconds["anew"])
        step = encoder.flops(PER_GLIMPSE, cached, split_block=split, outputs=one.outputs)
        flops = np.sum(step.total)
        both = {name: seconds[name] for name in (f"K = {split}", "anew")}
        text = f"x {ratio:.3f}, FLOPs x {flops / everything:.3f}"
        report(f"{BASE}, 32 rows", both, text)


def attention(device: str, rounds: int) -> None:
    """Explicit attention (product, softmax, product) against PyTorch's fused one."""
    print("\nAttention: an episode with the explicit form / with the fused one")
    for name, rows in ((NANO, 1), (NANO, 64), (NANO, 256), (BASE, 1), (BASE, 32)):
        encoder = open_encoder(name, device)
        split = encoder.default_split_block
        for dtype in (FLOAT32, BFLOAT16):
            contestants: dict[str, Contestant] = {}
            for form, fused in (("explicit", False), ("fused", True)):
                one = Episode(open_encoder(name, device), rows, dtype=dtype)
                set_fused_attention(one.encoder, fused)
                contestants[form] = lambda one=one, split=split: one.recycling(split)
            seconds = compare(contestants, rounds, device)
            ratio = quotient(seconds["explicit"], seconds["fused"])
            kind = str(dtype).removeprefix("torch.")
            report(f"{name}, {rows} rows, {kind}", seconds, f"x {ratio:.3f}")


def precision(device: str, rounds: int, scenes: int) -> None:
    """precision="auto" against float32: time, and accuracy of tore-nano."""
    dtype = resolve_precision("auto", torch.device(device))
    print(f'\nPrecision: float32 / precision="auto", which here is {dtype}')
    for name, rows in ((NANO, 1), (NANO, 64), (NANO, 256), (BASE, 1), (BASE, 32)):
        encoder = open_encoder(name, device)
        split = encoder.default_split_block
        for outputs in (("latent", "logits"), ("logits", "entropy", "pixels")):
            if encoder.decoder is None and "entropy" in outputs:
                continue
            episodes = {
                "float32": Episode(encoder, rows, outputs=outputs),
                "autocast alone": Episode(encoder, rows, dtype=dtype, once=False, outputs=outputs),
                "auto": Episode(encoder, rows, dtype=dtype, outputs=outputs),
            }
            contestants: dict[str, Contestant] = {
                kind: lambda one=one, split=split: one.recycling(split)
                for kind, one in episodes.items()
            }
            seconds = compare(contestants, rounds, device)
            ratio = quotient(seconds["float32"], seconds["auto"])
            report(f"{name}, {rows} rows, {outputs[-1]}", seconds, f"x {ratio:.2f} faster")
    accuracy(device, scenes, dtype)


def last_block(device: str, rounds: int) -> None:
    """The last block for the class token alone against the same block for all tokens."""
    print("\nLast block: an episode with the class token alone / with all tokens (float32)")
    for name, rows in ((NANO, 256), (BASE, 16)):
        encoder = open_encoder(name, device)
        split = encoder.default_split_block
        asked, whole = ("latent", "logits"), ("latent", "logits", "tokens")
        contestants: dict[str, Contestant] = {}
        for kind, outputs in (("asked", asked), ("all", whole)):
            one = Episode(encoder, rows, outputs=outputs)
            contestants[kind] = lambda one=one, split=split: one.recycling(split)
        seconds = compare(contestants, rounds, device)
        cached = np.arange(GLIMPSES) * PER_GLIMPSE
        flops = [
            np.sum(encoder.flops(PER_GLIMPSE, cached, split, outputs).total)
            for outputs in (asked, whole)
        ]
        ratio = quotient(seconds["asked"], seconds["all"])
        text = f"x {ratio:.3f}, FLOPs x {flops[0] / flops[1]:.3f}"
        report(f"{name}, {rows} rows, K = {split}", seconds, text)


def one_row(device: str, rounds: int, scenes: int) -> None:
    """A single row in every precision, against plain float32 weights."""
    print("\nOne row: an episode / the same with float32 weights as they are")
    kinds = {"packed float32": FLOAT32, "bfloat16": BFLOAT16, "int8": torch.int8}
    for name in (NANO, BASE):
        encoder = open_encoder(name, device)
        split = encoder.default_split_block
        episodes = {"float32": Episode(encoder, 1)}
        for kind, dtype in kinds.items():
            episodes[kind] = Episode(encoder, 1, dtype=dtype, packed=True)
        contestants: dict[str, Contestant] = {
            kind: lambda one=one, split=split: one.recycling(split)
            for kind, one in episodes.items()
        }
        seconds = compare(contestants, rounds * (4 if name == NANO else 1), device)
        ratios = (f"{kind} x {quotient(seconds[kind], seconds['float32']):.2f}" for kind in kinds)
        report(f"{name}, 1 row, K = {split}", seconds, ", ".join(ratios))
    accuracy(device, scenes, BFLOAT16, torch.int8)


@torch.no_grad()
def accuracy(device: str, count: int, *dtypes: torch.dtype) -> None:
    """Accuracy of tore-nano after 8 random glimpses of unseen scenes, float32 and other formats."""
    encoder = open_encoder(NANO, device)
    scenes = SyntheticScenes("test", IMAGE_SIZE)
    kinds = dict.fromkeys((FLOAT32, *dtypes))
    runners = {kind: cast_for_inference(encoder, kind) for kind in kinds}
    hits, agreed = dict.fromkeys(kinds, 0), dict.fromkeys(kinds, 0)
    rng = np.random.default_rng(0)
    for start in range(0, count, 100):
        rows = range(start, min(start + 100, count))
        ids = torch.from_numpy(random_glimpses(rng, len(rows), GLIMPSES, encoder.grid, 2))
        pixels = torch.from_numpy(np.stack([scenes.load(row) for row in rows])).movedim(3, 1)
        patches = patchify(encoder.normalise(pixels), encoder.config.patch_size)
        chosen = patches[torch.arange(len(rows))[:, None, None], ids.clamp(min=0)]
        labels = torch.from_numpy(scenes.labels[list(rows)])
        predictions: dict[torch.dtype, torch.Tensor] = {}
        for kind, one in runners.items():
            with autocast(encoder.device, kind):
                logits = one(chosen, ids, outputs=("logits",)).logits
            predictions[kind] = logits.argmax(1).cpu()
            hits[kind] += int((predictions[kind] == labels).sum())
            agreed[kind] += int((predictions[kind] == predictions[FLOAT32]).sum())
    print(f"accuracy of {NANO} on {count:,} test scenes, and predictions as in float32: ", end="")
    print(
        ", ".join(
            f"{str(kind).removeprefix('torch.')} {100 * hits[kind] / count:.2f} % "
            f"({100 * agreed[kind] / count:.2f} %)"
            for kind in kinds
        )
    )


def memory(device: str, rows: int = 10_000) -> None:
    """A cache's memory against its closed form."""
    encoder = open_encoder(NANO, device)
    capacity, prefix = encoder.grid[0] * encoder.grid[1], encoder.backbone.num_prefix_tokens
    formula = rows * ((prefix + capacity) * encoder.width * 4 + 8 * capacity + 24)
    before = _memory_in_use(device)
    state = encoder.init_state(rows)
    state.buffer.fill_(1.0)  # untouched pages are not counted by the system
    measured = _memory_in_use(device) - before
    print(f"\nMemory: cache of {NANO}, {rows:,} rows with room for all {capacity} patches")
    print(f"closed form {formula:,} bytes, tensors {state.num_bytes:,}, process {measured:,}")


def _memory_in_use(device: str) -> int:
    if device == "cuda":
        return torch.cuda.memory_allocated()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = (
        *("memory", "overhead", "recycling", "attention", "precision"),
        *("last_block", "one_row"),
    )
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--rounds", type=int, default=7, help="runs of each side")
    parser.add_argument("--scenes", type=int, default=2000, help="scenes whose class is predicted")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device, rounds = options.device, options.rounds
    print(f"PyTorch {torch.__version__}, timm {timm.__version__}, NumPy {np.__version__}, ", end="")
    print(f"{device}, {options.threads} threads; {_processor(device)}")
    if "memory" in options.parts:  # first, while no freed memory can be used again
        memory(device)
    if "overhead" in options.parts:
        overhead(device, rounds)
    if "recycling" in options.parts:
        recycling(device, rounds)
    if "attention" in options.parts:
        attention(device, rounds)
    if "precision" in options.parts:
        precision(device, rounds, options.scenes)
    if "last_block" in options.parts:
        last_block(device, rounds)
    if "one_row" in options.parts:
        one_row(device, rounds, options.scenes)


def _processor(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    if sys.platform != "linux":
        return sys.platform
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")


if __name__ == "__main__":
    main()

"""What threads gain: one environment step with one thread and with all of them.

Usage: python benchmarks/threads.py [--rows 1 16 256] [--threads 2] [--rounds 5]

Both sides take turns, episode by episode, in one process; the table holds medians of the wall clock
and the median of the quotients of neighbouring episodes. On a machine that does other work too,
threads wait for each other, which is what the column "worst" shows: the slowest step of all.
`encoders/support/threads.py` takes its rule from here.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time

import numpy as np
import torch

from ave_env.scenes import Scenes
from ave_env.vector import ActiveExplorationVectorEnv
from encoders import Encoder, create_encoder

ENCODERS = ("tore-nano", "timm/vit_base_patch16_224")
IMAGE_SIZE = (128, 256)
NUM_GLIMPSES = 8


class NoiseScenes(Scenes):
    """One image of noise: what a step costs does not depend on what there is to see."""

    name, split, seamless = "noise", "train", False
    image_size = IMAGE_SIZE

    def __init__(self, class_names: tuple[str, ...]) -> None:
        self.class_names = class_names
        self.labels = np.zeros(1, np.int64)
        rng = np.random.default_rng(0)
        self.image = rng.integers(0, 256, (*IMAGE_SIZE, 3), dtype=np.uint8)

    def load(self, index: int) -> np.ndarray:
        """Returns the image."""
        return self.image


def open_encoder(name: str) -> Encoder:
    """The encoder as shipped, or one of timm with random weights."""
    pretrained = None if name == ENCODERS[0] else False
    return create_encoder(name, image_size=IMAGE_SIZE, pretrained=pretrained, device="cpu")


def seconds_per_step(env: ActiveExplorationVectorEnv) -> tuple[list[float], int]:
    """Lets every row explore one episode: seconds of each step, multiply-accumulates of one."""
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    seconds, flops = [], 0
    for _ in range(NUM_GLIMPSES):
        actions = rng.integers(0, env.single_action_space.n, env.num_envs)
        start = time.perf_counter()
        *_, info = env.step(actions)
        seconds.append(time.perf_counter() - start)
        flops += int(info["flops"].sum())
    return seconds, flops // NUM_GLIMPSES


def compare(name: str, rows: int, threads: int, rounds: int) -> str:
    """One line of the table."""
    encoder = open_encoder(name)
    names = tuple(encoder.config.class_names or map(str, range(encoder.config.num_classes)))
    sides: dict[int, list[list[float]]] = {1: [], threads: []}
    environments = {
        count: ActiveExplorationVectorEnv(
            rows,
            scenes=NoiseScenes(names),
            encoder=encoder,
            num_glimpses=NUM_GLIMPSES,
            threads=count,
            autoreset_mode="DISABLED",
        )
        for count in sides
    }
    flops = 0
    for turn in range(rounds + 1):
        for count, env in environments.items():
            seconds, flops = seconds_per_step(env)
            if turn:  # the first one warms up
                sides[count].append(seconds)
    medians = {count: statistics.median(itertools.chain(*turns)) for count, turns in sides.items()}
    worst = {count: max(map(max, turns)) for count, turns in sides.items()}
    gain = statistics.median(
        sum(one) / sum(other) for one, other in zip(sides[1], sides[threads], strict=True)
    )
    cells = [name, str(rows), f"{flops / 1e9:.3f}"]
    cells += [f"{1e3 * medians[count]:,.1f} ({1e3 * worst[count]:,.1f})" for count in sides]
    return "| " + " | ".join([*cells, f"{gain:.2f}"]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS))
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 16, 256])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5, help="episodes of each side")
    options = parser.parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"PyTorch {torch.__version__}, {os.cpu_count()} cores, load {load:.1f} at the start\n")
    print(
        "| encoder | rows | GFLOPs per step | 1 thread: ms (worst) | "
        f"{options.threads} threads: ms (worst) | gain |\n| --- | --- | --- | --- | --- | --- |"
    )
    for name in options.encoders:
        for rows in options.rows:
            print(compare(name, rows, options.threads, options.rounds), flush=True)


if __name__ == "__main__":
    main()

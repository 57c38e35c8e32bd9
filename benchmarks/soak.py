#!/usr/bin/env python3
"""Steps environments for a long time and watches their memory.

Usage: python benchmarks/soak.py [--raw-steps 1000000] [--encoder-steps 50000]

Sixteen environments of Gymnasium's `SyncVectorEnv`, a batch of sixteen and a copy of that batch
made by pickle in mid-episode take all the steps each, first without an encoder and then with one.
After a warm-up, resident memory must stay within 2 % of what it was; else the exit status is 1.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from tqdm import tqdm

import ave_env  # noqa: F401 (registers the environments)

ENV_ID = "AVE-Synthetic-v0"
ROWS = 16
WARM_UP = 0.2  # share of the steps
SAMPLES = 40
TOLERANCE = 0.02
CACHE_BYTES = 2**20  # soon full, so that scenes are drawn throughout


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


class Batch:
    """Many environments as one, sometimes reset by a mask."""

    @staticmethod
    def make(**settings: Any) -> VectorEnv:
        """Makes the environments."""
        return gym.make_vec(ENV_ID, ROWS, autoreset_mode="SAME_STEP", **settings)

    def __init__(self, **settings: Any) -> None:
        self.envs = self.make(**settings)
        self.envs.reset(seed=0)

    def step(self, rng: np.random.Generator) -> None:
        """Takes a glimpse in every row."""
        self.envs.step(rng.integers(self.envs.single_action_space.n, size=ROWS))
        mask = rng.random(ROWS) < 0.01
        if mask.any():
            self.envs.reset(options={"reset_mask": mask})


class Sync(Batch):
    """Many single environments, stepped one after the other."""

    @staticmethod
    def make(**settings: Any) -> VectorEnv:
        """Makes the environments."""
        return gym.make_vec(ENV_ID, ROWS, vectorization_mode="sync", **settings)


class Copy(Batch):
    """The copy of a batch in mid-episode."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.step(np.random.default_rng(0))
        self.envs = pickle.loads(pickle.dumps(self.envs))


def soak(name: str, kind: type[Batch], steps: int, settings: dict[str, Any]) -> bool:
    """Takes `steps` environment steps; returns whether memory stayed flat."""
    one, rng = kind(**settings), np.random.default_rng(0)
    calls = max(SAMPLES, steps // ROWS)
    marks = np.linspace(0, calls, SAMPLES + 1, dtype=int)
    memory = []
    start = time.perf_counter()
    with tqdm(total=calls * ROWS, desc=name, unit="step", leave=False, disable=None) as bar:
        for first, last in itertools.pairwise(marks):
            for _ in range(last - first):
                one.step(rng)
            gc.collect()
            memory.append(resident_bytes())
            bar.update(int(last - first) * ROWS)
    seconds = time.perf_counter() - start
    settled = np.array(memory[int(WARM_UP * SAMPLES) :]) / 2**20
    growth = settled.max() / settled[0] - 1
    verdict = "flat" if growth <= TOLERANCE else f"GREW by more than {TOLERANCE:.0%}"
    print(
        f"{name:30} {calls * ROWS:9,d} steps {calls * ROWS / seconds:9,.0f} steps/s "
        f"{settled[0]:7.1f} -> {settled[-1]:7.1f} MiB, at most {growth:+.2%}: {verdict}",
        flush=True,
    )
    return growth <= TOLERANCE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--raw-steps", type=int, default=1_000_000)
    parser.add_argument("--encoder-steps", type=int, default=50_000)
    parser.add_argument("--encoder", default="tore-nano", help="name or folder")
    options = parser.parse_args()
    kinds = {"sync": Sync, "vector": Batch, "pickled copy": Copy}
    small = {"encoder": None, "image_size": (64, 128)}  # scenes that are drawn faster
    runs = [(options.raw_steps, small), (options.encoder_steps, {"encoder": options.encoder})]
    flat = True
    for steps, settings in runs:
        for name, kind in kinds.items():
            label = f"{name}, {settings['encoder'] or 'no encoder'}"
            flat &= soak(label, kind, steps, {"cache_bytes": CACHE_BYTES, **settings})
    sys.exit(not flat)


if __name__ == "__main__":
    main()

"""Environment steps per second: glimpses alone, and with an encoder.

Usage: python benchmarks/env_throughput.py [--rows 1 16 64] [--encoder tore-nano | none]

Glimpses alone: 48x48 pixels of 224x224 scenes held in memory, 14 glimpses per episode, resets
included. The modes take turns, one short run each, so that whatever else the machine does falls on
all of them alike; the table holds medians over the runs.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from ave_env import ActiveExplorationVectorEnv
from ave_env.scenes import Scenes

MODES: dict[str, dict[str, Any]] = {
    "grid": {},
    "grid, wrapped": {"wrap_azimuth": True},
    "grid, same-step autoreset": {"autoreset_mode": "SAME_STEP"},
}


class MemoryScenes(Scenes):
    """Noise: what an environment costs does not depend on what there is to see."""

    name, split, seamless = "memory", "train", True

    def __init__(self, image_size: tuple[int, int] = (224, 224), count: int = 256) -> None:
        rng = np.random.default_rng(0)
        self.image_size = image_size
        self.class_names = ("noise",)
        self.labels = np.zeros(count, np.int64)
        self.images = rng.integers(0, 256, (count, *image_size, 3), dtype=np.uint8)

    def load(self, index: int) -> np.ndarray:
        """Returns one image."""
        return self.images[index]


def stepper(envs: gym.vector.VectorEnv, steps: int) -> Callable[[], float]:
    """Returns a function that runs `steps` steps and returns environment steps per second."""
    envs.reset(seed=0)
    rng = np.random.default_rng(0)
    actions = rng.integers(0, envs.single_action_space.n, (steps, envs.num_envs))

    def run() -> float:
        start = time.perf_counter()
        for row in actions:
            envs.step(row)
        return steps * envs.num_envs / (time.perf_counter() - start)

    run()
    return run


def measure(contestants: dict[str, Callable[[], float]], rounds: int) -> None:
    """Lets the contestants take turns and prints medians."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            rates[name].append(run())
    print(f"{'':36} {'steps/s':>10} {'slowest':>10} {'fastest':>10}")
    for name, values in rates.items():
        median = statistics.median(values)
        print(f"{name:36} {median:10,.0f} {min(values):10,.0f} {max(values):10,.0f}")


def raw(rows: int) -> dict[str, Callable[[], float]]:
    """The environment without an encoder, in every mode of its sensor."""
    contestants = {}
    for mode, settings in MODES.items():
        envs = ActiveExplorationVectorEnv(
            rows,
            scenes=MemoryScenes(),
            image_size=(224, 224),
            glimpse_size=3,
            num_glimpses=14,
            encoder=None,
            **settings,
        )
        contestants[f"{mode}, {rows} rows"] = stepper(envs, steps=max(30, 3000 // rows))
    return contestants


def encoded(encoder: str, rows: int) -> tuple[Callable[[], float], Callable[[], float]]:
    """An environment with an encoder, and the share of its time spent outside that encoder."""
    envs = gym.make_vec("AVE-Synthetic-v0", num_envs=rows, encoder=encoder, cache_bytes=2**28)
    run = stepper(envs, steps=max(9, 512 // rows))
    observer = envs.unwrapped.observer

    def share_outside() -> float:
        inside, observe = 0.0, observer.encoder.observe

        def timed(*arguments: Any, **keywords: Any) -> Any:
            nonlocal inside
            start = time.perf_counter()
            result = observe(*arguments, **keywords)
            inside += time.perf_counter() - start
            return result

        observer.encoder.observe = timed
        start = time.perf_counter()
        run()
        total = time.perf_counter() - start
        del observer.encoder.observe
        return 1 - inside / total

    return run, share_outside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--encoder", default="none", help="name or folder; none = glimpses alone")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, {platform.machine()}")
    if options.encoder == "none":
        contestants: dict[str, Callable[[], float]] = {}
        for rows in options.rows:
            contestants |= raw(rows)
        measure(contestants, options.rounds)
        return
    runs = {rows: encoded(options.encoder, rows) for rows in options.rows}
    measure({f"{options.encoder}, {rows} rows": run for rows, (run, _) in runs.items()}, 5)
    for rows, (_, share_outside) in runs.items():
        share = statistics.median(share_outside() for _ in range(5))
        print(f"{rows} rows: {share:.1%} of the time outside the encoder (scenes included)")


if __name__ == "__main__":
    main()

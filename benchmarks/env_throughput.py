#!/usr/bin/env python3
"""Environment steps per second: glimpses alone beside ap_gym, and with an encoder.

Usage: python benchmarks/env_throughput.py [--rows 1 16 64] [--encoder tore-nano]

Glimpses alone: 48x48 pixels of 224x224 scenes held in memory, 14 glimpses per episode, resets
included. With `pip install ap_gym aiohttp`, ap_gym's image classification looks at the same images
with glimpses of the same size in the same run. The two differ in what a glimpse is: here a window
of whole patches, copied as uint8; in ap_gym a window anywhere, interpolated between pixels as
float32. ap_gym's map of visited places is switched off and its images are converted beforehand.

All contestants take turns, one short run each, so that whatever else the machine does falls on all
of them alike; the tables hold medians over the runs.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from ave_env import ActiveExplorationVectorEnv
from ave_env.scenes import Scenes
from ave_env.scenes.synthetic.panoramas import SyntheticScenes

IMAGE_SIZE, PATCH_SIZE, GLIMPSE_SIZE, NUM_GLIMPSES = (224, 224), 16, 3, 14
NUM_IMAGES = 256
MODES: dict[str, dict[str, Any]] = {
    "plain": {},
    "wrap_azimuth": {"wrap_azimuth": True},
    "plain, same-step autoreset": {"autoreset_mode": "SAME_STEP"},
}
MATRIX_PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "linear", "matmul", "convolution", "attention")

Run = Callable[[], float]


class MemoryScenes(Scenes):
    """Images in memory.

    Args:
        images: uint8 `[N, H, W, 3]`.
        labels: int64 `[N]`.
        class_names: One name per class.
    """

    name, split, seamless = "memory", "train", True

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]
    ) -> None:
        self.images, self.labels, self.class_names = images, labels, class_names
        self.image_size = images.shape[1:3]

    @classmethod
    def of_noise(cls) -> MemoryScenes:
        """Noise: what an environment costs does not depend on what there is to see."""
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (NUM_IMAGES, *IMAGE_SIZE, 3), dtype=np.uint8)
        return cls(images, rng.integers(0, 10, NUM_IMAGES), tuple("0123456789"))

    @classmethod
    def of(cls, scenes: Scenes) -> MemoryScenes:
        """The first of other scenes."""
        images = np.stack([scenes.load(index) for index in range(NUM_IMAGES)])
        return cls(images, scenes.labels[:NUM_IMAGES], scenes.class_names)

    def load(self, index: int) -> np.ndarray:
        """Returns one image."""
        return self.images[index]


def stepper(envs: gym.vector.VectorEnv, actions: Sequence[np.ndarray]) -> Run:
    """Returns a function that takes these actions and returns environment steps per second."""
    envs.reset(seed=0)

    def run() -> float:
        start = time.perf_counter()
        for action in actions:
            envs.step(action)
        return len(actions) * envs.num_envs / (time.perf_counter() - start)

    run()
    return run


def raw(scenes: MemoryScenes, rows: int) -> dict[str, Run]:
    """The environment without an encoder, in every mode of its sensor."""
    contestants = {}
    for mode, settings in MODES.items():
        envs = ActiveExplorationVectorEnv(
            rows,
            scenes=scenes,
            image_size=IMAGE_SIZE,
            patch_size=PATCH_SIZE,
            glimpse_size=GLIMPSE_SIZE,
            num_glimpses=NUM_GLIMPSES,
            encoder=None,
            **settings,
        )
        # Whole episodes, each with the step that begins it.
        steps = (NUM_GLIMPSES + 1) * max(10, 400 // rows)
        actions = np.random.default_rng(0).integers(0, envs.single_action_space.n, (steps, rows))
        contestants[mode] = stepper(envs, list(actions))
    return contestants


def ap_gym(scenes: MemoryScenes, rows: int) -> Run:
    """ap_gym's vectorised image classification over the same images."""
    from ap_gym.envs.image import ImageClassificationDataset, ImagePerceptionConfig
    from ap_gym.envs.image_classification import ImageClassificationVectorEnv

    images = (scenes.images / 255).astype(np.float32)

    class Images(ImageClassificationDataset):
        def _get_num_classes(self) -> int:
            return len(scenes.class_names)

        def _get_num_channels(self) -> int:
            return 3

        def _get_length(self) -> int:
            return len(images)

        def _get_data_point_batch(self, idx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return images[idx], scenes.labels[idx]

    side = GLIMPSE_SIZE * PATCH_SIZE
    config = ImagePerceptionConfig(
        Images(),
        sensor_size=(side, side),
        max_step_length=2.0,  # a jump to anywhere, as here
        step_limit=NUM_GLIMPSES,
        display_visitation=False,
        prefetch_buffer_size=4,
    )
    envs = ImageClassificationVectorEnv(rows, config)
    envs.action_space.seed(0)
    steps = (NUM_GLIMPSES + 1) * max(1, 48 // rows)
    return stepper(envs, [envs.action_space.sample() for _ in range(steps)])


def take_turns(contestants: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """Runs every contestant once per round."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            rates[name].append(run())
    return rates


def print_row(*cells: str) -> None:
    """Prints one line of a Markdown table."""
    print("| " + " | ".join(cells) + " |")


def compare_glimpses(all_rows: list[int], rounds: int) -> None:
    """Prints steps per second without an encoder, beside ap_gym's where that is installed."""
    scenes = MemoryScenes.of_noise()
    rival = importlib.util.find_spec("ap_gym") is not None
    if rival:
        versions = (f"{name} {importlib.metadata.version(name)}" for name in ("ap_gym", "scipy"))
        print(", ".join(versions), end="\n\n")
    else:
        print("ap_gym is not installed (pip install ap_gym aiohttp): no comparison.\n")
    print_row("rows", "mode", "steps/s", "slowest", "fastest", "times ap_gym")
    print_row(*["---"] * 6)
    for rows in all_rows:
        contestants = raw(scenes, rows) | ({"ap_gym": ap_gym(scenes, rows)} if rival else {})
        rates = take_turns(contestants, rounds)
        for name, values in rates.items():
            ratio = "-"
            if rival and name != "ap_gym":
                pairs = zip(values, rates["ap_gym"], strict=True)
                ratio = f"{statistics.median(ours / theirs for ours, theirs in pairs):.0f}"
            figures = (statistics.median(values), min(values), max(values))
            print_row(str(rows), name, *(f"{figure:,.0f}" for figure in figures), ratio)


class Encoded:
    """The default environment with an encoder, over scenes in memory.

    Args:
        encoder: Name or folder.
        rows: Number of rows.
    """

    def __init__(self, encoder: str, rows: int) -> None:
        scenes = MemoryScenes.of(SyntheticScenes("train"))
        self.envs = gym.make_vec("AVE-Synthetic-v0", num_envs=rows, encoder=encoder, scenes=scenes)
        num_actions = self.envs.single_action_space.n
        episode = self.envs.num_glimpses + 1  # and the step that begins it
        steps = episode * max(1, 128 // rows)
        actions = list(np.random.default_rng(0).integers(0, num_actions, (steps, rows)))
        self.run = stepper(self.envs, actions)
        self.run_episode = stepper(self.envs, actions[:episode])
        self.episode_steps = episode * rows

    def outside_encoder(self) -> float:
        """Share of the time in which the encoder does not run."""
        encoder, inside = self.envs.observer.encoder, 0.0
        observe = encoder.observe

        def timed(*arguments: Any, **keywords: Any) -> Any:
            nonlocal inside
            start = time.perf_counter()
            result = observe(*arguments, **keywords)
            inside += time.perf_counter() - start
            return result

        encoder.observe = timed
        try:
            seconds = self.episode_steps / self.run_episode()
        finally:
            del encoder.observe
        return 1 - inside / seconds

    def outside_matrix_products(self) -> float:
        """Share of the time in which no linear layer, convolution or attention product runs."""
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CPU]) as events:
            self.run_episode()
        inside = sum(
            event.self_cpu_time_total / 1e6
            for event in events.key_averages()
            if any(name in event.key for name in MATRIX_PRODUCTS)
        )
        return 1 - inside * self.run_episode() / self.episode_steps


def measure_encoder(encoder: str, all_rows: list[int], rounds: int) -> None:
    """Prints steps per second with an encoder, and what share of the time is not its own."""
    import torch

    print(f"{encoder}, PyTorch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print_row("rows", "steps/s", "slowest", "fastest", "outside encoder", "outside products")
    print_row(*["---"] * 6)
    contestants = {rows: Encoded(encoder, rows) for rows in all_rows}
    rates = take_turns({str(rows): one.run for rows, one in contestants.items()}, rounds)
    for rows, one in contestants.items():
        values = rates[str(rows)]
        shares = [
            f"{statistics.median(share() for _ in range(rounds)):.0%}"
            for share in (one.outside_encoder, one.outside_matrix_products)
        ]
        figures = (statistics.median(values), min(values), max(values))
        print_row(str(rows), *(f"{figure:,.0f}" for figure in figures), *shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", help="numbers of rows (default: 1 16 64)")
    parser.add_argument("--encoder", help="name or folder; without it, glimpses alone")
    parser.add_argument("--rounds", type=int, default=9, help="runs of each contestant")
    options = parser.parse_args()
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}"
    print(f"{versions}, {os.cpu_count()} cores ({platform.machine()})", end="; ")
    if options.encoder:
        measure_encoder(options.encoder, options.rows or [1, 16, 64, 256], options.rounds)
    else:
        compare_glimpses(options.rows or [1, 16, 64], options.rounds)


if __name__ == "__main__":
    main()

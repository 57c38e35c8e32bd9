"""The same glimpses in the same scenes for every way to run an encoder, and what they cost."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from agents import make_agent, required_observables
from agents.evaluation.exploring import explore
from ave_env.configuration import Configuration
from ave_env.vector import ActiveExplorationVectorEnv
from encoders import GlimpseEncoder, create_encoder
from encoders.layers.patches import patchify
from encoders.reduction.config import Reduction, parse_reduction
from encoders.training.glimpses import random_glimpses
from reduction_map.points import Point

_ORDER_SEED = 0  # of the order of scenes, of which every seed takes a part


@dataclasses.dataclass(frozen=True)
class Looking:
    """Which glimpses.

    Attributes:
        glimpses: Who chooses them: "random", or an agent that sees through the plain encoder.
        num_glimpses: How many.
        seed: Of the scenes, of random glimpses and of the agent's draws.
        scenes: How many scenes.
        rows: Scenes at a time.
        glimpse_size: Side of a glimpse in patches.
    """

    glimpses: str
    num_glimpses: int
    seed: int
    scenes: int
    rows: int
    glimpse_size: int


class Episodes:
    """Glimpses in some scenes, the same ones for every point.

    Args:
        environment: Whose scenes; a split of them.
        encoder: The plain encoder, with its own options.
        looking: Which glimpses.
    """

    def __init__(
        self, environment: Configuration, encoder: GlimpseEncoder, looking: Looking
    ) -> None:
        scenes = environment.open_scenes()
        self._looking = looking
        self.indices = scenes_of_seed(looking.seed, looking.scenes, len(scenes))
        self.labels = scenes.labels[self.indices]
        if looking.glimpses == "random":
            rng, grid = np.random.default_rng(looking.seed), encoder.grid
            count, size = looking.num_glimpses, looking.glimpse_size
            ids = random_glimpses(rng, len(self.indices), count, grid, size)
        else:
            ids = self._chosen_by_agent(environment, encoder)
        self.ids, parts = torch.from_numpy(ids), []
        for start in range(0, len(self.indices), looking.rows):
            batch = self.indices[start : start + looking.rows]
            images = np.stack([scenes.load(int(index)) for index in batch])
            pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
            patches = patchify(pixels, encoder.config.patch_size)
            rows = torch.arange(len(batch))[:, None, None]
            parts.append(patches[rows, self.ids[start : start + looking.rows].clamp(min=0)])
        self._patches = torch.cat(parts)  # bytes: a quarter of what encoders take

    def batches(
        self, encoder: GlimpseEncoder
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, np.ndarray]]:
        """Patches `[B, T, n, 3, p, p]`, ids `[B, T, n]` and labels of up to `rows` scenes."""
        for start in range(0, len(self.indices), self._looking.rows):
            part = slice(start, start + self._looking.rows)
            yield encoder.normalise(self._patches[part]), self.ids[part], self.labels[part]

    def _chosen_by_agent(self, environment: Configuration, encoder: GlimpseEncoder) -> np.ndarray:
        """Patches of all glimpses of all scenes, int64 `[N, T, n]`; -1 = seen before."""
        looking = self._looking
        configuration = dataclasses.replace(
            environment,
            encoder=encoder,
            glimpse_size=looking.glimpse_size,
            num_glimpses=looking.num_glimpses,
            observe=required_observables([looking.glimpses]),
        )
        env = ActiveExplorationVectorEnv(
            looking.rows, configuration=configuration, autoreset_mode="DISABLED"
        )
        agent = make_agent(looking.glimpses, env, seed=looking.seed)
        sensor, found = env.sensor, []
        for start in range(0, len(self.indices), looking.rows):
            actions: list[np.ndarray] = []
            batch = self.indices[start : start + looking.rows]
            for _ in explore(agent, env, batch, taken=actions):
                pass
            ids = np.stack([sensor.patch_ids(taken[: len(batch)]) for taken in actions], axis=1)
            found.append(_first_time_seen(ids, encoder.grid[0] * encoder.grid[1]))
        env.close()
        return np.concatenate(found)


def scenes_of_seed(seed: int, count: int, total: int) -> np.ndarray:
    """Scenes of a seed, int64, ascending: other ones for every seed while there are enough."""
    count = min(count, total)
    order = np.random.default_rng(_ORDER_SEED).permutation(total)
    return np.sort(order[(seed * count + np.arange(count)) % total])


def _first_time_seen(ids: np.ndarray, num_patches: int) -> np.ndarray:
    """Patches of glimpses `[N, T, n]`, -1 where an earlier glimpse has shown them."""
    seen = np.zeros((len(ids), num_patches), bool)
    rows, shown = np.arange(len(ids))[:, None], ids.copy()
    for step in range(ids.shape[1]):
        shown[:, step][seen[rows, ids[:, step]]] = -1
        seen[rows, ids[:, step]] = True
    return shown


def run_episode(encoder: GlimpseEncoder, patches: Any, ids: Any, options: dict[str, Any]) -> Any:
    """Glimpse after glimpse; the last logits, and multiply-accumulates of every row."""
    state, spent = encoder.init_state(len(ids)), np.zeros(len(ids))
    for step in range(ids.shape[1]):
        observed = encoder.observe(
            patches[:, step], ids[:, step], state, outputs=("logits",), **options
        )
        spent += observed.cost.spent.total
    return observed.belief.logits, spent


def time_beside(
    encoder: GlimpseEncoder, patches: Any, ids: Any, point: Point, rounds: int
) -> tuple[float, float]:
    """Milliseconds of an episode of one row, and how many times that of the yardstick it takes.

    The yardstick is TORE alone with K at two thirds of the blocks. The two take turns, so that what
    else the machine does falls on both.
    """
    yardstick = Point(2 * encoder.depth // 3)
    clock = time.perf_counter if torch.get_num_threads() > 1 else time.thread_time
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for repetition in range(rounds + 1):
        for own, options in ((True, point.options), (False, yardstick.options)):
            start = clock()
            run_episode(encoder, patches, ids, options)
            if repetition:
                seconds[own].append(clock() - start)
    ratio = statistics.median(a / b for a, b in zip(seconds[True], seconds[False], strict=True))
    return 1e3 * statistics.median(seconds[True]) / len(ids), ratio


def measure(
    point: Point, encoder: GlimpseEncoder, episodes: Episodes, rounds: int
) -> dict[str, Any]:
    """Which scenes are right, and what an episode takes."""
    encoder.resolve_options(point.options)
    hits, spent = [], []
    for patches, ids, labels in episodes.batches(encoder):
        logits, flops = run_episode(encoder, patches, ids, point.options)
        hits.append((logits.argmax(1).cpu().numpy() == labels).astype(int))
        spent.append(flops)
    patches, ids, _ = next(episodes.batches(encoder))
    milliseconds, ratio = time_beside(encoder, patches, ids, point, rounds)
    return {
        "scene_ids": episodes.indices.tolist(),
        "hits": np.concatenate(hits).tolist(),
        "gflops": float(np.concatenate(spent).mean() / 1e9),
        "ms": milliseconds,
        "yardsticks": ratio,
    }


class Beside:
    """A larger encoder with random weights, timed on the same glimpses for comparison.

    Args:
        name: Of the encoder, e.g. `timm/vit_base_patch16_224`.
        grid: Rows and columns of patches in a scene; its scenes are as large as that takes.
        rows: Scenes at a time.
        rounds: Measurements of each time.
    """

    def __init__(self, name: str, grid: tuple[int, int], rows: int, rounds: int) -> None:
        encoder = create_encoder(name, pretrained=False, device="cpu")
        side = encoder.config.patch_size
        self.encoder = encoder.resized((grid[0] * side, grid[1] * side))
        self.name, self.grid, self._rows, self._rounds = name, grid, rows, rounds

    def counterpart(self, point: Point, depth: int) -> Point | None:
        """The same way at the same share of its blocks; None where there is no such way.

        Where tokens halt by what they hold, random weights tell nothing; and lists with one entry
        per block are for encoders of another depth.
        """
        reduction = parse_reduction(point.reduction)
        split = round(point.split_block * self.encoder.depth / depth)
        if reduction.depends_on_data or (depth != self.encoder.depth and _lists(reduction)):
            return None
        return dataclasses.replace(point, split_block=split)

    def measure(self, point: Point | None, ids: torch.Tensor) -> dict[str, Any]:
        """What an episode takes at its own way, with the ids of the glimpses of some scenes."""
        if point is None:
            return {"split_block": "", "ms": "", "yardsticks": ""}
        ids, side = ids[: self._rows], self.encoder.config.patch_size
        pixels = torch.randn(*ids.shape, 3, side, side, generator=torch.Generator().manual_seed(0))
        took, ratio = time_beside(self.encoder, pixels, ids, point, self._rounds)
        return {"split_block": point.split_block, "ms": took, "yardsticks": ratio}


def _lists(reduction: Reduction) -> bool:
    return any(isinstance(value, tuple) for value in vars(reduction).values())

"""Accuracy against FLOPs and against time: split blocks x reductions x strengths.

Usage: python benchmarks/pareto.py --encoder tore-nano --output results/pareto
       python benchmarks/pareto.py --split-blocks 4 --reductions none tome:r=2 --glimpses guided
       python benchmarks/pareto.py --smoke

Every point is an episode in each scene of a split; all points see the same glimpses: random ones,
or those that an agent chooses with the encoder as it is (`--glimpses guided`). K = 0 recycles
nothing but patch embeddings, so that K = 0 without a reduction is the untouched encoder, with one
reduction alone; K > 0 without a reduction is TORE alone. Times are of whole episodes of `--rows`
scenes at once, the point and TORE alone (the same K, no reduction) taking turns; `--beside`
measures another encoder in the same way, with random weights.

A point is a file in OUTPUT/points and is not computed again; `pareto.csv` and `pareto.png` are made
of all that are there. The CSV compares each point with TORE alone at the K that is most accurate
(`against`): difference of accuracy with a paired 95 % interval over scenes, share of its FLOPs, and
of its time.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch

from agents import make_agent, required_observables
from agents.evaluation.exploring import explore
from ave_env.configuration import Configuration
from ave_env.registration import configure
from ave_env.vector import ActiveExplorationVectorEnv
from encoders import GlimpseEncoder, create_encoder
from encoders.layers.patches import patchify
from encoders.storage import weights_hash
from encoders.support.files import replacing, write_json
from encoders.support.subsets import spread_evenly
from encoders.training.glimpses import random_glimpses

REDUCTIONS = (
    *("none", "evit:keep_rate=0.9", "evit:keep_rate=0.7", "evit:keep_rate=0.5"),
    *("tome:r=1", "tome:r=2", "tome:r=4", "avit:gate_center=10.0"),
)
_EPISODE = ("encoder", "glimpses", "num_glimpses", "seed")  # of what is compared
COLUMNS = (
    *("encoder", "weights_hash", "way", "split_block", "reduction", "reduction_in", "max_tokens"),
    *(
        "glimpses",
        "num_glimpses",
        "scenes",
        "seed",
        "accuracy",
        "gflops",
        "ms",
        "ms_alone",
        "time_ratio",
    ),
    *("beside", "beside_time_ratio"),
    *("against", "difference", "difference_lo", "difference_hi", "gflops_share", "time_share"),
)


@dataclasses.dataclass(frozen=True)
class Point:
    """One way to run one encoder.

    Attributes:
        encoder: Name or folder.
        split_block: TORE's K.
        reduction: Text of the reduction.
        reduction_in: Where it runs.
        max_tokens: Bound of the memory; 0 = none.
        glimpses: Who chooses them.
        num_glimpses: How many.
        seed: Of the glimpses.
    """

    encoder: str
    split_block: int
    reduction: str
    reduction_in: str
    max_tokens: int
    glimpses: str
    num_glimpses: int
    seed: int

    @property
    def options(self) -> dict[str, Any]:
        """Options of the encoder's family."""
        options: dict[str, Any] = {"split_block": self.split_block, "max_tokens": self.max_tokens}
        options["reduction"] = self.reduction
        if self.reduction != "none":
            options["reduction_in"] = self.reduction_in
        return options

    @property
    def way(self) -> str:
        """What is done, in words."""
        reduces = self.reduction != "none" or self.max_tokens > 0
        if self.split_block == 0:
            return "reduction alone" if reduces else "untouched encoder"
        return "both" if reduces else "TORE alone"

    @property
    def alone(self) -> Point:
        """The same without a reduction."""
        return dataclasses.replace(self, reduction="none", max_tokens=0)


class Episodes:
    """Glimpses in some scenes, the same ones at every point.

    Args:
        environment: Whose scenes; a split of them.
        indices: Which of them.
        rows: Scenes at a time.
        glimpse_size: Side of a glimpse in patches.
    """

    def __init__(
        self, environment: Configuration, indices: np.ndarray, rows: int, glimpse_size: int
    ) -> None:
        self.environment, self.scenes = environment, environment.open_scenes()
        self.indices, self.rows, self.glimpse_size = indices, rows, glimpse_size
        self._chosen: dict[tuple[Any, ...], torch.Tensor] = {}

    def batches(
        self, encoder: GlimpseEncoder, point: Point
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, np.ndarray]]:
        """Patches `[B, T, n, 3, p, p]`, ids `[B, T, n]` and labels of up to `rows` scenes."""
        glimpses = self._glimpses(encoder, point)
        for start in range(0, len(self.indices), self.rows):
            batch = self.indices[start : start + self.rows]
            ids = glimpses[start : start + self.rows]
            images = np.stack([self.scenes.load(int(index)) for index in batch])
            pixels = encoder.normalise(torch.from_numpy(images).permute(0, 3, 1, 2))
            patches = patchify(pixels, encoder.config.patch_size)
            chosen = patches[torch.arange(len(batch))[:, None, None], ids.clamp(min=0)]
            yield chosen, ids, self.scenes.labels[batch]

    def _glimpses(self, encoder: GlimpseEncoder, point: Point) -> torch.Tensor:
        """Patches of all glimpses of all scenes, int64 `[N, T, n]`; -1 = seen before."""
        key = point.encoder, point.glimpses, point.num_glimpses, point.seed
        if key not in self._chosen:
            if point.glimpses == "random":
                rng, size = np.random.default_rng(point.seed), self.glimpse_size
                ids = random_glimpses(
                    rng, len(self.indices), point.num_glimpses, encoder.grid, size
                )
            else:
                ids = self._chosen_by_agent(encoder, point)
            self._chosen[key] = torch.from_numpy(ids)
        return self._chosen[key]

    def _chosen_by_agent(self, encoder: GlimpseEncoder, point: Point) -> np.ndarray:
        """What an agent looks at that sees through the encoder with its own options."""
        configuration = dataclasses.replace(
            self.environment,
            encoder=encoder,
            glimpse_size=self.glimpse_size,
            num_glimpses=point.num_glimpses,
            observe=required_observables([point.glimpses]),
        )
        env = ActiveExplorationVectorEnv(
            self.rows, configuration=configuration, autoreset_mode="DISABLED"
        )
        agent = make_agent(point.glimpses, env, seed=point.seed)
        sensor, found = env.sensor, []
        for start in range(0, len(self.indices), self.rows):
            actions: list[np.ndarray] = []
            batch = self.indices[start : start + self.rows]
            for _ in explore(agent, env, batch, taken=actions):
                pass
            ids = np.stack([sensor.patch_ids(taken[: len(batch)]) for taken in actions], axis=1)
            found.append(_first_time_seen(ids, encoder.grid[0] * encoder.grid[1]))
        env.close()
        return np.concatenate(found)


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


def time_both(encoder: GlimpseEncoder, patches: Any, ids: Any, point: Point, rounds: int) -> Any:
    """Milliseconds of an episode of all rows, of the point and of TORE alone, taking turns."""
    clock = time.perf_counter if torch.get_num_threads() > 1 else time.thread_time
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for repetition in range(rounds + 1):
        for reduced, options in ((True, point.options), (False, point.alone.options)):
            start = clock()
            run_episode(encoder, patches, ids, options)
            if repetition:
                seconds[reduced].append(clock() - start)
    ratio = statistics.median(a / b for a, b in zip(seconds[True], seconds[False], strict=True))
    return 1e3 * statistics.median(seconds[True]), 1e3 * statistics.median(seconds[False]), ratio


def compute(
    point: Point, encoder: GlimpseEncoder, episodes: Episodes, rounds: int, beside: Any
) -> dict[str, Any]:
    """Everything that is kept of a point."""
    encoder.resolve_options(point.options)
    hits, spent = [], []
    for patches, ids, labels in episodes.batches(encoder, point):
        logits, flops = run_episode(encoder, patches, ids, point.options)
        hits.append((logits.argmax(1).cpu().numpy() == labels).astype(int))
        spent.append(flops)
    patches, ids, _ = next(episodes.batches(encoder, point))
    own, alone, ratio = time_both(encoder, patches, ids, point, rounds)
    values = {
        **dataclasses.asdict(point),
        "way": point.way,
        "weights_hash": weights_hash(encoder)[:12],
        "hits": np.concatenate(hits).tolist(),
        "gflops": float(np.concatenate(spent).mean() / 1e9),
        "ms": own / len(ids),
        "ms_alone": alone / len(ids),
        "time_ratio": ratio,
        "beside": "",
        "beside_time_ratio": "",
    }
    if beside is not None:
        side, count = beside.config.patch_size, ids.shape
        split = round(point.split_block * beside.depth / encoder.depth)
        few = min(count[0], 4)
        pixels = torch.randn(few, count[1], count[2], 3, side, side)
        there = dataclasses.replace(point, split_block=split)
        _, _, values["beside_time_ratio"] = time_both(beside, pixels, ids[:few], there, rounds)
        values["beside"] = beside.config.name
    return values


def paired_interval(one: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """Mean difference of hits in points, and its 95 % bootstrap interval over scenes."""
    difference = 100.0 * (one - other)
    rng = np.random.default_rng(0)
    means = [rng.choice(difference, len(difference)).mean() for _ in range(2000)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(difference.mean()), float(low), float(high)


def tabulate(folder: Path) -> list[dict[str, Any]]:
    """A row for every point that there is, compared with the best of TORE alone."""
    points = [json.loads(path.read_text()) for path in sorted((folder / "points").glob("*.json"))]
    rows = []
    for point in points:
        peers = [
            each
            for each in points
            if each["way"] == "TORE alone"
            and all(each[name] == point[name] for name in _EPISODE)
            and len(each["hits"]) == len(point["hits"])
        ]
        row = {**point, "scenes": len(point["hits"]), "accuracy": 100 * np.mean(point["hits"])}
        if peers:
            best = max(peers, key=lambda each: (sum(each["hits"]), -each["gflops"]))
            compared = paired_interval(np.array(point["hits"]), np.array(best["hits"]))
            names = ("difference", "difference_lo", "difference_hi")
            row |= dict(zip(names, compared, strict=True))
            row["against"] = f"K={best['split_block']}"
            row["gflops_share"] = point["gflops"] / best["gflops"]
            row["time_share"] = point["ms"] / best["ms"]
        rows.append(row)
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Accuracy against GFLOPs, and against milliseconds, by way; a line of axes per episode."""
    episodes = sorted({(row["glimpses"], row["num_glimpses"]) for row in rows})
    size = (11, 4.5 * len(episodes))
    figure, grid = plt.subplots(len(episodes), 2, figsize=size, layout="constrained", squeeze=False)
    for axes, episode in zip(grid, episodes, strict=True):
        own = [row for row in rows if (row["glimpses"], row["num_glimpses"]) == episode]
        _draw_front(axes[0], own, "gflops")
        _draw_front(axes[1], own, "ms")
        axes[1].sharey(axes[0])
        axes[0].set_ylabel(f"accuracy after {episode[1]} glimpses ({episode[0]}), %")
    grid[-1, 0].set_xlabel("GFLOPs per episode (one multiply-accumulate counts as one)")
    grid[-1, 1].set_xlabel("milliseconds per episode")
    grid[0, 0].legend()
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=120)
    plt.close(figure)


def _draw_front(axis: Any, rows: list[dict[str, Any]], column: str) -> None:
    """All points, and a line along those that no other one beats."""
    ways = ("untouched encoder", "TORE alone", "reduction alone", "both")
    for way, marker in zip(ways, "sDo^", strict=True):
        own = [row for row in rows if row["way"] == way]
        across, up = [row[column] for row in own], [row["accuracy"] for row in own]
        axis.scatter(across, up, marker=marker, label=way, alpha=0.8)
    front, best = [], -1.0
    for row in sorted(rows, key=lambda row: (row[column], -row["accuracy"])):
        if row["accuracy"] > best:
            best = row["accuracy"]
            front.append(row)
    axis.plot([r[column] for r in front], [r["accuracy"] for r in front], "k:", linewidth=1)
    axis.grid(alpha=0.3)


def write_table(rows: list[dict[str, Any]], path: Path) -> None:
    """The CSV: numbers with four digits after the point."""
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            cells = (row.get(name, "") for name in COLUMNS)
            writer.writerow(f"{cell:.4f}" if isinstance(cell, float) else cell for cell in cells)


def all_points(options: argparse.Namespace, encoder: str, depth: int) -> list[Point]:
    """The points of one encoder, TORE alone first."""
    splits = options.split_blocks
    if splits is None:
        splits = sorted({0, depth // 3, 2 * depth // 3, depth - 1})
    if wrong := [split for split in splits if not 0 <= split <= depth]:
        sys.exit(f"--split-blocks {wrong[0]}: {encoder} has {depth} blocks; expected 0 to {depth}")
    found = [
        Point(encoder, split, reduction, place, most, options.glimpses, count, seed)
        for count in options.num_glimpses
        for seed in options.seeds
        for split in splits
        for reduction in options.reductions
        for place in (options.reduction_in if reduction != "none" else ["aggregator"])
        for most in options.max_tokens
    ]
    return list(dict.fromkeys(sorted(found, key=lambda each: each.reduction != "none")))


def main() -> None:
    """Computes the points that are missing, then the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", default="AVE-Synthetic-v0", help="whose scenes")
    parser.add_argument("--data-root", type=Path, help="folder of the scenes, e.g. of CIFAR-10")
    parser.add_argument("--image-size", type=int, nargs=2, help="height and width in pixels")
    parser.add_argument("--encoder", nargs="+", default=["tore-nano"], help="names or folders")
    parser.add_argument("--beside", help="another encoder to time, e.g. timm/vit_base_patch16_224")
    parser.add_argument("--split-blocks", type=int, nargs="+", help="values of K")
    parser.add_argument("--reductions", nargs="+", default=list(REDUCTIONS))
    parser.add_argument("--reduction-in", nargs="+", default=["aggregator"])
    parser.add_argument("--max-tokens", type=int, nargs="+", default=[0])
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--glimpses", default="random", help="who chooses them: an agent")
    parser.add_argument("--num-glimpses", type=int, nargs="+", default=[8])
    parser.add_argument("--glimpse-size", type=int, default=2)
    parser.add_argument("--rows", type=int, default=64, help="scenes at a time")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of time")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the glimpses")
    parser.add_argument("--output", type=Path, default=Path("results/pareto"))
    parser.add_argument("--smoke", action="store_true", help="three points of few scenes")
    options = parser.parse_args()
    if options.smoke:
        options.scenes, options.rounds, options.rows = 32, 1, 16
        options.split_blocks, options.reductions = [2], ["none", "tome:r=2", "evit:keep_rate=0.5"]
    size = None if options.image_size is None else tuple(options.image_size)
    environment = configure(
        options.env, split="test", data_root=options.data_root, image_size=size, device="cpu"
    )
    scenes = environment.open_scenes()
    beside = None
    if options.beside:
        beside = create_encoder(
            options.beside, image_size=scenes.image_size, pretrained=False, device="cpu"
        )
    indices = spread_evenly(options.scenes, len(scenes))
    (options.output / "points").mkdir(parents=True, exist_ok=True)
    for name in options.encoder:
        encoder = create_encoder(name, image_size=scenes.image_size, device="cpu")
        if encoder.config.class_names != tuple(scenes.class_names):
            sys.exit(f"{name}: its class head was not trained for the classes of {options.env}")
        environment = dataclasses.replace(environment, patch_size=encoder.config.patch_size)
        episodes = Episodes(environment, indices, options.rows, options.glimpse_size)
        known = {"scenes": [scenes.name, len(indices)], "weights": weights_hash(encoder)}
        known |= {"glimpse_size": options.glimpse_size, "beside": options.beside}
        for point in all_points(options, name, encoder.depth):
            text = json.dumps({**known, **dataclasses.asdict(point)}, sort_keys=True)
            path = (
                options.output / "points" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
            )
            if not path.is_file():
                values = compute(point, encoder, episodes, options.rounds, beside)
                write_json(path, values)
                print(
                    f"{name} K={point.split_block} {point.reduction} in {point.reduction_in}, "
                    f"at most {point.max_tokens or 'all'} tokens: "
                    f"{100 * np.mean(values['hits']):.1f} %, {values['gflops']:.4f} GFLOPs, "
                    f"{values['ms']:.2f} ms ({values['time_ratio']:.2f} of TORE alone)",
                    flush=True,
                )
    rows = tabulate(options.output)
    write_table(rows, options.output / "pareto.csv")
    draw(rows, options.output / "pareto.png")
    print(f"{len(rows)} points: {options.output / 'pareto.csv'}, {options.output / 'pareto.png'}")


if __name__ == "__main__":
    main()

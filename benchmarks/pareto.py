"""Accuracy against FLOPs and against time: split blocks x reductions x strengths x seeds.

Usage: python benchmarks/pareto.py --encoder tore-nano --seeds 0 1 2 --output results/pareto
       python benchmarks/pareto.py --glimpses guided --trained RUN RUN --control RUN
       python benchmarks/pareto.py --beside timm/vit_base_patch16_224
       python benchmarks/pareto.py --smoke

Every point is an episode in each scene of a part of the test split; all points of a seed see the
same glimpses: random ones, or those that an agent chooses with the plain encoder as it is
(`--glimpses guided`). Every seed has scenes of its own while the split has enough of them. K = 0
recycles nothing but patch embeddings, so that K = 0 without a reduction is the untouched encoder,
with one reduction alone; K > 0 without a reduction is TORE alone.

Encoders after `--encoder` are plain ones, and count as trainings of one model where their sizes are
the same. Those after `--trained` were trained with a reduction (`train_encoder.py --reduction`),
run with it, and are compared with the plain encoder that they started from, or else with that of
the same training seed. Those after `--control` were trained as long without one.

Times are of whole episodes of `--rows` scenes at once, in turns with a yardstick, TORE alone with K
at two thirds of the blocks: shares of time are ratios of such ratios. `--beside` times another
encoder with random weights on as many patches, at the same share of its blocks.

A point is a file in OUTPUT/points and is not computed again; OUTPUT gets, of all that are there,
`pareto.csv` (a row per point), `named.csv` (a row per way and what it is compared with, over all
seeds) and `pareto.png`. TORE alone at its most accurate K, at the same K and at the cheapest K of
equal accuracy are what ways are compared with, with Newcombe's paired 95 % intervals over scenes.
`equal_accuracy` is "yes" where the interval ends above -0.5 points, "no" where it is all below, and
"not shown" otherwise; `few_flops` is "yes" at 60 % of TORE's own FLOPs or less, `little_time` at
75 % of its time.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ave_env.configuration import Configuration
from ave_env.registration import configure
from encoders.support.files import write_json
from reduction_map.episodes import Beside, Episodes, Looking, measure
from reduction_map.picture import draw
from reduction_map.points import (
    CONTROL,
    PLAIN,
    REDUCING,
    Point,
    Subject,
    all_points,
    open_subject,
    points_of,
)
from reduction_map.tables import (
    NAMED_COLUMNS,
    POINT_COLUMNS,
    in_words,
    make_groups,
    named_rows,
    point_rows,
    write_table,
)

REDUCTIONS = (
    *("none", "evit:keep_rate=0.9", "evit:keep_rate=0.7", "evit:keep_rate=0.5"),
    *("tome:r=1", "tome:r=2", "tome:r=4", "avit:gate_center=10.0"),
)
_SMOKE = {
    **{"scenes": 32, "rounds": 1, "rows": 16, "split_blocks": [2]},
    "reductions": ["none", "tome:r=2", "evit:keep_rate=0.5"],
}
_TABLES = ("named.csv", "pareto.csv", "pareto.png")


@dataclasses.dataclass(frozen=True)
class Task:
    """A point to compute.

    Attributes:
        subject: Whose.
        start: The plain encoder, through which agents look.
        looking: Which glimpses.
        point: Which way.
        path: Its file.
    """

    subject: Subject
    start: Subject
    looking: Looking
    point: Point
    path: Path


def all_tasks(
    options: argparse.Namespace, plain: Sequence[Subject], others: Sequence[Subject], scenes: str
) -> list[Task]:
    """Every point of every encoder; those that share glimpses follow one another."""
    found = []
    for start in plain:
        depth = start.encoder.depth
        splits = options.split_blocks or sorted({0, depth // 3, 2 * depth // 3, depth - 1})
        if wrong := [split for split in splits if not 0 <= split <= depth]:
            sys.exit(
                f"--split-blocks {wrong[0]}: {start.name} has {depth} blocks; expected 0 to {depth}"
            )
        own = [each for each in others if each.plain == start.weights]
        trained = [each for each in own if each.training == REDUCING]
        ways = {
            start: all_points(splits, options.reductions, options.reduction_in, options.max_tokens)
        }
        ways |= {each: points_of(each, splits, trained) for each in own}
        for count in options.num_glimpses:
            for seed in options.seeds:
                looking = Looking(
                    options.glimpses,
                    count,
                    seed,
                    options.scenes,
                    options.rows,
                    options.glimpse_size,
                )
                found += [
                    Task(subject, start, looking, point, _path(options, scenes, subject, *key))
                    for subject, points in ways.items()
                    for point in points
                    for key in [(looking, point)]
                ]
    return found


def _path(
    options: argparse.Namespace, scenes: str, subject: Subject, looking: Looking, point: Point
) -> Path:
    known: dict[str, Any] = {"scenes": scenes, "beside": options.beside, **subject.identity()}
    del known["encoder"]  # the same weights in another folder are the same
    known |= {"looking": dataclasses.asdict(looking), "point": dataclasses.asdict(point)}
    text = json.dumps(known, sort_keys=True)
    return options.output / "points" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def compute(
    tasks: Sequence[Task], environment: Configuration, scenes: str, options: argparse.Namespace
) -> None:
    """Computes the points that are missing."""
    missing = [task for task in tasks if not task.path.is_file()]
    print(f"{len(tasks)} points, {len(missing)} of them to compute", flush=True)
    shared, episodes, beside, known = None, None, None, {}
    begun = time.monotonic()
    for done, task in enumerate(missing, 1):
        encoder, point = task.subject.encoder, task.point
        if episodes is None or shared != (task.start, task.looking):
            shared = task.start, task.looking
            sized = dataclasses.replace(environment, patch_size=encoder.config.patch_size)
            episodes = Episodes(sized, task.start.encoder, task.looking)
        values = measure(point, encoder, episodes, options.rounds)
        if options.beside:
            if beside is None or beside.grid != encoder.grid:
                beside = Beside(options.beside, encoder.grid, min(options.rows, 4), options.rounds)
            there = beside.counterpart(point, encoder.depth)
            key = there, beside.grid, task.looking.num_glimpses
            if key not in known:  # no seed changes what it takes
                known[key] = beside.measure(there, episodes.ids)
            values["beside"] = {"name": beside.name, **known[key]}
        looking = dataclasses.asdict(task.looking)
        del looking["rows"]
        values |= {**task.subject.identity(), **looking, **dataclasses.asdict(point)}
        values |= {"way": point.way, "environment": scenes, "scenes": len(values["hits"])}
        write_json(task.path, values)
        print(
            f"{task.subject.name} {point}, seed {task.looking.seed}: "
            f"{100 * np.mean(values['hits']):.1f} %, {values['gflops']:.4f} GFLOPs, "
            f"{values['ms']:.2f} ms ({values['yardsticks']:.2f} yardsticks); {done} of "
            f"{len(missing)} in {time.monotonic() - begun:.0f} s",
            flush=True,
        )


def main() -> None:
    """Computes the points that are missing, then the tables and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--env", default="AVE-Synthetic-v0", help="whose scenes")
    parser.add_argument("--data-root", type=Path, help="folder of the scenes, e.g. of CIFAR-10")
    parser.add_argument("--image-size", type=int, nargs=2, help="height and width in pixels")
    parser.add_argument("--encoder", nargs="+", default=["tore-nano"], help="names or folders")
    parser.add_argument("--trained", nargs="+", default=[], help="trained with a reduction")
    parser.add_argument("--control", nargs="+", default=[], help="trained as long without one")
    parser.add_argument("--beside", help="another encoder to time, e.g. timm/vit_base_patch16_224")
    parser.add_argument("--patch-size", type=int, help="to be sure of: it is that of the encoder")
    parser.add_argument("--split-blocks", type=int, nargs="+", help="values of K")
    parser.add_argument("--reductions", nargs="+", default=list(REDUCTIONS))
    parser.add_argument("--reduction-in", nargs="+", default=["aggregator"])
    parser.add_argument("--max-tokens", type=int, nargs="+", default=[0])
    parser.add_argument("--scenes", type=int, default=1000, help="of every seed")
    parser.add_argument("--glimpses", default="random", help="who chooses them: an agent")
    parser.add_argument("--num-glimpses", type=int, nargs="+", default=[8])
    parser.add_argument("--glimpse-size", type=int, default=2)
    parser.add_argument("--rows", type=int, default=64, help="scenes at a time")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of time")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0], help="of scenes, glimpses and agents' draws"
    )
    parser.add_argument("--output", type=Path, default=Path("results/pareto"))
    parser.add_argument("--smoke", action="store_true", help="three ways, few scenes")
    options = parser.parse_args()
    if options.smoke:  # what is given beside it wins
        parser.set_defaults(**_SMOKE)
        options = parser.parse_args()
    size = None if options.image_size is None else tuple(options.image_size)
    environment = configure(
        options.env, split="test", data_root=options.data_root, image_size=size, device="cpu"
    )
    scenes = environment.open_scenes()

    def opened(names: Sequence[str], training: str, plain: Sequence[Subject]) -> list[Subject]:
        known = scenes.image_size, scenes.class_names, plain
        return [open_subject(name, training, *known) for name in names]

    plain = opened(options.encoder, PLAIN, ())
    for each in plain:
        if options.patch_size not in (None, each.encoder.config.patch_size):
            sys.exit(
                f"--patch-size {options.patch_size}: {each.name} has patches of "
                f"{each.encoder.config.patch_size} pixels; leave --patch-size out"
            )
    others = opened(options.trained, REDUCING, plain) + opened(options.control, CONTROL, plain)
    (options.output / "points").mkdir(parents=True, exist_ok=True)
    compute(all_tasks(options, plain, others, scenes.name), environment, scenes.name, options)
    files = sorted((options.output / "points").glob("*.json"))
    groups = make_groups([json.loads(path.read_text()) for path in files])
    named = named_rows(groups)
    write_table(named, NAMED_COLUMNS, options.output / "named.csv")
    write_table(point_rows(groups), POINT_COLUMNS, options.output / "pareto.csv")
    draw(groups, options.output / "pareto.png")
    print(in_words(named))
    print(f"{len(files)} points: {', '.join(str(options.output / name) for name in _TABLES)}")


if __name__ == "__main__":
    main()

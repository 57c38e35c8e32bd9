"""Rows of the map: every point by itself, and every way over seeds, compared by pairs."""

from __future__ import annotations

import csv
import dataclasses
import functools
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.evaluation.statistics import Interval, newcombe_interval
from encoders.support.files import replacing
from reduction_map.points import CONTROL, PLAIN, REDUCING

EQUAL_POINTS, FEW_FLOPS, LITTLE_TIME = 0.5, 0.6, 0.75
"""Equal accuracy is lost by no more points; shares of TORE's own cost that are worth naming."""

_BEST, _CHEAPEST, _SAME = "most accurate K", "cheapest equal K", "same K"

_EPISODE = ("model", "environment", "glimpses", "num_glimpses", "glimpse_size", "scenes")
_WAY = ("split_block", "reduction", "reduction_in", "max_tokens")
_GROUP = (*_EPISODE, "training", *_WAY)
_BESIDE = ("beside", "beside_split_block", "beside_ms", "beside_time_share")
_COMPARED = ("difference", "difference_lo", "difference_hi", "gflops_share", "time_share")
POINT_COLUMNS = (
    *("encoder", "weights_hash", "model", "training", "training_seed", "plain_hash", "way"),
    *(*_WAY, *_EPISODE[1:], "seed", "accuracy", "gflops", "ms", "yardsticks"),
    *("against", *_COMPARED, *_BESIDE),
)
NAMED_COLUMNS = (
    *("model", "training", "way", *_WAY, *_EPISODE[1:]),
    *("seeds", "different_scenes", "accuracy", "gflops", "ms", "reference", "against"),
    *(*_COMPARED[:3], "difference_by_seed", *_COMPARED[3:]),
    *("equal_accuracy", "few_flops", "little_time", *_BESIDE),
)

Point = Mapping[str, Any]  # what is kept of one
Seed = tuple[str, str, int]  # hash of the plain encoder, seed of the training, of the scenes


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """One way of one model over all seeds, of its trainings and of the scenes.

    Attributes:
        points: By seed.
    """

    points: Mapping[Seed, Point]

    def __getitem__(self, name: str) -> Any:
        return next(iter(self.points.values()))[name]

    @property
    def alone(self) -> bool:
        """Whether this is TORE alone."""
        return self["way"] == "TORE alone"

    @functools.cached_property
    def accuracy(self) -> float:
        """Percent over seeds."""
        return float(statistics.fmean(100 * np.mean(each["hits"]) for each in self.points.values()))

    def mean(self, name: str) -> float:
        """A measurement over seeds."""
        return statistics.fmean(each[name] for each in self.points.values())

    def pairs(self, reference: Group) -> dict[Seed, tuple[Point, Point]]:
        """Points of the same seeds: this one and the reference, whose training may be another."""
        found = {}
        for key, point in self.points.items():
            plain, training, seed = key
            peers = {other: each for other, each in reference.points.items() if other[0] == plain}
            peers = {other: each for other, each in peers.items() if other[2] == seed}
            if len(peers) > 1:
                peers = {other: each for other, each in peers.items() if other[1] == training}
            if len(peers) == 1:
                found[key] = point, next(iter(peers.values()))
        return found


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """A way and TORE alone, in the same scenes with the same glimpses.

    Attributes:
        pairs: Points of the same seeds.
    """

    pairs: Mapping[Seed, tuple[Point, Point]]

    @functools.cached_property
    def interval(self) -> Interval:
        """Difference of accuracy in points; a scene counts once, however many seeds judged it."""
        judged: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for one, other in self.pairs.values():
            for scene, *hits in zip(one["scene_ids"], one["hits"], other["hits"], strict=True):
                judged[scene].append((hits[0], hits[1]))
        shares = np.array([np.mean(hits, axis=0) for hits in judged.values()])
        each = sum(map(len, judged.values())) / len(judged)
        found = newcombe_interval(shares[:, 0], shares[:, 1], per_scene=(each, each))
        return dataclasses.replace(
            found, mean=100 * found.mean, low=100 * found.low, high=100 * found.high
        )

    @property
    def by_seed(self) -> str:
        """Differences of every seed, `training/scenes: points`."""
        found = []
        for (_, training, seed), (one, other) in sorted(self.pairs.items()):
            difference = 100 * (np.mean(one["hits"]) - np.mean(other["hits"]))
            found.append(f"{training or '-'}/{seed}: {difference:+.2f}")
        return "; ".join(found)

    def share(self, name: str, beside: bool = False) -> float | str:
        """Median share of the reference's cost; "" where the encoder beside has no such way."""
        shares = []
        for one, other in self.pairs.values():
            both = [each["beside"][name] if beside else each[name] for each in (one, other)]
            if "" in both:
                return ""
            shares.append(both[0] / both[1])
        return statistics.median(shares)

    @property
    def equal(self) -> str:
        """Whether accuracy is equal: yes, no, or not shown by so few scenes."""
        if self.interval.low >= -EQUAL_POINTS:
            return "yes"
        return "no" if self.interval.high < -EQUAL_POINTS else "not shown"

    def row(self) -> dict[str, Any]:
        """Cells of both tables."""
        first, _ = next(iter(self.pairs.values()))
        row = dict(zip(_COMPARED, map(float, _ends(self.interval)), strict=False))
        row |= {"gflops_share": self.share("gflops"), "time_share": self.share("yardsticks")}
        if "beside" in first:
            beside = first["beside"]
            row |= {"beside": beside["name"], "beside_ms": beside["ms"]}
            row["beside_split_block"] = beside["split_block"]
            row["beside_time_share"] = self.share("yardsticks", beside=True)
        return row


def _ends(interval: Interval) -> tuple[Any, Any, Any]:
    return interval.mean, interval.low, interval.high


def make_groups(points: Sequence[Point]) -> list[Group]:
    """Points that differ in nothing but seeds, together."""
    found: dict[tuple[Any, ...], dict[Seed, Point]] = defaultdict(dict)
    for point in points:
        key = point["plain_hash"], point["training_seed"], point["seed"]
        found[tuple(point[name] for name in _GROUP)][key] = point
    return [Group(points) for _, points in sorted(found.items(), key=lambda item: str(item[0]))]


def references(group: Group, groups: Sequence[Group]) -> dict[str, Group]:
    """What a way is compared with, by what it is: TORE alone at several K."""
    found = {}
    trainings = (PLAIN, CONTROL) if group["training"] == REDUCING else (PLAIN,)
    for training in trainings:
        peers = [
            each
            for each in groups
            if each.alone
            and each["training"] == training
            and all(each[name] == group[name] for name in _EPISODE)
            and group.pairs(each)
        ]
        if not peers:
            continue
        ending = "" if training == PLAIN else " of the control"
        best = max(peers, key=lambda each: (each.accuracy, -each.mean("gflops")))
        found[_BEST + ending] = best
        equal = [each for each in peers if Comparison(each.pairs(best)).equal == "yes"]
        cheapest = min([*equal, best], key=lambda each: each.mean("gflops"))
        found[_CHEAPEST + ending] = cheapest
        for each in peers:
            if each["split_block"] == group["split_block"]:
                found[_SAME + ending] = each
    return found


def point_rows(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """A row for every point, compared with TORE alone at the K that is most accurate over seeds."""
    rows = []
    for group in groups:
        best = references(group, groups).get(_BEST)
        pairs = {} if best is None else group.pairs(best)
        for key, point in group.points.items():
            row = {**point, "accuracy": float(100 * np.mean(point["hits"]))}
            if key in pairs:
                row["against"] = f"K={pairs[key][1]['split_block']}"
                row |= Comparison({key: pairs[key]}).row()
            rows.append(row)
    return rows


def named_rows(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """A row for every way and what it is compared with, over all seeds of both."""
    rows = []
    for group in groups:
        scenes = {scene for each in group.points.values() for scene in each["scene_ids"]}
        seeds = sorted((training or "-", seed) for _, training, seed in group.points)
        known = {name: group[name] for name in (*_GROUP, "way")} | {
            "seeds": " ".join(f"{training}/{seed}" for training, seed in seeds),
            "different_scenes": len(scenes),
            "accuracy": group.accuracy,
            "gflops": group.mean("gflops"),
            "ms": group.mean("ms"),
        }
        for name, reference in references(group, groups).items():
            compared = Comparison(group.pairs(reference))
            row = {**known, "reference": name, "against": f"K={reference['split_block']}"}
            row |= {**compared.row(), "difference_by_seed": compared.by_seed}
            row["equal_accuracy"] = compared.equal
            row["few_flops"] = _yes(row["gflops_share"] <= FEW_FLOPS)
            row["little_time"] = _yes(row["time_share"] <= LITTLE_TIME)
            rows.append(row)
    return rows


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def in_words(rows: Sequence[Mapping[str, Any]]) -> str:
    """The ways that are as accurate as TORE alone at 60 % of its own FLOPs, and their time.

    What a larger K alone would have saved is said beside it.
    """
    cheapest = {_way(row): row for row in rows if row["reference"] == _CHEAPEST}
    chosen = [
        row
        for row in rows
        if row["way"] == "both"
        and row["equal_accuracy"] == row["few_flops"] == "yes"
        and not row["reference"].startswith(_CHEAPEST)
    ]
    lines = [f"{len(chosen)} at equal accuracy and at most {FEW_FLOPS:.0%} of TORE's own FLOPs"]
    for row in chosen:
        way = f"K={row['split_block']} {row['reduction']}"
        if row["max_tokens"]:
            way += f", at most {row['max_tokens']} tokens"
        time = f"{row['time_share']:.2f} of its time"
        if row.get("beside_time_share", "") != "":
            time += f" ({row['beside_time_share']:.2f} in {row['beside']})"
        line = (
            f"  {way}, {row['num_glimpses']} glimpses, training {row['training']}: "
            f"{row['difference']:+.2f} ({row['difference_lo']:.2f} to {row['difference_hi']:.2f}) "
            f"against {row['reference']} ({row['against']}), {row['gflops_share']:.2f} of its "
            f"FLOPs, {time}"
        )
        if (other := cheapest.get(_way(row))) is not None:
            line += f"; {other['gflops_share']:.2f} and {other['time_share']:.2f} of those of "
            line += f"{other['against']}, the {_CHEAPEST}"
        lines.append(line)
    return "\n".join(lines)


def _way(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _GROUP)


def write_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], path: Path) -> None:
    """A CSV: numbers with four digits after the point."""
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in rows:
            cells = (row.get(name, "") for name in columns)
            cells = ("" if isinstance(cell, Mapping) else cell for cell in cells)
            writer.writerow(f"{cell:.4f}" if isinstance(cell, float) else cell for cell in cells)

"""One way to run one encoder, and whose weights those are."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.reports.provenance import RUN_FILE
from encoders import GlimpseEncoder, create_encoder
from encoders.checkpoints.weight_files import read_json
from encoders.reduction.plan import OPTIONS, make_plan
from encoders.storage import weights_hash

PLAIN, REDUCING, CONTROL = "none", "with the reduction", "as long without"
"""How an encoder was trained for the map; the control as long as those with a reduction."""


@dataclasses.dataclass(frozen=True)
class Point:
    """One way to run one encoder.

    Attributes:
        split_block: TORE's K.
        reduction: Text of the reduction.
        reduction_in: Where it runs.
        max_tokens: Bound of the memory; 0 = none.
    """

    split_block: int
    reduction: str = "none"
    reduction_in: str = "aggregator"
    max_tokens: int = 0

    @property
    def options(self) -> dict[str, Any]:
        """Options of the encoder's family; they also switch off what it does by itself."""
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
        """The same K without a reduction."""
        return Point(self.split_block)

    def __str__(self) -> str:
        """E.g. `K=4 tome:r=2 in aggregator, at most 12 tokens`."""
        words = [f"K={self.split_block} {self.reduction}"]
        if self.reduction != "none":
            words.append(f"in {self.reduction_in}")
        most = f", at most {self.max_tokens} tokens" if self.max_tokens else ""
        return " ".join(words) + most


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """An encoder of the map.

    Attributes:
        name: Name or folder, as given.
        encoder: The encoder.
        training: `PLAIN`, `REDUCING` or `CONTROL`.
        training_seed: Seed of its training; "" where no record says it, as of shipped encoders.
        weights: Hash of its weights.
        plain: Hash of the weights of the plain encoder that it is compared with: its own, or of
            the one that its training went out from.
    """

    name: str
    encoder: GlimpseEncoder
    training: str
    training_seed: str
    weights: str
    plain: str

    @property
    def model(self) -> str:
        """What trainings of one model have in common, e.g. `6 blocks of 128, 8x8 patches`."""
        rows, columns = self.encoder.grid
        return f"{self.encoder.depth} blocks of {self.encoder.width}, {rows}x{columns} patches"

    @property
    def own_point(self) -> dict[str, Any]:
        """Fields of a point with the reductions that it was trained with."""
        config = self.encoder.config
        return {name: value for name in OPTIONS if (value := getattr(config, name)) is not None}

    def identity(self) -> dict[str, str]:
        """What its points say of it."""
        known = {
            "encoder": Path(self.name).name,
            "weights_hash": self.weights[:12],
            "model": self.model,
        }
        known |= {"training": self.training, "training_seed": self.training_seed}
        return {**known, "plain_hash": self.plain[:12]}


def open_subject(
    name: str,
    training: str,
    image_size: tuple[int, int],
    classes: Sequence[str],
    plain: Sequence[Subject] = (),
) -> Subject:
    """Opens an encoder for the map.

    Args:
        name: Name or folder.
        training: How it is meant to have been trained.
        image_size: Of the scenes.
        classes: Of the scenes.
        plain: The plain encoders, of which one is what it is compared with; none = itself.
    """
    encoder = create_encoder(name, image_size=image_size, device="cpu")
    if encoder.config.class_names != tuple(classes):
        sys.exit(f"{name}: its class head was not trained for the {len(classes)} classes here")
    reduces = bool(make_plan(vars(encoder.config)).options())
    if training == REDUCING and not reduces:
        sys.exit(
            f"--trained {name}: its config.json names no reduction, so it was trained without one; "
            "give it as --control or --encoder"
        )
    if training != REDUCING and reduces:
        option = "--control" if training == CONTROL else "--encoder"
        sys.exit(
            f"{option} {name}: trained with {make_plan(vars(encoder.config))}, as its config.json "
            "says; give it as --trained"
        )
    record, weights = _record_of(name), weights_hash(encoder)
    seed = str(record.get("configuration", {}).get("training", {}).get("seed", ""))
    if not plain:
        return Subject(name, encoder, training, seed, weights, weights)
    start = _start_of(name, record, seed, plain)
    if encoder.grid != start.encoder.grid or encoder.depth != start.encoder.depth:
        sys.exit(f"{name}: not the model of {start.name}; it cannot be compared with it by pairs")
    return Subject(name, encoder, training, seed, weights, start.weights)


def _record_of(name: str) -> Mapping[str, Any]:
    """The record of the training run in a folder; empty without one."""
    path = Path(name) / RUN_FILE
    return read_json(path) if path.is_file() else {}


def _start_of(name: str, record: Mapping[str, Any], seed: str, plain: Sequence[Subject]) -> Subject:
    """The plain encoder that it started from, or else that of the same seed, or the only one."""
    start = record.get("started_from", {}).get("hash")
    found = [each for each in plain if each.weights == start]
    if not found and start is None:
        found = [each for each in plain if each.training_seed == seed]
    if not found and len(plain) == 1 and start is None:
        found = list(plain)
    if len(found) != 1:
        names = ", ".join(each.name for each in plain)
        went = f"weights {start[:12]}" if start else f"new weights, seed {seed or 'unknown'}"
        sys.exit(
            f"{name}: trained from {went}, which tells it to none or several of --encoder {names}; "
            "give the encoder that it started from as --encoder"
        )
    return found[0]


def all_points(
    splits: Sequence[int],
    reductions: Sequence[str],
    places: Sequence[str],
    bounds: Sequence[int],
) -> list[Point]:
    """All ways to run a plain encoder, TORE alone first."""
    found = [
        Point(split, reduction, place, most)
        for split in splits
        for reduction in reductions
        for place in (places if reduction != "none" else ["aggregator"])
        for most in bounds
    ]
    return _alone_first([*(Point(split) for split in splits), *found])


def points_of(subject: Subject, splits: Sequence[int], others: Sequence[Subject]) -> list[Point]:
    """The ways to run a trained encoder: as it was trained, and a control as each of the others."""
    ways = [subject] if subject.training == REDUCING else list(others)
    found = [Point(split, **way.own_point) for way in ways for split in splits]
    return _alone_first([*(Point(split) for split in splits), *found])


def _alone_first(points: Sequence[Point]) -> list[Point]:
    return list(dict.fromkeys(sorted(points, key=lambda each: each != each.alone)))

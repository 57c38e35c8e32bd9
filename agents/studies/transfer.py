"""Starting encoders fine-tuned in pairs: with K and M sampled, and classically."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

from agents.commands.options import ENCODER
from agents.studies.base import Section, Study
from agents.studies.columns import (
    ACCURACY_COLUMNS,
    DIFFERENCE_COLUMNS,
    LEADING_COLUMNS,
    accuracy_columns,
    difference_columns,
)
from agents.studies.idle import Idle
from agents.studies.options import StudyOptions, check_distinct
from agents.studies.training import (
    RECIPE_TITLES,
    RECIPES,
    SMOKE_TRAINING,
    TrainingOptions,
    check_training_device,
)
from encoders.support.validation import NotNegative

if TYPE_CHECKING:
    import numpy as np

    from agents.studies.subjects import Subject
    from agents.studies.table import PointTable, Row

# (K, M) of 12 blocks: the whole, and 16 parts at one and two thirds of the depth.
POINTS = ((0, 1), (4, 16), (8, 16))
_OF_DEPTH = 12


@dataclasses.dataclass(frozen=True)
class TransferOptions(StudyOptions):
    """From each starting encoder two fine-tuned ones: with K and M sampled, and classic.

    All are fine-tuned end to end on the training split with a new class head, the pair of a
    starting encoder alike but for K and M, and measured at the points that are (0, 1), (4, 16) and
    (8, 16) of 12 blocks; of another depth, at K of the same share of it, rounded. Which start loses
    least at the first by sampling, and which gains most at the others?

    Attributes:
        encoder: The starting encoders: supervised, MAE, DINO, untrained (timm/NAME with
            --no-pretrained), or any other.
        pretrained: Take published weights of timm's models; --no-pretrained starts from random
            ones.
        seed: Of new heads and of training; several for a pair with each.
        training: Hyper-parameters of all trainings.
    """

    encoder: Annotated[tuple[str, ...], ENCODER] = ("tore-nano",)  # type: ignore[assignment]
    pretrained: bool = True
    seed: tuple[NotNegative, ...] = (0,)  # type: ignore[assignment]
    training: tyro.conf.OmitArgPrefixes[TrainingOptions] = TrainingOptions(learning_rate=1e-4)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_training_device(self.device)
        check_distinct("encoder", self.encoder)
        check_distinct("seed", self.seed)


class Transfer(Study[TransferOptions]):
    """See `TransferOptions`."""

    name = "transfer"
    summary = "Starting encoders fine-tuned in pairs, with K and M sampled and classically"
    options_class = TransferOptions
    smoke: ClassVar = {"scenes": 16, "training": SMOKE_TRAINING}
    columns: ClassVar = {
        **LEADING_COLUMNS,
        **{"seed": int, "recipe": str, "point": str, "split_block": int, "parts": int},
        **ACCURACY_COLUMNS,
        **DIFFERENCE_COLUMNS,
        "gflops": float,
    }
    keys = ("encoder", "seed", "recipe", "point")

    def prepare(self) -> dict[str, Any]:
        """Opens scenes and every starting encoder, to see whether it fits them."""
        from agents.studies.subjects import identity, image_size_of, open_scenes, require_enough
        from encoders.layers.divisions import Division

        options = self.options
        self.sizes = {name: image_size_of(options, name) for name in options.encoder}
        if len(set(self.sizes.values())) > 1:
            raise ValueError(
                f"encoders for images of {', '.join(map(str, self.sizes.values()))} pixels; give "
                "one size for all (--image-size H W)"
            )
        size = next(iter(self.sizes.values()))
        self.scenes = open_scenes(
            options, image_size=size, split=options.split, most=options.scenes
        )
        training = open_scenes(
            options, image_size=size, split="train", most=options.training.epoch_size
        )
        self.names = training.scenes.class_names
        if self.scenes.scenes.class_names != self.names:
            raise ValueError("the measured split has other classes than the training split")
        most = max(parts for _, parts in POINTS)
        found: dict[str, Any] = {}
        for name in options.encoder:
            subject = self._start(name, options.seed[0])
            Division(most).labels(subject.encoder.grid)  # refuses what cannot be divided so
            found |= identity(subject, self.scenes)
            if subject.depth != _OF_DEPTH:
                points = ", ".join(f"({k}, {m})" for _, k, m in self._points(subject.depth))
                self.note(f"{name} has {subject.depth} blocks: measured at (K, M) = {points}")
        require_enough(len(self.scenes), most)
        return found

    def _start(self, name: str, seed: int) -> Subject:
        """A starting encoder with a new class head."""
        from agents.studies.subjects import HASH_DIGITS, Subject
        from encoders import create_encoder
        from encoders.analysis.divided import require_tore
        from encoders.registry import TIMM_PREFIX
        from encoders.storage import weights_hash

        published = self.options.pretrained if name.startswith(TIMM_PREFIX) else None
        size = self.sizes[name]
        try:
            encoder = create_encoder(
                name, image_size=size, pretrained=published, seed=seed, device="cpu"
            )
        except RuntimeError as error:  # published weights that are out of reach
            raise ValueError(
                f"{error}; give a file of them, or --no-pretrained to start from random weights"
            ) from error
        require_tore(encoder)
        encoder = encoder.with_head(self.names, seed)
        return Subject(name, encoder, weights_hash(encoder)[:HASH_DIGITS], self.options)

    def _points(self, depth: int) -> list[tuple[str, int, int]]:
        """Name, K and M of every point."""
        return [(f"({k}, {m}) of {_OF_DEPTH}", round(k * depth / _OF_DEPTH), m) for k, m in POINTS]

    def idle(self) -> Iterator[Idle]:
        """Whether weights of timm's models are the published ones, where there is none of them."""
        from encoders.registry import TIMM_PREFIX

        yield from super().idle()
        if not any(name.startswith(TIMM_PREFIX) for name in self.options.encoder):
            why = f"none of the encoders is a model of timm ({TIMM_PREFIX}NAME)"
            yield Idle("pretrained", why, f"give one, such as {TIMM_PREFIX}deit_tiny_patch16_224")

    def measure(self, table: PointTable, folder: Path) -> None:
        """A pair at a time, for their differences are paired."""
        for seed in self.options.seed:
            for number, name in enumerate(self.options.encoder):
                key: Row = {"encoder": name, "seed": seed}
                last = self._points(1)[-1][0]
                if all({**key, "recipe": recipe, "point": last} in table for recipe in RECIPES):
                    continue
                table.add(self._measure_pair(folder, number, name, seed))

    def _measure_pair(
        self, folder: Path, number: int, name: str, seed: int
    ) -> list[dict[str, Any]]:
        from agents.studies.grid import hits_by_split
        from agents.studies.readouts import OwnHead
        from agents.studies.training import train_encoder
        from encoders.analysis.divided import divided_flops
        from encoders.layers.divisions import Division

        rows, classic = [], dict[str, "np.ndarray"]()
        for recipe in RECIPES:
            start = self._start(name, seed)
            place = folder / "encoders" / f"{number:02d}-{recipe}-seed-{seed}"
            trained = train_encoder(start.encoder, recipe, place, self.options, seed=seed)
            subject = dataclasses.replace(start, encoder=trained)
            for point, split, parts in self._points(subject.depth):
                way = Division(parts)
                found = hits_by_split(subject, self.scenes, [OwnHead()], way, [split])
                hits = found[split, "own"]
                reference = classic.setdefault(point, hits)
                rows.append(
                    {
                        **start.leading(self.scenes),
                        "seed": seed,
                        "recipe": recipe,
                        "point": point,
                        "split_block": split,
                        "parts": parts,
                        **accuracy_columns(hits),
                        **difference_columns(hits, reference),
                        "gflops": divided_flops(trained, way.labels(trained.grid), split) / 1e9,
                    }
                )
        return rows

    def report(self, table: PointTable, folder: Path) -> list[Section]:
        """The figure, the table in pairs, and who loses least and gains most."""
        from agents.studies.transfer_figure import draw_transfer
        from encoders.support.rounding import written

        draw_transfer(table, folder)
        points = [str(each) for each in table.values("point")]
        encoders = [str(each) for each in table.values("encoder")]
        rows, gains = [], {}
        for encoder in encoders:
            for recipe in RECIPES:
                own = [table.where(encoder=encoder, recipe=recipe, point=each) for each in points]
                means = [_mean(each, "accuracy") for each in own]
                rows.append((encoder, RECIPE_TITLES[recipe], *(written(m, ".1%") for m in means)))
            sampled = [table.where(encoder=encoder, recipe="sampled", point=p) for p in points]
            gains[encoder] = [_mean(each, "difference") for each in sampled]
            cells = []
            for each, gain in zip(sampled, gains[encoder], strict=True):
                low, high = (_mean(each, f"difference_{end}") for end in ("lo", "hi"))
                ends = " to ".join(written(100 * end, ".1f", "+") for end in (low, high))
                cells.append(f"{written(100 * gain, '.1f', '+')} ({ends})")
            rows.append((encoder, "sampled minus classic, points", *cells))
        first = max(encoders, key=lambda each: gains[each][0])
        others = max(encoders, key=lambda each: sum(gains[each][1:]))
        text = (
            f"By sampling K and M, {first} loses least at {points[0]} "
            f"({written(100 * gains[first][0], '.1f', '+')} points), and {others} gains most at "
            "the other points. Means over seeds; intervals are Newcombe's, paired over scenes, "
            "their ends averaged over seeds."
        )
        columns = ("start", "fine-tuned", *points)
        return [
            Section("Fine-tuned in pairs", (text,), ("transfer.png",), columns, tuple(rows)),
        ]


def _mean(rows: list[Any], column: str) -> float:
    return sum(float(row[column]) for row in rows) / len(rows)

"""Accuracy over K, and after every part, of several encoders in one figure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from agents.commands.options import ENCODER
from agents.studies.base import Section, Study, table_section
from agents.studies.columns import ACCURACY_COLUMNS, LEADING_COLUMNS, accuracy_columns
from agents.studies.idle import Idle, nothing_random, without_probes
from agents.studies.options import (
    PROBE_SCENES,
    ReadoutName,
    StudyOptions,
    check_distinct,
    check_parts,
)
from encoders.support.validation import Positive

if TYPE_CHECKING:
    from agents.studies.readouts import OneReadout
    from agents.studies.subjects import SceneSet, Subject
    from agents.studies.table import PointTable


@dataclasses.dataclass(frozen=True)
class CurvesOptions(StudyOptions):
    """Several encoders in one figure: accuracy over K, and after every part.

    Meant for encoders trained in different ways (supervised, MAE, DINO, MoCo v3, ...): timm/NAME, a
    run folder, or any file of weights that the project reads. Classes are read with a linear probe
    trained at (0, 1), the same way for all; left is accuracy over K as a share of the depth, of
    images in M parts, right accuracy after every part in fixed order, at two thirds of the depth.

    Attributes:
        encoder: The encoders.
        parts: M.
        readout: How classes are read: own, each encoder's head; probe, a linear probe trained at
            (0, 1); sampled, one trained with K and M sampled.
        train_scenes: How many scenes probes learn from; None = the whole training split.
    """

    encoder: Annotated[tuple[str, ...], ENCODER] = ("tore-nano",)  # type: ignore[assignment]
    parts: Positive = 16
    readout: ReadoutName = "probe"
    train_scenes: Annotated[Positive | None, PROBE_SCENES] = 4096

    def __post_init__(self) -> None:
        super().__post_init__()
        check_distinct("encoder", self.encoder)
        check_parts("parts", self.parts)


class Curves(Study[CurvesOptions]):
    """See `CurvesOptions`."""

    name = "curves"
    summary = "Several encoders in one figure: accuracy over K, and after every part"
    options_class = CurvesOptions
    smoke: ClassVar = {"scenes": 16, "train_scenes": 64}
    columns: ClassVar = {
        **LEADING_COLUMNS,
        **{"readout": str, "curve": str, "depth": int, "split_block": int},
        **{"parts": int, "part": int},
        **ACCURACY_COLUMNS,
        "gflops": float,
    }
    keys = ("encoder", "readout", "curve", "split_block", "part")

    def prepare(self) -> dict[str, Any]:
        """Opens every encoder, and the scenes at its size."""
        from agents.studies.readouts import open_one_readout
        from agents.studies.subjects import (
            identity,
            image_size_of,
            open_scenes,
            open_subject,
            require_divided,
        )
        from encoders.layers.divisions import Division

        options = self.options
        self.each: list[tuple[Subject, SceneSet, OneReadout]] = []
        found: dict[str, Any] = {}
        self.way = Division(options.parts)
        opened: dict[tuple[int, int], SceneSet] = {}
        for name in options.encoder:
            size = image_size_of(options, name)
            if size not in opened:
                opened[size] = open_scenes(
                    options, image_size=size, split=options.split, most=options.scenes
                )
            scenes = opened[size]
            subject = open_subject(options, name, size)
            require_divided(subject, self.way, len(scenes))
            readout = open_one_readout(subject, scenes, options.readout, most=options.train_scenes)
            self.each.append((subject, scenes, readout))
            found |= identity(subject, scenes, *readout.sets)
        return found

    def idle(self) -> Iterator[Idle]:
        """What belongs to probes that are not trained."""
        yield from super().idle()
        yield from without_probes([self.options.readout], "--readout")
        if self.options.readout != "sampled":
            yield nothing_random("--readout sampled draws K and M")

    def measure(self, table: PointTable, folder: Path) -> None:
        """An encoder at a time, both curves."""
        from agents.studies.sequential import measure_sequence

        for subject, scenes, readout in self.each:
            base = {**subject.leading(scenes), "readout": readout.name, "depth": subject.depth}
            key = {"encoder": subject.name, "readout": readout.name}
            last = {"split_block": subject.depth, "part": self.way.parts}
            if {**key, "curve": "grid", **last} not in table:
                table.add(self._over_split(subject, scenes, readout, base))
            split = 2 * subject.depth // 3
            at = {"split_block": split, "part": self.way.parts}
            if {**key, "curve": "sequential", **at} not in table:
                ids = self._fixed_order(subject, scenes)
                rows = measure_sequence(subject, scenes, readout, ids, split, "fixed")
                columns = set(self.columns)
                table.add(
                    {
                        **base,
                        **{name: row[name] for name in row if name in columns},
                        "curve": "sequential",
                    }
                    for row in rows
                )

    def _over_split(
        self, subject: Subject, scenes: SceneSet, readout: OneReadout, base: dict[str, Any]
    ) -> list[dict[str, Any]]:
        from agents.studies.grid import hits_by_split
        from encoders.analysis.divided import divided_flops

        splits = list(range(subject.depth + 1))
        found = hits_by_split(subject, scenes, [readout.get()], self.way, splits)
        labels = self.way.labels(subject.encoder.grid)
        return [
            {
                **base,
                "curve": "grid",
                "split_block": split,
                "parts": self.way.parts,
                "part": self.way.parts,
                **accuracy_columns(found[split, readout.name]),
                "gflops": divided_flops(subject.encoder, labels, split) / 1e9,
            }
            for split in splits
        ]

    def _fixed_order(self, subject: Subject, scenes: SceneSet) -> Any:
        import numpy as np

        from encoders.layers.divisions import part_ids

        ids = part_ids(self.way.labels(subject.encoder.grid))
        return np.broadcast_to(ids, (len(scenes), *ids.shape))

    def report(self, table: PointTable, folder: Path) -> list[Section]:
        """The figure and the table."""
        from agents.studies.curves_figure import draw_curves
        from agents.studies.readouts import TITLES

        draw_curves(table, folder)
        reading = (
            f"Classes are read with {TITLES[self.options.readout]}. Left: images in "
            f"{self.options.parts} parts, over K as a share of each encoder's depth. Right: after "
            "every part in fixed order, at two thirds of the depth. Bands: 95 % Wilson intervals."
        )
        headings = {"encoder": "encoder", "curve": "curve", "split_block": "K", "part": "part"}
        headings |= {"accuracy": "accuracy", "ci_lo": "from", "ci_hi": "to", "gflops": "GFLOPs"}
        formats = {"accuracy": ".1%", "ci_lo": ".1%", "ci_hi": ".1%", "gflops": "#.4g"}
        return [
            Section("Several encoders", (reading,), ("curves.png",)),
            table_section("In figures", table.rows, headings, formats),
        ]

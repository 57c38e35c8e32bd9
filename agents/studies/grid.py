"""Accuracy over (K, M): images in M parts, each encoded alone by the first K blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from agents.studies.base import Section, Study, table_section
from agents.studies.columns import (
    ACCURACY_COLUMNS,
    DIFFERENCE_COLUMNS,
    LEADING_COLUMNS,
    accuracy_columns,
    difference_columns,
)
from agents.studies.idle import Idle, nothing_random, without_probes
from agents.studies.options import (
    PROBE_SCENES,
    ReadoutName,
    SplitBlocksOptions,
    check_distinct,
    check_parts,
)
from encoders.support.validation import Positive

if TYPE_CHECKING:
    import numpy as np

    from agents.studies.readouts import Readout
    from agents.studies.subjects import SceneSet, Subject
    from agents.studies.table import PointTable
    from encoders.layers.divisions import Division


@dataclasses.dataclass(frozen=True)
class GridOptions(SplitBlocksOptions):
    """Accuracy over (K, M), with the FLOPs of every point.

    Every image is divided into M rectangular parts; each goes through the first K blocks with a
    class token of its own, and all together through the others. Grids of 12x12, 14x14 and 28x28
    patches are divided as the authors of TORE do, others into bands that differ by one patch at
    most, larger ones outside. Where both orientations of a division differ, both are measured.
    Classes are read with the encoder's own head as it is, with a linear probe trained at (0, 1),
    and with one trained with K and M sampled; probes learn from the training split.

    Attributes:
        parts: Every M; None = all of 1, 2, 3, 4, 6, 8, 9, 12, 16 that the grid can be divided into.
        readouts: How classes are read: own, probe, sampled; None = all that there are.
        train_scenes: How many scenes probes learn from; None = the whole training split.
        probe_draws: Times that the probe with K and M sampled sees every scene.
        probe_weight_decay: Of probes.
    """

    parts: tuple[Positive, ...] | None = None
    readouts: tuple[ReadoutName, ...] | None = None
    train_scenes: Annotated[Positive | None, PROBE_SCENES] = 4096
    probe_draws: Positive = 2
    probe_weight_decay: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_parts("parts", self.parts)
        check_distinct("readouts", self.readouts)
        if not self.probe_weight_decay > 0:
            raise ValueError(f"probe_weight_decay={self.probe_weight_decay}; expected more than 0")


class Grid(Study[GridOptions]):
    """See `GridOptions`."""

    name = "grid"
    summary = "Accuracy over (K, M): own head and linear probes, with GFLOPs"
    options_class = GridOptions
    smoke: ClassVar = {"scenes": 16, "train_scenes": 64, "probe_draws": 1, "parts": (1, 2, 16)}
    columns: ClassVar = {
        **LEADING_COLUMNS,
        **{"readout": str, "split_block": int, "parts": int, "orientation": str},
        **ACCURACY_COLUMNS,
        **DIFFERENCE_COLUMNS,
        "gflops": float,
    }
    keys = ("encoder", "readout", "split_block", "parts", "orientation")

    def prepare(self) -> dict[str, Any]:
        """Opens the encoder and both splits."""
        from agents.studies.readouts import available
        from agents.studies.subjects import (
            identity,
            open_both,
            open_training_scenes,
            splits_of,
            ways_to_divide,
        )

        options = self.options
        self.subject, self.scenes = open_both(options, options.encoder)
        self.ways = ways_to_divide(self.subject, options.parts, len(self.scenes))
        self.splits = splits_of(self.subject, options.split_blocks)
        self.readouts, why = available(self.subject, self.scenes, options.readouts)
        if why is not None:
            self.note(why)
        self.training = None
        if set(self.readouts) - {"own"}:
            self.training = open_training_scenes(self.subject, options.train_scenes)
        sets = [each for each in (self.scenes, self.training) if each is not None]
        return identity(self.subject, *sets)

    def idle(self) -> Iterator[Idle]:
        """What belongs to probes that are not trained."""
        yield from super().idle()
        yield from without_probes(self.readouts, "--readouts")
        if "sampled" not in self.readouts:
            yield nothing_random("--readouts sampled draws K and M")

    def measure(self, table: PointTable, folder: Path) -> None:
        """A division at a time, at every K."""
        from agents.studies.readouts import fit_readouts
        from encoders.layers.divisions import Division

        missing = [way for way in self.ways if not self._has(table, way)]
        if not missing:
            return
        options = self.options
        readouts = fit_readouts(
            self.subject,
            self.readouts,
            self.training,
            parts=options.parts,
            draws=options.probe_draws,
            weight_decay=options.probe_weight_decay,
        )
        # Without a split, and of an image in one part, all is the plain encoder.
        plain = hits_by_split(self.subject, self.scenes, readouts, Division(1), [0])
        for way in missing:
            apart = [split for split in self.splits if split > 0 and way.parts > 1]
            found = hits_by_split(self.subject, self.scenes, readouts, way, apart)
            rows = []
            for split in self.splits:
                for readout in readouts:
                    reference = plain[0, readout.name]
                    hits = found.get((split, readout.name), reference)
                    rows.append(self._row(way, split, readout.name, hits, reference))
            table.add(rows)

    def report(self, table: PointTable, folder: Path) -> list[Section]:
        """The figure, and a table of the points of each readout."""
        from agents.studies.grid_figure import draw_grid
        from agents.studies.readouts import TITLES

        draw_grid(table, folder)
        reading = (
            "Above: accuracy over K, a line for every M; solid as specified, dashed transposed. "
            "Below: the same points over the GFLOPs of an image whose parts are encoded once. "
            "K = 0, and M = 1 at any K, is the plain encoder. At K = depth the last block runs for "
            "all tokens, elsewhere for the class token alone: that is why it costs more."
        )
        sections = [Section("Accuracy over (K, M)", text=(reading,), figures=("grid.png",))]
        for readout in table.values("readout"):
            rows = table.where(readout=readout)
            formats = {"accuracy": ".1%", "ci_lo": ".1%", "ci_hi": ".1%", "gflops": "#.4g"}
            formats |= {"difference": ".1%", "difference_lo": ".1%", "difference_hi": ".1%"}
            headings = {
                "split_block": "K",
                "parts": "M",
                "orientation": "orientation",
                "accuracy": "accuracy",
                "ci_lo": "from",
                "ci_hi": "to",
                "difference": "minus (0, 1)",
                "difference_lo": "from ",
                "difference_hi": "to ",
                "gflops": "GFLOPs",
            }
            sections.append(
                table_section(TITLES[str(readout)].capitalize(), rows, headings, formats)
            )
        return sections

    def _has(self, table: PointTable, way: Division) -> bool:
        return all(
            {
                "encoder": self.subject.name,
                "readout": readout,
                "split_block": split,
                "parts": way.parts,
                "orientation": way.orientation,
            }
            in table
            for readout in self.readouts
            for split in self.splits
        )

    def _row(
        self, way: Division, split: int, readout: str, hits: np.ndarray, reference: np.ndarray
    ) -> dict[str, Any]:
        from encoders.analysis.divided import divided_flops

        labels = way.labels(self.subject.encoder.grid)
        return {
            **self.subject.leading(self.scenes),
            "readout": readout,
            "split_block": split,
            "parts": way.parts,
            "orientation": way.orientation,
            **accuracy_columns(hits),
            **difference_columns(hits, reference),
            "gflops": divided_flops(self.subject.encoder, labels, split) / 1e9,
        }


def hits_by_split(
    subject: Subject,
    scenes: SceneSet,
    readouts: list[Readout],
    way: Division,
    splits: list[int],
) -> dict[tuple[int, str], np.ndarray]:
    """Which scenes are named right, bool `[N]` by K and readout.

    Args:
        subject: The encoder.
        scenes: The scenes.
        readouts: How classes are read.
        way: How images are divided.
        splits: Every K; nothing is computed for none.
    """
    import numpy as np

    from agents.studies.subjects import batches

    if not splits:
        return {}
    options, labels = subject.options, scenes.labels
    found = {
        (split, each.name): np.zeros(len(scenes), bool) for split in splits for each in readouts
    }
    title = f"M = {way.parts}, {way.orientation}"
    for rows in batches(scenes, options.batch_size, title=title, progress=options.progress):
        for split, features in subject.features(scenes.images(rows), way, splits).items():
            for readout in readouts:
                predicted = readout.predict(features).numpy()
                found[split, readout.name][rows] = predicted == labels[rows]
    return found

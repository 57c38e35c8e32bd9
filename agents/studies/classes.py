"""Classes that a split block costs or helps most, and where the class token looks then."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from agents.studies.base import Section, Study, table_section
from agents.studies.columns import DIFFERENCE_COLUMNS, LEADING_COLUMNS, difference_columns
from agents.studies.idle import Idle, nothing_random, without_probes
from agents.studies.options import OneDivisionOptions, OneReadoutOptions
from encoders.support.validation import NotNegative

if TYPE_CHECKING:
    import numpy as np

    from agents.studies.table import PointTable, Row

ALL_CLASSES = "all classes"
FLIPS_FILE = "flips.csv"
_FLIP_COLUMNS: dict[str, type] = {"scene": int, "class": str, "first": str, "second": str}


@dataclasses.dataclass(frozen=True)
class ClassesOptions(OneDivisionOptions, OneReadoutOptions):
    """Classes whose accuracy falls or rises most between two K, with a paired test.

    The same scenes, in M parts, are named at both K. For every class: how many scenes are right at
    one K alone, McNemar's exact test of that, and Holm's correction for there being many classes.
    Of scenes that are named right at one K alone, maps of the class token's attention in the last
    block are drawn, K beside K (where the encoder has a class token).

    Attributes:
        first_split: K of the comparison's first half.
        second_split: The other K; None = two thirds of the depth.
        maps: Most scenes whose attention is drawn.
    """

    first_split: NotNegative = 0
    second_split: NotNegative | None = None
    maps: NotNegative = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.first_split == self.second_split:
            raise ValueError(f"second_split={self.second_split}; expected another K than the first")


class Classes(Study[ClassesOptions]):
    """See `ClassesOptions`."""

    name = "classes"
    summary = "Classes whose accuracy changes most between two K, and attention K beside K"
    options_class = ClassesOptions
    smoke: ClassVar = {"scenes": 32, "train_scenes": 64, "maps": 2}
    columns: ClassVar = {
        **LEADING_COLUMNS,
        **{"readout": str, "parts": int, "orientation": str},
        **{"first_split": int, "second_split": int, "class": str, "class_n": int},
        **{"accuracy_first": float, "accuracy_second": float},
        **DIFFERENCE_COLUMNS,
        **{"lost": int, "won": int, "p": float, "p_holm": float},
    }
    keys = ("encoder", "readout", "first_split", "second_split", "class")

    def prepare(self) -> dict[str, Any]:
        """Opens encoder and scenes."""
        from agents.studies.readouts import open_one_readout
        from agents.studies.subjects import (
            identity,
            open_both,
            require_divided,
            splits_of,
        )

        options = self.options
        self.subject, self.scenes = open_both(options, options.encoder)
        self.way = options.way
        require_divided(self.subject, self.way, len(self.scenes))
        second = options.second_split
        second = 2 * self.subject.depth // 3 if second is None else second
        if second == options.first_split:
            raise ValueError(
                f"--first-split {second} is two thirds of the {self.subject.depth} blocks of "
                f"encoder {self.subject.name!r}; give another K as --second-split"
            )
        self.splits = (options.first_split, second)
        splits_of(self.subject, self.splits)
        self.readout = open_one_readout(
            self.subject, self.scenes, options.readout, most=options.train_scenes
        )
        if self.readout.why is not None:
            self.note(self.readout.why)
        self.draws_maps = options.maps > 0
        if self.draws_maps and not self._has_class_token():
            self.draws_maps = False
            self.note(
                f"encoder {self.subject.name!r} has no class token: maps of its attention are left "
                "out"
            )
        return identity(self.subject, self.scenes, *self.readout.sets)

    def idle(self) -> Iterator[Idle]:
        """What belongs to a probe that is not trained."""
        yield from super().idle()
        yield from without_probes([self.readout.name], "--readout")
        if self.readout.name != "sampled":
            yield nothing_random("--readout sampled draws K and M")

    def _has_class_token(self) -> bool:
        return getattr(self.subject.encoder.backbone.vit, "cls_token", None) is not None

    def measure(self, table: PointTable, folder: Path) -> None:
        """All classes at once, and a table of the scenes that change."""
        import numpy as np

        from agents.studies.subjects import batches
        from agents.studies.table import PointTable

        names = self._class_names()
        flips = PointTable(folder / FLIPS_FILE, _FLIP_COLUMNS, ["scene"])
        keys = [self._key(name) for name in [ALL_CLASSES, *names]]
        if all(key in table for key in keys) and (folder / FLIPS_FILE).is_file():
            return
        options, labels = self.options, self.scenes.labels
        predicted = np.zeros((2, len(self.scenes)), np.int64)
        title = "K = {} and {}".format(*self.splits)
        for rows in batches(
            self.scenes, options.batch_size, title=title, progress=options.progress
        ):
            features = self.subject.features(self.scenes.images(rows), self.way, self.splits)
            for at, split in enumerate(self.splits):
                predicted[at, rows] = self.readout.get().predict(features[split]).numpy()
        hits = predicted == labels
        display = self.scenes.scenes.display_names
        flips.replace(
            {
                "scene": int(self.scenes.indices[row]),
                "class": display[labels[row]],
                "first": display[predicted[0, row]],
                "second": display[predicted[1, row]],
            }
            for row in np.flatnonzero(hits[0] != hits[1])
        )
        table.replace(self._rows(hits, labels, names))

    def _class_names(self) -> list[str]:
        """The classes that there are scenes of."""
        import numpy as np

        display = self.scenes.scenes.display_names
        return [display[label] for label in np.unique(self.scenes.labels)]

    def _key(self, name: str) -> dict[str, Any]:
        return {
            "encoder": self.subject.name,
            "readout": self.readout.name,
            "first_split": self.splits[0],
            "second_split": self.splits[1],
            "class": name,
        }

    def _rows(self, hits: np.ndarray, labels: np.ndarray, names: list[str]) -> list[dict[str, Any]]:
        """All classes together first, then each, the one that loses most first."""
        import numpy as np

        from agents.evaluation.statistics import holm_adjusted, mcnemar_p_value

        rows = []
        chosen = [np.ones(len(labels), bool), *(labels == each for each in np.unique(labels))]
        for name, own in zip([ALL_CLASSES, *names], chosen, strict=True):
            first, second = hits[:, own]
            lost, won = int((first & ~second).sum()), int((second & ~first).sum())
            rows.append(
                {
                    **self.subject.leading(self.scenes),
                    **self._key(name),
                    "parts": self.way.parts,
                    "orientation": self.way.orientation,
                    "class_n": int(own.sum()),
                    "accuracy_first": float(first.mean()),
                    "accuracy_second": float(second.mean()),
                    **difference_columns(second, first),
                    "lost": lost,
                    "won": won,
                    "p": mcnemar_p_value(lost, won),
                }
            )
        rows[0]["p_holm"] = rows[0]["p"]  # one test, asked for beforehand
        for row, p in zip(rows[1:], holm_adjusted([row["p"] for row in rows[1:]]), strict=True):
            row["p_holm"] = p
        return [rows[0], *sorted(rows[1:], key=lambda row: (row["difference"], row["class"]))]

    def report(self, table: PointTable, folder: Path) -> list[Section]:
        """Figures of classes and of attention, and the table."""
        from agents.studies.classes_figure import draw_classes, draw_maps
        from agents.studies.table import PointTable

        draw_classes(table, folder)
        first, second = self.splits
        reading = (
            f"Accuracy at K = {second} minus that at K = {first} in the same scenes, with "
            "Newcombe's paired 95 % interval. Lost and won: scenes right at the first or at the "
            "second K alone. p: McNemar's exact test; then Holm's correction for the number of "
            "classes. Dark bars: at most 0.05 after the correction."
        )
        sections = [Section(f"K = {first} against K = {second}", (reading,), ("classes.png",))]
        headings = {"class": "class", "class_n": "scenes", "accuracy_first": f"K = {first}"}
        headings |= {"accuracy_second": f"K = {second}", "difference": "difference"}
        headings |= {"difference_lo": "from", "difference_hi": "to", "lost": "lost", "won": "won"}
        headings |= {"p": "p", "p_holm": "p (Holm)"}
        formats = {name: ".1%" for name in headings if name.startswith(("accuracy", "difference"))}
        formats |= {"p": ".3g", "p_holm": ".3g"}
        sections.append(table_section("Classes", table.rows, headings, formats))
        flips = PointTable(folder / FLIPS_FILE, _FLIP_COLUMNS, ["scene"]).rows
        if self.draws_maps and flips:
            chosen = _spread(flips, table, self.options.maps)
            draw_maps(self.subject, self.scenes, self.way, self.splits, chosen, folder)
            text = (
                "Scenes that are named right at one K alone: the scene, and the attention of the "
                "class token in the last block, mean of all heads; outlined, the patches with 60 % "
                f"of it. {len(flips)} scenes change, all in {FLIPS_FILE}."
            )
            sections.append(Section("Where the class token looks", (text,), ("maps.png",)))
        return sections


def _spread(flips: list[Row], table: PointTable, most: int) -> list[Row]:
    """Some scenes that change, those of classes that change most first, one of each at a time."""
    order = sorted(
        table.rows[1:], key=lambda row: (-abs(float(row["difference"])), str(row["class"]))
    )
    ranks = {row["class"]: rank for rank, row in enumerate(order)}
    turns: dict[Any, int] = {}
    keyed = []
    for row in flips:
        turns[row["class"]] = turns.get(row["class"], -1) + 1
        keyed.append(((turns[row["class"]], ranks[row["class"]]), row))
    return [row for _, row in sorted(keyed, key=lambda pair: pair[0])][:most]

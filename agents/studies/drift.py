"""How far features move from those at K = 0, and whether neighbours still know the class."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from agents.studies.base import Section, Study, table_section
from agents.studies.columns import LEADING_COLUMNS, accuracy_columns
from agents.studies.idle import Idle
from agents.studies.options import PROBE_SCENES, SplitBlocksOptions, check_parts
from encoders.support.validation import Positive

if TYPE_CHECKING:
    from torch import Tensor

    from agents.studies.table import PointTable
    from encoders.layers.divisions import Division


@dataclasses.dataclass(frozen=True)
class DriftOptions(SplitBlocksOptions):
    """Distance of features to those at K = 0, and nearest neighbours across K.

    Images are divided into M parts. For every K: the mean distance of an image's feature (the
    class token after the last norm) to its own at K = 0, Euclidean and as one minus the cosine; and
    the accuracy of a weighted nearest-neighbour classifier whose training features are those at
    K = 0, so that it says whether features at K can stand in for those of the whole encoder.

    Attributes:
        parts: Every M.
        train_scenes: Most scenes of the training split to search for neighbours, spread evenly;
            None = all.
        neighbours: How many vote.
        temperature: Of the votes' weights, exp(cosine / temperature).
    """

    parts: tuple[Positive, ...] = (4, 16)
    train_scenes: Annotated[Positive | None, PROBE_SCENES] = None
    neighbours: Positive = 20
    temperature: float = 0.07

    def __post_init__(self) -> None:
        super().__post_init__()
        check_parts("parts", self.parts)
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature}; expected more than 0")


class DriftStudy(Study[DriftOptions]):
    """See `DriftOptions`."""

    name = "drift"
    summary = "Distance of features to those at K = 0, and nearest neighbours across K"
    options_class = DriftOptions
    smoke: ClassVar = {"scenes": 16, "train_scenes": 64, "parts": (16,)}
    columns: ClassVar = {
        **LEADING_COLUMNS,
        **{"split_block": int, "parts": int, "orientation": str},
        **{"l2": float, "l2_lo": float, "l2_hi": float, "l2_other": float},
        **{"cosine": float, "cosine_lo": float, "cosine_hi": float, "cosine_other": float},
        **{"neighbours": int, "knn": float, "knn_lo": float, "knn_hi": float},
    }
    keys = ("encoder", "split_block", "parts", "orientation")

    def prepare(self) -> dict[str, Any]:
        """Opens the encoder and both splits."""
        from agents.studies.subjects import (
            identity,
            open_both,
            open_training_scenes,
            splits_of,
            ways_to_divide,
        )

        options = self.options
        self.subject, self.scenes = open_both(options, options.encoder)
        self.training = open_training_scenes(self.subject, options.train_scenes)
        self.ways = ways_to_divide(self.subject, options.parts, len(self.scenes))
        self.splits = splits_of(self.subject, options.split_blocks)
        if len(self.training) < options.neighbours:
            self.note(
                f"{len(self.training)} training scenes: all of them vote, fewer than the "
                f"{options.neighbours} neighbours asked for"
            )
        return identity(self.subject, self.scenes, self.training)

    def idle(self) -> Iterator[Idle]:
        """How votes are weighted, where there is one."""
        yield from super().idle()
        if min(self.options.neighbours, len(self.training)) == 1:
            yield Idle(
                "temperature", "one neighbour votes alone", "let several vote (--neighbours 20)"
            )

    def measure(self, table: PointTable, folder: Path) -> None:
        """A division at a time, at every K."""
        from agents.studies.features import latents
        from encoders.layers.divisions import Division

        missing = [
            way for way in self.ways if any(self._key(way, k) not in table for k in self.splits)
        ]
        if not missing:
            return
        known = latents(self.subject, self.training, Division(1), [0])[0]
        plain = latents(self.subject, self.scenes, Division(1), [0])[0]
        for way in missing:
            apart = [split for split in self.splits if split > 0 and way.parts > 1]
            found = latents(self.subject, self.scenes, way, apart)
            table.add(
                self._row(way, split, found.get(split, plain), plain, known)
                for split in self.splits
            )

    def _key(self, way: Division, split: int) -> dict[str, Any]:
        return {
            "encoder": self.subject.name,
            "split_block": split,
            "parts": way.parts,
            "orientation": way.orientation,
        }

    def _row(
        self, way: Division, split: int, features: Tensor, plain: Tensor, known: Tensor
    ) -> dict[str, Any]:
        import numpy as np
        import torch

        from agents.evaluation.statistics import bootstrap_interval
        from encoders.analysis.drift import feature_drift
        from encoders.analysis.knn import knn_classify

        options = self.options
        labels = torch.from_numpy(self.scenes.labels)
        drift = feature_drift(features, plain)
        # What the distance is to be compared with: how far another scene is.
        order = torch.from_numpy(np.random.default_rng(options.seed).permutation(len(plain)))
        other = feature_drift(plain[order], plain[order.roll(1)])
        device = self.subject.encoder.device  # the search is the larger part of the work
        voted = knn_classify(
            known.to(device),
            torch.from_numpy(self.training.labels),
            features.to(device),
            neighbours=options.neighbours,
            temperature=options.temperature,
        )
        knn = accuracy_columns(voted.hits(labels).numpy())
        row: dict[str, Any] = {**self.subject.leading(self.scenes), **self._key(way, split)}
        for name in ("l2", "cosine"):
            interval = bootstrap_interval(getattr(drift, name).numpy())
            row |= {name: float(interval.mean), f"{name}_lo": float(interval.low)}
            row |= {f"{name}_hi": float(interval.high)}
            row[f"{name}_other"] = float(getattr(other, name).mean())
        row |= {"knn": knn["accuracy"], "knn_lo": knn["ci_lo"], "knn_hi": knn["ci_hi"]}
        return row | {"neighbours": min(options.neighbours, len(known))}

    def report(self, table: PointTable, folder: Path) -> list[Section]:
        """The figure and the table."""
        from agents.studies.drift_figure import draw_drift

        draw_drift(table, folder)
        reading = (
            "Distances are means over scenes with 95 % bootstrap intervals; dotted: the mean "
            "distance between two different scenes at K = 0. Neighbours: training features at "
            "K = 0, test features at each K, with 95 % Wilson intervals."
        )
        headings = {"parts": "M", "orientation": "orientation", "split_block": "K"}
        headings |= {"l2": "l2", "l2_lo": "from", "l2_hi": "to", "l2_other": "other scenes"}
        headings |= {"cosine": "1 - cosine", "cosine_lo": "from ", "cosine_hi": "to "}
        headings |= {"cosine_other": "other scenes "}
        headings |= {"knn": "neighbours right", "knn_lo": " from", "knn_hi": " to"}
        formats = {name: "#.4g" for name in headings if name.startswith(("l2", "cosine"))}
        formats |= dict.fromkeys(("knn", "knn_lo", "knn_hi"), ".1%")
        return [
            Section("Features at K against those at K = 0", (reading,), ("drift.png",)),
            table_section("In figures", table.rows, headings, formats),
        ]

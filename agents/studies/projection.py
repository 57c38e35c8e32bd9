"""Features at several K in one plane."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from agents.studies.base import Section, Study
from agents.studies.columns import LEADING_COLUMNS
from agents.studies.options import OneDivisionOptions, SplitBlocksOptions
from encoders.support.validation import Positive

if TYPE_CHECKING:
    from agents.studies.table import PointTable


@dataclasses.dataclass(frozen=True)
class ProjectionOptions(SplitBlocksOptions, OneDivisionOptions):
    """t-SNE of features at several K, all in one plane.

    The features of the same scenes at every K are projected together, so that a scene that does not
    move lies in the same place in every panel. Needs scikit-learn (the extra `tsne`).

    Attributes:
        split_blocks: Every K; None = 0, one and two thirds of the depth, and the depth.
        scenes: Most scenes, spread evenly over the split; None = all of it.
        perplexity: About how many neighbours count.
    """

    scenes: Positive | None = 500
    perplexity: float = 30.0


class Projection(Study[ProjectionOptions]):
    """See `ProjectionOptions`."""

    name = "projection"
    summary = "t-SNE of features at several K, all in one plane (needs scikit-learn)"
    options_class = ProjectionOptions
    smoke: ClassVar = {"scenes": 24, "perplexity": 8.0}
    columns: ClassVar = {
        **LEADING_COLUMNS,
        **{"split_block": int, "parts": int, "orientation": str, "scene": int, "class": str},
        **{"x": float, "y": float},
    }
    keys = ("encoder", "split_block", "scene")

    def prepare(self) -> dict[str, Any]:
        """Opens encoder and scenes."""
        from agents.studies.subjects import (
            identity,
            open_both,
            require_divided,
            splits_of,
        )
        from encoders.analysis.projection import require_scikit_learn

        require_scikit_learn()
        options = self.options
        self.subject, self.scenes = open_both(options, options.encoder)
        self.way = options.way
        require_divided(self.subject, self.way, len(self.scenes))
        depth = self.subject.depth
        thirds = tuple(sorted({0, depth // 3, 2 * depth // 3, depth}))
        self.splits = splits_of(self.subject, options.split_blocks or thirds)
        count = len(self.scenes) * len(self.splits)
        if not 0 < options.perplexity < count:
            raise ValueError(
                f"perplexity={options.perplexity} for {count} features; expected more than 0, and "
                "less than scenes times K: choose a lower one, or more scenes"
            )
        return identity(self.subject, self.scenes)

    def measure(self, table: PointTable, folder: Path) -> None:
        """All at once: where a scene lies depends on all of them."""
        import torch

        from agents.studies.features import latents
        from encoders.analysis.projection import project

        keys = [self._key(split, scene) for split in self.splits for scene in self.scenes.indices]
        if all(key in table for key in keys):
            return
        options = self.options
        found = latents(self.subject, self.scenes, self.way, self.splits)
        together = torch.cat([found[split] for split in self.splits]).numpy()
        places = project(together, perplexity=options.perplexity, seed=options.seed)
        names = self.scenes.scenes.display_names
        labels = [names[label] for label in self.scenes.labels] * len(self.splits)
        table.replace(
            {
                **self.subject.leading(self.scenes),
                **key,
                "parts": self.way.parts,
                "orientation": self.way.orientation,
                "class": label,
                "x": float(place[0]),
                "y": float(place[1]),
            }
            for key, label, place in zip(keys, labels, places, strict=True)
        )

    def _key(self, split: int, scene: Any) -> dict[str, Any]:
        return {"encoder": self.subject.name, "split_block": split, "scene": int(scene)}

    def report(self, table: PointTable, folder: Path) -> list[Section]:
        """The figure."""
        from agents.studies.projection_figure import draw_projection

        draw_projection(table, folder)
        reading = (
            "One t-SNE of all K together: a scene that does not move lies in the same place in "
            "every panel. Distances between far groups, and sizes of groups, mean nothing. Grey: "
            "scenes of other classes."
        )
        return [Section("Features at several K in one plane", (reading,), ("projection.png",))]

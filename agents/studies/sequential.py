"""Prediction after each part: images in M parts that are seen one after another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from agents.commands.options import named
from agents.registry import AGENTS
from agents.studies.base import Section, Study, table_section
from agents.studies.columns import ACCURACY_COLUMNS, LEADING_COLUMNS, accuracy_columns
from agents.studies.idle import Idle, nothing_random, without_probes
from agents.studies.options import (
    OneDivisionOptions,
    OneReadoutOptions,
    SplitBlocksOptions,
    check_distinct,
)
from encoders.support.validation import Positive

if TYPE_CHECKING:
    import numpy as np

    from agents.studies.readouts import OneReadout
    from agents.studies.subjects import SceneSet, Subject
    from agents.studies.table import PointTable

Order = Literal["fixed", "shuffled"]

_AGENT = named(
    "Also let this agent choose glimpses in the place of parts",
    AGENTS,
    more="ppo and guided, run folders of trained agents, ",
)


@dataclasses.dataclass(frozen=True)
class SequentialOptions(SplitBlocksOptions, OneDivisionOptions, OneReadoutOptions):
    """Accuracy after every part of an image, and the FLOPs so far, at every K.

    Every image is divided into M parts, which are seen one after another and encoded once each; a
    prediction is made after every part. Parts come in fixed order (row by row) or shuffled, in
    another order for every scene. With --agent, an agent explores every scene with M glimpses of
    its environment, at the encoder's default K; the same glimpses are then encoded at every K.

    Attributes:
        orders: In which order the parts come.
        agent: Also let this agent choose glimpses in the place of parts.
        glimpse_size: Side of such a glimpse in patches.
    """

    orders: tuple[Order, ...] = ("fixed", "shuffled")
    agent: Annotated[str | None, _AGENT] = None
    glimpse_size: Positive = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.orders or self.agent is None:
            check_distinct("orders", self.orders)


class Sequential(Study[SequentialOptions]):
    """See `SequentialOptions`."""

    name = "sequential"
    summary = "Accuracy after every part: fixed order, shuffled, or glimpses of an agent"
    options_class = SequentialOptions
    smoke: ClassVar = {"scenes": 16, "train_scenes": 64, "split_blocks": (0, 2)}
    columns: ClassVar = {
        **LEADING_COLUMNS,
        **{"readout": str, "order": str, "split_block": int, "parts": int, "part": int},
        "seen": float,
        **ACCURACY_COLUMNS,
        "gflops": float,
    }
    keys = ("encoder", "readout", "order", "split_block", "part")

    def prepare(self) -> dict[str, Any]:
        """Opens encoder and scenes; makes the agent, to see whether it can act."""
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
        self.splits = splits_of(self.subject, options.split_blocks)
        self.readout = open_one_readout(
            self.subject, self.scenes, options.readout, most=options.train_scenes
        )
        if self.readout.why is not None:
            self.note(self.readout.why)
        self.explorer = None
        if options.agent is not None:
            from agents.studies.exploring import Explorer

            self.explorer = Explorer(
                options,
                self.subject,
                self.scenes,
                agent=options.agent,
                glimpse_size=options.glimpse_size,
                num_glimpses=options.parts,
            )
        return identity(self.subject, self.scenes, *self.readout.sets)

    def idle(self) -> Iterator[Idle]:
        """What belongs to an agent, to parts or to a probe where there is none."""
        yield from super().idle()
        options = self.options
        yield from without_probes([self.readout.name], "--readout")
        if options.agent is None:
            why = "no agent looks at glimpses"
            yield Idle("glimpse_size", why, "let one look (--agent NAME)")
        if not options.orders:
            why = "nothing is divided into parts, the agent alone looks"
            yield Idle("transposed", why, "choose orders of parts (--orders fixed)")
        drawn = "shuffled" in options.orders or self.readout.name == "sampled"
        if not drawn and (self.explorer is None or not self.explorer.uses_chance()):
            yield nothing_random("--orders shuffled draws the order of parts")

    @property
    def _orders(self) -> list[str]:
        """What the column `order` holds: the orders of parts, and the agent."""
        chosen: list[str] = [*self.options.orders]
        return chosen if self.options.agent is None else [*chosen, self.options.agent]

    def measure(self, table: PointTable, folder: Path) -> None:
        """An order at a time, at one K after another."""
        for order in self._orders:
            missing = [split for split in self.splits if self._key(order, split) not in table]
            if not missing:
                continue
            ids = self._patch_ids(order)
            for split in missing:
                rows = measure_sequence(self.subject, self.scenes, self.readout, ids, split, order)
                table.add(rows)

    def _key(self, order: str, split: int) -> dict[str, Any]:
        return {
            "encoder": self.subject.name,
            "readout": self.readout.name,
            "order": order,
            "split_block": split,
            "part": self.options.parts,
        }

    def _patch_ids(self, order: str) -> np.ndarray:
        """Patch ids int64 `[N, M, n]` of every scene's parts in order; -1 = padding."""
        import numpy as np

        from encoders.layers.divisions import part_ids

        if self.explorer is not None and order == self.options.agent:
            return self.explorer.patch_ids()
        ids = part_ids(self.way.labels(self.subject.encoder.grid))
        count = len(self.scenes)
        if order == "fixed":
            return np.broadcast_to(ids, (count, *ids.shape))
        rng = np.random.default_rng([self.options.seed, 1])
        return ids[rng.random((count, len(ids))).argsort(axis=1)]

    def report(self, table: PointTable, folder: Path) -> list[Section]:
        """The figure, and the accuracy after some of the parts."""
        from agents.studies.readouts import TITLES
        from agents.studies.sequential_figure import draw_sequential

        draw_sequential(table, folder)
        parts = self.options.parts
        shown = sorted({1, -(-parts // 4), -(-parts // 2), parts})
        rows = [row for row in table.rows if row["part"] in shown]
        headings = {"order": "order", "split_block": "K", "part": "after part", "seen": "seen"}
        headings |= {"accuracy": "accuracy", "ci_lo": "from", "ci_hi": "to", "gflops": "GFLOPs"}
        formats = {"seen": ".0%", "accuracy": ".1%", "ci_lo": ".1%", "ci_hi": ".1%"}
        reading = (
            f"{parts} parts, seen one after another; classes are read with "
            f"{TITLES[self.readout.name]}. Left: over the parts seen so far, a line for every K. "
            "Right: over the GFLOPs spent so far, with a prediction after every part."
        )
        return [
            Section("Accuracy after every part", text=(reading,), figures=("sequential.png",)),
            table_section("In figures", rows, headings, formats | {"gflops": "#.4g"}),
        ]


def measure_sequence(
    subject: Subject,
    scenes: SceneSet,
    readout: OneReadout,
    ids: np.ndarray,
    split: int,
    order: str,
) -> list[dict[str, Any]]:
    """Accuracy and FLOPs after every part, as rows of the table.

    Args:
        subject: The encoder.
        scenes: The scenes.
        readout: How classes are read.
        ids: Patch ids of every scene's parts in order, int64 `[N, M, n]`; -1 = padding.
        split: K.
        order: What tables call the order.
    """
    import numpy as np

    from agents.studies.streaming import observe_parts
    from agents.studies.subjects import batches

    options, labels, parts = subject.options, scenes.labels, ids.shape[1]
    hits = np.zeros((len(scenes), parts), bool)
    flops = np.zeros((len(scenes), parts))
    title = f"{order}, K = {split}"
    for rows in batches(scenes, options.batch_size, title=title, progress=options.progress):
        steps = observe_parts(subject, scenes.images(rows), ids[rows], split)
        for part, (features, spent) in enumerate(steps):
            predicted = readout.get().predict(features).numpy()
            hits[rows, part] = predicted == labels[rows]
            flops[rows, part] = spent
    so_far = flops.cumsum(1).mean(0) / 1e9
    seen = (ids >= 0).sum(2).cumsum(1).mean(0) / np.prod(subject.encoder.grid)
    return [
        {
            **subject.leading(scenes),
            "readout": readout.name,
            "order": order,
            "split_block": split,
            "parts": parts,
            "part": part + 1,
            "seen": float(seen[part]),
            **accuracy_columns(hits[:, part]),
            "gflops": float(so_far[part]),
        }
        for part in range(parts)
    ]

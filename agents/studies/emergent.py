"""Does AME survive a masked autoencoder that was fine-tuned with K and M sampled?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import tyro

from agents.studies.base import Section, Study
from agents.studies.columns import (
    ACCURACY_COLUMNS,
    DIFFERENCE_COLUMNS,
    LEADING_COLUMNS,
    accuracy_columns,
    difference_columns,
)
from agents.studies.idle import Idle
from agents.studies.options import SplitBlocksOptions, check_distinct
from agents.studies.training import SMOKE_TRAINING, TrainingOptions, check_training_device
from encoders.support.validation import Positive, Share

if TYPE_CHECKING:
    import numpy as np

    from agents.studies.subjects import Subject
    from agents.studies.table import PointTable

UNTOUCHED, SAMPLED = "untouched", "fine-tuned"
_REFERENCE = "random"


@dataclasses.dataclass(frozen=True)
class EmergentOptions(SplitBlocksOptions):
    """AME on a masked autoencoder as it is, and fine-tuned with its own loss at sampled (K, M).

    The encoder, which needs a decoder, is fine-tuned with the loss of masked autoencoders alone: a
    share of the patches is seen, divided into M parts, the first K blocks run on each part, and the
    decoder paints the rest. It and the untouched one are then frozen. At each K a linear head
    learns from random glimpses of training scenes, and agents explore the test scenes: AME, which
    looks where the decoder's attention is least certain, random viewing, and a checkerboard.
    Differences to random viewing, and between the two encoders, are paired over scenes.

    Attributes:
        split_blocks: Every K; None = 0 and two thirds of the depth.
        agents: Who explores; random is always among them.
        glimpse_size: Side of a glimpse in patches.
        num_glimpses: Glimpses in a scene.
        visible: Share of the patches that is seen while the autoencoder is fine-tuned.
        train_scenes: Most scenes that heads learn from, each with one set of random glimpses; None
            = the whole training split.
        training: Hyper-parameters of the fine-tuning.
    """

    agents: tuple[str, ...] = ("ame", "random", "checkerboard")
    glimpse_size: Positive = 2
    num_glimpses: Positive = 8
    visible: Share = 0.25
    train_scenes: Positive | None = 4096
    training: tyro.conf.OmitArgPrefixes[TrainingOptions] = TrainingOptions(
        epochs=5, learning_rate=1e-4
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_training_device(self.device)
        check_distinct("agents", self.agents)
        if not 0 < self.visible < 1:
            raise ValueError(
                f"visible={self.visible:g}; expected more than 0 and less than 1, for a masked "
                "autoencoder learns to paint what it has not seen"
            )


class Emergent(Study[EmergentOptions]):
    """See `EmergentOptions`."""

    name = "emergent"
    summary = "AME on a masked autoencoder, untouched and fine-tuned at sampled (K, M)"
    options_class = EmergentOptions
    smoke: ClassVar = {
        "scenes": 16,
        "num_glimpses": 2,
        "train_scenes": 64,
        "training": SMOKE_TRAINING,
    }
    columns: ClassVar = {
        **LEADING_COLUMNS,
        **{"weights": str, "split_block": int, "agent": str, "glimpse": int},
        **ACCURACY_COLUMNS,
        **DIFFERENCE_COLUMNS,
        **{f"{name}_untouched": float for name in DIFFERENCE_COLUMNS},
        "gflops": float,
    }
    keys = ("encoder", "weights", "split_block", "agent", "glimpse")

    def prepare(self) -> dict[str, Any]:
        """Opens encoder and scenes, and lets every agent look at them once."""
        from agents.studies.exploring import Explorer
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
        if self.subject.encoder.decoder is None:
            raise ValueError(
                f"encoder {options.encoder!r} has no decoder, so it is no masked autoencoder and "
                "AME has no attention to look at; choose one that has, such as tore-nano"
            )
        ways_to_divide(self.subject, None, len(self.scenes))
        depth = self.subject.depth
        self.splits = splits_of(
            self.subject, options.split_blocks or tuple(sorted({0, 2 * depth // 3}))
        )
        self.agents = list(dict.fromkeys([_REFERENCE, *options.agents]))
        for agent in self.agents:  # refuses what cannot act here
            self._explorer(Explorer, self.subject, agent, self.splits[0])
        return identity(self.subject, self.scenes, self.training)

    def idle(self) -> Iterator[Idle]:
        """The class head's part of the loss, for pixels alone are painted."""
        yield from super().idle()
        yield Idle("label_smoothing", "the fine-tuning has the loss of masked autoencoders alone")

    def _explorer(self, kind: Any, subject: Subject, agent: str, split: int) -> Any:
        return kind(
            self.options,
            subject,
            self.scenes,
            agent=agent,
            glimpse_size=self.options.glimpse_size,
            num_glimpses=self.options.num_glimpses,
            task="reconstruction",  # asks for no class head
            split_block=split,
        )

    def measure(self, table: PointTable, folder: Path) -> None:
        """The untouched encoder first, then the fine-tuned one, K after K."""
        missing = [
            (weights, split)
            for weights in (UNTOUCHED, SAMPLED)
            for split in self.splits
            if any(self._key(weights, split, agent) not in table for agent in self.agents)
        ]
        if not missing:
            return
        subjects = {UNTOUCHED: self.subject, SAMPLED: self._fine_tuned(folder)}
        for split in self.splits:
            if split not in {each for _, each in missing}:
                continue
            found = {
                weights: self._explore(subject, split) for weights, subject in subjects.items()
            }
            for weights, subject in subjects.items():
                if (weights, split) in missing:
                    table.add(self._rows(subject, weights, split, found))

    def _key(self, weights: str, split: int, agent: str) -> dict[str, Any]:
        return {
            "encoder": self.subject.name,
            "weights": weights,
            "split_block": split,
            "agent": agent,
            "glimpse": self.options.num_glimpses,
        }

    def _fine_tuned(self, folder: Path) -> Subject:
        """The same encoder after more of its own training, with K and M sampled."""
        import copy

        from agents.studies.subjects import HASH_DIGITS, Subject
        from agents.studies.training import train_encoder
        from encoders.storage import weights_hash
        from encoders.training.divided_views import DividedViews

        options = self.options
        encoder = copy.deepcopy(self.subject.encoder).with_head(())  # the pixel loss alone
        place = folder / "encoders" / "fine-tuned"
        views = DividedViews(encoder.grid, visible=options.visible)
        trained = train_encoder(
            encoder,
            "sampled",
            place,
            options,
            seed=options.seed,
            glimpses=views,
            reconstruction_weight=1.0,
        )
        digits = weights_hash(trained)[:HASH_DIGITS]
        return Subject(str(place), trained.to(self.subject.encoder.device), digits, options)

    def _explore(self, subject: Subject, split: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Hits bool `[N, T]`, and multiply-accumulates `[T]` so far, by agent."""
        import numpy as np

        from agents.studies.exploring import Explorer
        from agents.studies.glimpse_head import fit_glimpse_head
        from agents.studies.streaming import observe_parts
        from agents.studies.subjects import batches

        options, labels = self.options, self.scenes.labels
        head = fit_glimpse_head(
            subject,
            self.training,
            split,
            glimpse_size=options.glimpse_size,
            num_glimpses=options.num_glimpses,
        )
        found = {}
        for agent in self.agents:
            ids = self._explorer(Explorer, subject, agent, split).patch_ids()
            hits = np.zeros((len(self.scenes), ids.shape[1]), bool)
            flops = np.zeros(hits.shape)
            title = f"{agent}, K = {split}"
            for rows in batches(
                self.scenes, options.batch_size, title=title, progress=options.progress
            ):
                steps = observe_parts(subject, self.scenes.images(rows), ids[rows], split)
                for step, (features, spent) in enumerate(steps):
                    predicted = head(features.latent.float()).argmax(1).numpy()
                    hits[rows, step] = predicted == labels[rows]
                    flops[rows, step] = spent
            found[agent] = hits, flops.cumsum(1).mean(0)
        return found

    def _rows(
        self, subject: Subject, weights: str, split: int, found: dict[str, Any]
    ) -> list[dict[str, Any]]:
        rows = []
        for agent in self.agents:
            hits, flops = found[weights][agent]
            reference, before = found[weights][_REFERENCE][0], found[UNTOUCHED][agent][0]
            for step in range(hits.shape[1]):
                own = difference_columns(hits[:, step], before[:, step])
                rows.append(
                    {
                        **self.subject.leading(self.scenes),
                        "weights_hash": subject.weights_hash,
                        "weights": weights,
                        "split_block": split,
                        "agent": agent,
                        "glimpse": step + 1,
                        **accuracy_columns(hits[:, step]),
                        **difference_columns(hits[:, step], reference[:, step]),
                        **{f"{name}_untouched": value for name, value in own.items()},
                        "gflops": float(flops[step]) / 1e9,
                    }
                )
        return rows

    def report(self, table: PointTable, folder: Path) -> list[Section]:
        """The figure, and the last glimpse in figures."""
        from agents.studies.emergent_figure import draw_emergent
        from encoders.support.rounding import written

        draw_emergent(table, folder)

        def paired(row: Any, suffix: str) -> str:
            mean, low, high = (
                written(100 * float(row[f"difference{part}{suffix}"]), ".1f", "+")
                for part in ("", "_lo", "_hi")
            )
            return f"{mean} ({low} to {high})"

        rows = tuple(
            (
                str(row["weights"]),
                str(row["split_block"]),
                str(row["agent"]),
                written(float(row["accuracy"]), ".1%"),
                paired(row, ""),
                paired(row, "_untouched"),
                written(float(row["gflops"]), "#.4g"),
            )
            for row in table.where(glimpse=self.options.num_glimpses)
        )
        reading = (
            "The encoder is frozen; a linear head was trained on random glimpses at each K. "
            "Differences are in points with Newcombe's paired 95 % interval. AME survives where it "
            "is above random viewing after the fine-tuning too. GFLOPs are those of the features "
            "that the head reads; what AME's decoder takes to choose comes on top."
        )
        columns = ("encoder", "K", "agent", "accuracy", "minus random", "minus untouched", "GFLOPs")
        title = f"After {self.options.num_glimpses} glimpses"
        return [
            Section("AME with a head only", (reading,), ("emergent.png",)),
            Section(title, columns=columns, rows=rows),
        ]

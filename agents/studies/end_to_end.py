"""Training with and without sampling of (K, M), all else alike: both curves on two test sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

from agents.commands.options import ENCODER
from agents.studies.base import Section, Study, table_section
from agents.studies.columns import ACCURACY_COLUMNS, LEADING_COLUMNS, accuracy_columns
from agents.studies.idle import Idle
from agents.studies.options import SplitBlocksOptions, check_distinct, check_parts
from agents.studies.training import RECIPES, SMOKE_TRAINING, TrainingOptions, check_training_device
from encoders.support.validation import NotNegative, Positive
from encoders.training.config import EncoderShape

if TYPE_CHECKING:
    from agents.studies.subjects import SceneSet
    from agents.studies.table import PointTable
    from encoders.layers.divisions import Division


@dataclasses.dataclass(frozen=True)
class EndToEndOptions(SplitBlocksOptions):
    """The same encoder trained twice, with K and M sampled and classically, and measured over both.

    Training is end to end on whole images with a class head: classically as one part at K = 0, or
    with K, M and the orientation drawn anew for every batch, as the authors of TORE do, with the
    same hyper-parameters, scenes and initial weights. Both are then measured at every (K, M) on the
    test set and, with --second-data-root, on a second one (`python -m ave_env.scenes.corrupt` makes
    one): do the curves keep their shape?

    Attributes:
        encoder: Start from this encoder instead of a new one; its class head is made anew where it
            was trained for other classes.
        second_data_root: Folder or HDF5 file of a second test set with the same classes.
        second_split: Which of its scenes.
        seed: Of initial weights and training; several for a pair of encoders with each.
        split_blocks: Every K that is measured; None = all of 0 to the depth.
        parts: Every M that is measured; None = all that the grid can be divided into.
        shape: Sizes of a new encoder; it has no decoder.
        training: Hyper-parameters of all trainings.
    """

    encoder: Annotated[str | None, ENCODER] = None  # type: ignore[assignment]
    second_data_root: Path | None = None
    second_split: str = "test"
    seed: tuple[NotNegative, ...] = (0, 1, 2)  # type: ignore[assignment]
    parts: tuple[Positive, ...] | None = None
    shape: tyro.conf.OmitArgPrefixes[EncoderShape] = EncoderShape(decoder_width=0)
    training: tyro.conf.OmitArgPrefixes[TrainingOptions] = TrainingOptions()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_training_device(self.device)
        check_parts("parts", self.parts)
        check_distinct("seed", self.seed)
        if self.second_split not in ("train", "val", "test"):
            raise ValueError(f"second_split={self.second_split!r}; expected train, val or test")

    @property
    def encoders(self) -> tuple[str, ...]:
        """The encoder to start from, if there is one."""
        return () if self.encoder is None else (self.encoder,)


class EndToEnd(Study[EndToEndOptions]):
    """See `EndToEndOptions`."""

    name = "end_to_end"
    summary = "Training with and without sampling of (K, M): both curves on two test sets"
    options_class = EndToEndOptions
    smoke: ClassVar = {
        "scenes": 16,
        "seed": (0,),
        "parts": (1, 4),
        "shape": EncoderShape(width=32, depth=2, num_heads=2, decoder_width=0),
        "training": SMOKE_TRAINING,
    }
    columns: ClassVar = {
        **LEADING_COLUMNS,
        **{"test_set": str, "recipe": str, "seed": int},
        **{"split_block": int, "parts": int, "orientation": str},
        **ACCURACY_COLUMNS,
        **{"gflops": float, "gflops_training": float},
    }
    keys = ("test_set", "recipe", "seed", "split_block", "parts", "orientation")

    def prepare(self) -> dict[str, Any]:
        """Opens scenes of all splits and makes an encoder, to see whether it fits them."""
        from agents.studies.subjects import (
            Subject,
            open_scenes,
            require_classes,
            splits_of,
            ways_to_divide,
        )
        from ave_env.registration import configure

        options = self.options
        size = configure(options.env, image_size=options.image_size).image_size
        if options.encoder is not None:
            from agents.studies.subjects import image_size_of

            size = image_size_of(options, options.encoder)
        self.scenes = open_scenes(
            options, image_size=size, split=options.split, most=options.scenes
        )
        training = open_scenes(
            options, image_size=size, split="train", most=options.training.epoch_size
        )
        names = training.scenes.class_names
        self._require_same_classes(self.scenes, names)
        self.sets: dict[str, SceneSet] = {"first": self.scenes}
        if options.second_data_root is not None:
            second = dataclasses.replace(
                options,
                env="AVE-ImageFolder-v0",
                data_root=options.second_data_root,
                list_file=None,
            )
            self.sets["second"] = open_scenes(
                second, image_size=size, split=options.second_split, most=options.scenes
            )
            require_classes(self.sets["second"].scenes)
            self._require_same_classes(self.sets["second"], names)
        else:
            self.note("no --second-data-root: the curves are measured on one test set alone")
        encoder = self._new_encoder(size, names, options.seed[0])
        probe = Subject("trained here", encoder, "", options)
        self.ways = ways_to_divide(probe, options.parts, len(self.scenes))
        self.splits = splits_of(probe, options.split_blocks)
        self.size, self.names = size, names
        found = {
            f"{name} test set": f"{len(each)} of {each.scenes.name}"
            for name, each in self.sets.items()
        }
        return found | {"training scenes": f"{len(training)} of {training.scenes.name}"}

    def _require_same_classes(self, scenes: SceneSet, names: tuple[str, ...]) -> None:
        found = scenes.scenes.class_names
        if found != names:
            raise ValueError(
                f"a test set with {len(found)} classes ({', '.join(found[:5])}, ...), and the "
                f"training scenes have {len(names)} ({', '.join(names[:5])}, ...); expected the "
                "same ones"
            )

    def _new_encoder(self, size: tuple[int, int], names: tuple[str, ...], seed: int) -> Any:
        """The encoder that training starts from, the same for both recipes."""
        from encoders import build_encoder, create_encoder
        from encoders.analysis.divided import require_tore

        options = self.options
        if options.encoder is None:
            config = options.shape.config("trained here", size, names)
            return build_encoder(config, seed)
        encoder = create_encoder(options.encoder, image_size=size, device="cpu")
        require_tore(encoder)
        if encoder.config.class_names != names:
            encoder = encoder.with_head(names, seed)
        return encoder

    def idle(self) -> Iterator[Idle]:
        """What belongs to a second test set, a new encoder or a decoder where there is none."""
        yield from super().idle()
        options = self.options
        if options.second_data_root is None:
            why = "there is no second test set"
            yield Idle("second_split", why, "give one (--second-data-root)")
        if options.encoder is not None:
            why = f"--encoder {options.encoder} keeps its own sizes"
            for field in dataclasses.fields(EncoderShape):
                yield Idle(field.name, why, "leave --encoder out for a new encoder")
        for name in ("decoder_width", "decoder_depth", "decoder_num_heads"):
            yield Idle(name, "the encoders are trained for classes alone, without a decoder")

    def measure(self, table: PointTable, folder: Path) -> None:
        """A pair of encoders for every seed, each trained and then measured."""
        for seed in self.options.seed:
            for recipe in RECIPES:
                missing = [
                    (name, way)
                    for name in self.sets
                    for way in self.ways
                    if any(self._key(name, recipe, seed, way, k) not in table for k in self.splits)
                ]
                if missing:
                    self._measure_one(table, folder, recipe, seed, missing)

    def _key(
        self, test_set: str, recipe: str, seed: int, way: Division, split: int
    ) -> dict[str, Any]:
        return {
            "test_set": test_set,
            "recipe": recipe,
            "seed": seed,
            "split_block": split,
            "parts": way.parts,
            "orientation": way.orientation,
        }

    def _measure_one(
        self,
        table: PointTable,
        folder: Path,
        recipe: Any,
        seed: int,
        missing: list[tuple[str, Division]],
    ) -> None:
        from agents.studies.grid import hits_by_split
        from agents.studies.readouts import OwnHead
        from agents.studies.subjects import HASH_DIGITS, Subject
        from agents.studies.training import train_encoder, training_gflops
        from encoders.analysis.divided import divided_flops
        from encoders.storage import weights_hash

        place = folder / "encoders" / f"{recipe}-seed-{seed}"
        encoder = self._new_encoder(self.size, self.names, seed)
        encoder = train_encoder(encoder, recipe, place, self.options, seed=seed)
        digits = weights_hash(encoder)[:HASH_DIGITS]
        subject = Subject(f"{recipe}, seed {seed}", encoder, digits, self.options)
        gflops_training = training_gflops(encoder, recipe)
        for name, way in missing:
            scenes = self.sets[name]
            found = hits_by_split(subject, scenes, [OwnHead()], way, self.splits)
            labels = way.labels(encoder.grid)
            table.add(
                {
                    **subject.leading(scenes),
                    **self._key(name, recipe, seed, way, split),
                    **accuracy_columns(found[split, "own"]),
                    "gflops": divided_flops(encoder, labels, split) / 1e9,
                    "gflops_training": gflops_training,
                }
                for split in self.splits
            )

    def report(self, table: PointTable, folder: Path) -> list[Section]:
        """The figure, whether curves keep their shape, and the table."""
        from agents.studies.end_to_end_figure import compare_shapes, draw_end_to_end
        from encoders.support.rounding import written

        draw_end_to_end(table, folder)
        reading = (
            "Mean over seeds; thin lines: single seeds. Left: accuracy over K with the largest M; "
            "right: over M at the largest K below the depth."
        )
        sections = [Section("With and without sampling", (reading,), ("end_to_end.png",))]
        costs = {recipe: table.where(recipe=recipe)[0]["gflops_training"] for recipe in RECIPES}
        sentence = (
            "An image's forward pass in training takes "
            f"{written(float(costs['sampled']), '#.4g')} GFLOPs with K and M sampled (on average) "
            f"and {written(float(costs['classic']), '#.4g')} without, "
            f"{written(float(costs['sampled']) / float(costs['classic']) - 1, '.1%', '+')}; the "
            "backward pass takes about twice as much in both."
        )
        sections.append(Section("FLOPs of training", (sentence,)))
        shapes = compare_shapes(table)
        if shapes:
            text = (
                "Every (K, M) is a point with an accuracy on the first and on the second test set "
                "(mean over seeds). Correlation: of the two, over all points. Largest change of "
                "shape: the largest difference, in points, between the two curves after each is "
                "taken relative to its own (0, 1)."
            )
            columns = ("recipe", "points", "correlation", "largest change of shape", "at (K, M)")
            sections.append(
                Section("Do the curves keep their shape?", (text,), (), columns, shapes)
            )
        headings = {"test_set": "test set", "recipe": "recipe", "seed": "seed"}
        headings |= {"split_block": "K", "parts": "M", "orientation": "orientation"}
        headings |= {"accuracy": "accuracy", "ci_lo": "from", "ci_hi": "to", "gflops": "GFLOPs"}
        formats = {"accuracy": ".1%", "ci_lo": ".1%", "ci_hi": ".1%", "gflops": "#.4g"}
        sections.append(table_section("In figures", table.rows, headings, formats))
        return sections

"""What is compared, in which scenes, and for how long."""

from __future__ import annotations

import dataclasses
import json
import sys
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ave_env.registration import configure
from encoders.registry import training_of
from encoders.support.files import write_json
from encoders.training.config import EncoderShape, TrainingConfig
from encoders.training.family import Blueprint

Sizes = Mapping[str, Any]
Scale = Literal["nano", "pico"]
SCALES: tuple[Scale, ...] = typing.get_args(Scale)

REFERENCE = "tore"
TOLERANCE = 0.1
_SMALL_SCENES = 64  # pixels along the shorter side below which sizes are others


@dataclasses.dataclass(frozen=True)
class Model:
    """An observation model.

    Attributes:
        family: Its family.
        attention: Of the family "tore": softmax or angular.
        nano: Sizes with as many parameters as tore-nano has.
        nano_small: What differs in scenes of less than 64 pixels.
        pico: Sizes with a third of that.
        pico_small: What differs in scenes of less than 64 pixels.
    """

    family: str
    attention: Any = "softmax"
    nano: Sizes = dataclasses.field(default_factory=dict)
    nano_small: Sizes = dataclasses.field(default_factory=dict)
    pico: Sizes = dataclasses.field(default_factory=dict)
    pico_small: Sizes = dataclasses.field(default_factory=dict)

    def sizes(self, scale: Scale, small: bool) -> dict[str, Any]:
        """Of one scale, in scenes that are small or not."""
        if scale == "nano":
            return {**self.nano, **(self.nano_small if small else {})}
        return {**self.pico, **(self.pico_small if small else {})}


_SHAPE_FIELDS = frozenset(field.name for field in dataclasses.fields(EncoderShape))
_SHAPE_FIELDS_OF_ALL = frozenset(("decoder_width",))  # the rest of the shape is TORE's
_PICO_DECODER = {"decoder_width": 32}
_PICO_TORE = {**_PICO_DECODER, "width": 64}

MODELS = {
    "tore": Model("tore", pico=_PICO_TORE),
    "tore-angular": Model("tore", "angular", pico=_PICO_TORE),
    "convmixer": Model(
        "convmixer",
        nano={"width": 312},
        nano_small={"width": 336},
        pico={**_PICO_DECODER, "width": 160, "depth": 8},
        pico_small={"depth": 10},
    ),
    "alternet": Model(
        "alternet",
        nano_small={"stem_stride": 2},
        pico={**_PICO_DECODER, "widths": (24, 48, 80), "num_heads": (1, 2, 3)},
        pico_small={"widths": (20, 40, 80), "stem_stride": 2},
    ),
    "riformer": Model(
        "riformer",
        nano_small={"layers": (1, 2, 1), "widths": (64, 128, 256)},
        pico={**_PICO_DECODER, "layers": (1, 1, 3, 1), "widths": (16, 32, 64, 128)},
        pico_small={"layers": (1, 2, 1), "widths": (32, 64, 128)},
    ),
    "sparseformer": Model(
        "sparseformer",
        nano={"cortex_width": 128},
        nano_small={"cortex_depth": 2},
        pico={
            **_PICO_DECODER,
            "width": 64,
            "cortex_width": 64,
            "cortex_depth": 2,
            "latents": 16,
            "features": 16,
        },
    ),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all points of an output folder share.

    Attributes:
        env: Environment id.
        data_root: Folder or file of the scenes.
        image_size: Height and width in pixels.
        patch_size: Side of a patch in pixels.
        glimpse_size: Side of a glimpse in patches.
        num_glimpses: T.
        minutes: Processor time of the training of an encoder.
        batch_size: Scenes in a step of it.
        curriculum: Share of its steps with many glimpses, which get the classifier off its plateau.
        precision: Of its matrix products.
        learner: Who learns to look through each encoder.
        agent_steps: Environment steps of that.
        agent_rows: Episodes side by side in it.
        scenes: Of the test split.
        scale: Of the models.
        sizes: By model: sizes instead of those of `MODELS`.
        measured_steps: Training steps whose time is measured beforehand.
        train_scenes: Scenes to train on, spread evenly over the split and kept in memory; 0 = all
            of them, read whenever they are needed.
    """

    env: str
    data_root: str | None
    image_size: tuple[int, int]
    patch_size: int
    glimpse_size: int
    num_glimpses: int
    minutes: float
    batch_size: int
    curriculum: float
    precision: Any
    learner: str
    agent_steps: int
    agent_rows: int
    scenes: int
    scale: Scale
    sizes: Mapping[str, Sizes]
    measured_steps: int
    train_scenes: int

    @property
    def environment(self) -> dict[str, Any]:
        """Keyword arguments of the environment but split, encoder and what is observed."""
        names = ("data_root", "image_size", "patch_size", "glimpse_size", "num_glimpses")
        return {**{name: getattr(self, name) for name in names}, "device": "cpu", "threads": 1}

    def open_scenes(self, split: str) -> Any:
        """The scenes of a split."""
        return configure(self.env, split=split, **self.environment).open_scenes()

    def training(self, seed: int, steps: int, epochs: int = 4) -> TrainingConfig:
        """Hyper-parameters of an encoder's training of about so many steps."""
        epochs = min(epochs, steps)
        rows, columns = (side // self.patch_size for side in self.image_size)
        fields = (rows // self.glimpse_size) * (columns // self.glimpse_size)
        return TrainingConfig(
            epochs=epochs,
            epoch_size=max(round(steps / epochs), 1) * self.batch_size,
            batch_size=self.batch_size,
            glimpse_size=self.glimpse_size,
            max_glimpses=min(TrainingConfig.max_glimpses, fields),
            curriculum=self.curriculum,
            precision=self.precision,
            seed=seed,
            num_workers=0,
            validation_size=256,
            progress=False,
        )

    def keep(self, folder: Path) -> None:
        """Writes the settings down, or refuses a folder that holds points of others."""
        path = folder / "settings.json"
        own = json.loads(json.dumps(dataclasses.asdict(self)))
        if not path.is_file():
            write_json(path, own)
            return
        kept = json.loads(path.read_text("utf-8"))
        for name, value in own.items():
            if kept.get(name) != value:
                sys.exit(
                    f"{folder} holds points of {name}={kept.get(name)!r}, not {value!r}; give the "
                    "same options again, or another --output"
                )


def build_model(name: str, settings: Settings, class_names: tuple[str, ...], seed: int) -> Any:
    """A new encoder with random weights."""
    model = MODELS[name]
    small = min(settings.image_size) < _SMALL_SCENES
    sizes = {**model.sizes(settings.scale, small), **settings.sizes.get(name, {})}
    shape = {"patch_size": settings.patch_size, "attention": model.attention}
    in_shape = _SHAPE_FIELDS if model.family == "tore" else _SHAPE_FIELDS_OF_ALL
    shape |= {key: sizes.pop(key) for key in list(sizes) if key in in_shape}
    return training_of(model.family).build(
        Blueprint(EncoderShape(**shape), sizes, name, settings.image_size, class_names, seed)
    )


def count_parameters(encoder: Any) -> int:
    """All that is trained."""
    return sum(parameter.numel() for parameter in encoder.parameters())


def compare_counts(settings: Settings, class_names: tuple[str, ...]) -> dict[str, int]:
    """Parameters of every model; prints them, and refuses models of another size than TORE's."""
    counts = {
        name: count_parameters(build_model(name, settings, class_names, 0)) for name in MODELS
    }
    reference = counts[REFERENCE]
    for name, count in counts.items():
        share = count / reference
        print(f"{name:<14}{count:>10,} parameters, {100 * (share - 1):+.1f} %")
        if abs(share - 1) > TOLERANCE:
            sys.exit(
                f"{name} has {count:,} parameters and {REFERENCE} {reference:,}: not within "
                f"{100 * TOLERANCE:.0f} %; give other sizes, e.g. "
                f"""--sizes '{{"{name}": {{"width": 256}}}}'"""
            )
    return counts

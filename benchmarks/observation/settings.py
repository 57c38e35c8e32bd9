"""What is compared, in which scenes, and for how long."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ave_env.registration import configure
from encoders.registry import training_of
from encoders.support.files import write_json
from encoders.training.config import EncoderShape, TrainingConfig
from encoders.training.family import Blueprint

REFERENCE = "tore"
TOLERANCE = 0.1
_SMALL_SCENES = 64  # pixels along the shorter side below which sizes are others


@dataclasses.dataclass(frozen=True)
class Model:
    """An observation model.

    Attributes:
        family: Its family.
        attention: Of the family "tore": softmax or angular.
        sizes: Of the other families, for as many parameters as tore-nano has.
        small: The same for scenes of less than 64 pixels.
    """

    family: str
    attention: Any = "softmax"
    sizes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    small: Mapping[str, Any] = dataclasses.field(default_factory=dict)


MODELS = {
    "tore": Model("tore"),
    "tore-angular": Model("tore", "angular"),
    "convmixer": Model("convmixer", sizes={"width": 312}, small={"width": 336}),
    "alternet": Model("alternet", small={"stem_stride": 2}),
    "riformer": Model("riformer", small={"layers": (1, 2, 1), "widths": (64, 128, 256)}),
    "sparseformer": Model(
        "sparseformer",
        sizes={"cortex_width": 128},
        small={"cortex_width": 128, "cortex_depth": 2},
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
        precision: Of its matrix products.
        learner: Who learns to look through each encoder.
        agent_steps: Environment steps of that.
        agent_rows: Episodes side by side in it.
        scenes: Of the test split.
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
    precision: Any
    learner: str
    agent_steps: int
    agent_rows: int
    scenes: int
    sizes: Mapping[str, Mapping[str, Any]]
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
    sizes = {**(model.small if small else model.sizes), **settings.sizes.get(name, {})}
    return training_of(model.family).build(
        Blueprint(
            EncoderShape(patch_size=settings.patch_size, attention=model.attention),
            sizes,
            name,
            settings.image_size,
            class_names,
            seed,
        )
    )


def count_parameters(encoder: Any) -> int:
    """All that is trained."""
    return sum(parameter.numel() for parameter in encoder.parameters())


def compare_counts(settings: Settings, class_names: tuple[str, ...]) -> dict[str, int]:
    """Parameters of every model; prints them, and refuses models of another size than tore-nano."""
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

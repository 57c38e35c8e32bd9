"""Options that all studies have in common; imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from agents.commands.options import DEFAULT_ENV, ENCODER, THREADS, EnvironmentOptions
from agents.studies.idle import Idle, without_orientation, without_procedural_scenes
from ave_env.choices import Split
from encoders.layers.divisions import PART_COUNTS, Division
from encoders.support.choices import TrainingPrecision
from encoders.support.devices import check_device_name
from encoders.support.validation import NotNegative, Positive, check_fields

ReadoutName = Literal["own", "probe", "sampled"]


@dataclasses.dataclass(frozen=True)
class StudyOptions:
    """What every study is told.

    Attributes:
        encoder: The encoder, of the family "tore" (any plain Vision Transformer of timm is).
        env: Whose scenes: an environment id.
        data_root: Folder or HDF5 file of the scenes; None = the environment variable of the id.
        list_file: List of image paths that decides the splits of SUN360.
        seamless: Whether the left and right edges of the images meet, as in 360-degree panoramas;
            None = those of SUN360 do.
        image_size: Height and width in pixels; None = the encoder's own where it is in a folder,
            else the environment's.
        split: Which scenes are measured on: train, val or test.
        scenes: Most scenes to measure on, spread evenly over the split; None = all of it.
        scene_seed: Seed of procedural scenes; another one makes scenes never seen before.
        batch_size: Scenes that are encoded at once.
        seed: Of everything random.
        device: auto (a GPU where there is one), cpu, cuda, cuda:N or mps.
        precision: Of matrix products; "auto" takes bfloat16 where it is native.
        threads: Threads to compute with on the CPU.
        cache_bytes: Memory to spend on decoded scenes; 0 = none, None = what the split needs, up to
            1 GiB and a quarter of the available memory.
        output: Folder of run folders.
        resume: Continue this run folder with its own options: what was measured is kept.
        smoke: A few scenes, to see that everything runs; what is given beside it wins.
        progress: Show progress bars.

    Raises:
        TypeError: A value of another type.
        ValueError: A value out of range.
    """

    encoder: Annotated[str, ENCODER] = "tore-nano"
    env: str = DEFAULT_ENV
    data_root: Path | None = None
    list_file: Path | None = None
    seamless: bool | None = None
    image_size: tuple[Positive, Positive] | None = None
    split: Split = "test"
    scenes: Positive | None = None
    scene_seed: NotNegative = 0
    batch_size: Positive = 64
    seed: NotNegative = 0
    device: str = "auto"
    precision: TrainingPrecision = "float32"
    threads: Annotated[Positive | None, THREADS] = None
    cache_bytes: NotNegative | None = None
    output: Path = Path("runs")
    resume: Path | None = None
    smoke: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        check_fields(self)
        check_device_name(self.device)

    @property
    def encoders(self) -> tuple[str, ...]:
        """Names of all encoders that the study is about."""
        return (self.encoder,) if isinstance(self.encoder, str) else tuple(self.encoder)

    def idle(self) -> Iterator[Idle]:
        """Options that do nothing beside the others."""
        yield from without_procedural_scenes(self.env, self.data_root)

    def environment(self, encoder: str) -> EnvironmentOptions:
        """The environment whose scenes an encoder sees, with the sizes of the encoder.

        Raises:
            ValueError: A folder that holds a trained agent and no encoder.
        """
        from agents.commands.encoder_sizes import with_encoder_sizes

        names = ("data_root", "list_file", "seamless", "image_size", "cache_bytes")
        given: dict[str, Any] = {name: getattr(self, name) for name in names}
        options = EnvironmentOptions(env=self.env, encoder=encoder, **given)
        return with_encoder_sizes(options)


# What studies may change when they are resumed.
MAY_CHANGE_WHEN_RESUMED = frozenset({"resume", "device", "threads", "cache_bytes", "progress"})


def check_parts(name: str, parts: tuple[int, ...] | int | None) -> None:
    """Refuses numbers of parts that there is no division for, or that are given twice.

    Args:
        name: Of the option.
        parts: What was given.

    Raises:
        ValueError: Another number, none, or one given twice.
    """
    if parts is None:
        return
    each = (parts,) if isinstance(parts, int) else parts
    if not each or len(set(each)) < len(each) or not set(each) <= set(PART_COUNTS):
        allowed = ", ".join(map(str, PART_COUNTS))
        words = " ".join(map(str, each)) or "nothing"
        raise ValueError(f"{name}={words}; expected each once, and of {allowed}")


def check_distinct(name: str, values: tuple[Any, ...] | None) -> None:
    """Refuses an option of several values that has none, or one twice.

    Raises:
        ValueError: It has.
    """
    if values is not None and len(set(values)) != max(len(values), 1):
        words = " ".join(map(str, values)) or "nothing"
        raise ValueError(f"{name}={words}; expected at least one, and each only once")


@dataclasses.dataclass(frozen=True)
class SplitBlocksOptions(StudyOptions):
    """What studies over K are told.

    Attributes:
        split_blocks: Every K; None = all of 0 to the depth.
    """

    split_blocks: tuple[NotNegative, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_distinct("split_blocks", self.split_blocks)


@dataclasses.dataclass(frozen=True)
class OneDivisionOptions(StudyOptions):
    """What studies of images in parts are told, the same parts for all.

    Attributes:
        parts: M.
        transposed: Whether rows and columns of parts change places.
    """

    parts: Positive = 16
    transposed: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_parts("parts", self.parts)

    @property
    def way(self) -> Division:
        """How images are divided."""
        return Division(self.parts, self.transposed)

    def idle(self) -> Iterator[Idle]:
        """The orientation, of parts that have none."""
        yield from super().idle()
        yield from without_orientation(self.way)


PROBE_SCENES = tyro.conf.arg(
    help="Most scenes of the training split that linear probes learn from, spread evenly over it."
)


@dataclasses.dataclass(frozen=True)
class OneReadoutOptions(StudyOptions):
    """What studies are told in which classes are read in one way.

    Attributes:
        readout: How classes are read: own, the encoder's head; probe, a linear probe trained at
            (0, 1); sampled, one trained with K and M sampled. None = own where it was trained for
            these classes, else probe.
        train_scenes: How many scenes probes learn from; None = the whole training split.
    """

    readout: ReadoutName | None = None
    train_scenes: Annotated[Positive | None, PROBE_SCENES] = 4096

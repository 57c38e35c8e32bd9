"""What a user can choose about an environment, in one place."""

from __future__ import annotations

import dataclasses
import difflib
import operator
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ave_env.choices import OVERLAPS, SPLITS
from ave_env.scenes import Scenes, open_scenes
from ave_env.sensors.base import Sensor
from ave_env.sensors.registry import SENSORS
from ave_env.tasks.registry import TASKS
from encoders.support.choices import PRECISIONS

if TYPE_CHECKING:
    from encoders import Encoder

OBSERVABLES = ("latent", "logits", "entropy", "normalised_entropy", "cells", "reconstruction")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Configuration:
    """The keyword arguments that single and vector environments share.

    Attributes:
        scenes: Where images come from: "synthetic", "sun360", "imagenet", "imagefolder", or
            `Scenes` already opened.
        split: "train", "val" or "test".
        data_root: Folder or HDF5 file of the images; None = the source's environment variable.
        list_file: Optional list of image paths that decides the splits of SUN360.
        seed: Seed of procedural scenes; episodes are seeded by `reset`.
        cache_bytes: Memory to spend on decoded scenes.
        sensor: Name of the sensor, or its place as `package.module:name`.
        sensor_options: Its own options by name, beside the next two and `glimpse_size` and
            `wrap_azimuth` where it has them.
        image_size: Height and width of a scene in pixels.
        patch_size: Side of a square patch in pixels.
        glimpse_size: Side of a glimpse in patches.
        num_glimpses: Glimpses in an episode.
        wrap_azimuth: Whether a glimpse that leaves the right edge goes on at the left one.
        overlap: What happens to patches that are seen again: "dedup" encodes a patch once,
            "keep" encodes it every time.
        task: What is asked of the belief: "classification", "reconstruction", another registered
            task, or the place of one as `package.module:name`.
        encoder: Name or folder of an encoder, an encoder already built, or None for glimpses alone.
        encoder_options: Options of the encoder's family by name.
        split_block: Short for the option of that name, of encoders that recycle tokens: K, the
            number of blocks run on each glimpse alone; None = the encoder's default.
        observe: Parts of the belief in the observation, of `OBSERVABLES`.
        device: Device of the encoder; "auto" takes a GPU when there is one.
        precision: "float32", "bfloat16", or "auto" for bfloat16 where the device has it.

    Raises:
        TypeError: A value of the wrong type.
        ValueError: A value that is not among those accepted.
    """

    scenes: str | Scenes = "synthetic"
    split: str = "train"
    data_root: str | os.PathLike[str] | None = None
    list_file: str | os.PathLike[str] | None = None
    seed: int = 0
    cache_bytes: int = 0

    sensor: str = "grid"
    sensor_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    image_size: tuple[int, int] = (128, 256)
    patch_size: int = 16
    glimpse_size: int = 2
    num_glimpses: int = 8
    wrap_azimuth: bool = False
    overlap: str = "dedup"

    task: str = "classification"
    encoder: str | os.PathLike[str] | Encoder | None = "tore-nano"
    encoder_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    split_block: int | None = None
    observe: tuple[str, ...] = ("latent", "logits")
    device: str = "auto"
    precision: str = "float32"

    @classmethod
    def from_keywords(cls, keywords: Mapping[str, Any]) -> Configuration:
        """Builds a configuration, naming the accepted keywords where one is unknown.

        Raises:
            TypeError: An unknown keyword.
        """
        accepted = [field.name for field in dataclasses.fields(cls)]
        for name in keywords:
            if name not in accepted:
                close = difflib.get_close_matches(name, accepted, n=1)
                hint = f" (did you mean {close[0]!r}?)" if close else ""
                # Python's own wording, by which TorchRL finds out that there is no `frameskip`.
                raise TypeError(
                    f"unexpected keyword argument {name!r}{hint}; accepted: {', '.join(accepted)}"
                )
        return cls(**keywords)

    def __post_init__(self) -> None:
        for name, choices in (
            ("split", SPLITS),
            ("overlap", OVERLAPS),
            ("precision", PRECISIONS),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name}={getattr(self, name)!r}; expected one of {', '.join(choices)}"
                )
        for name, registry in (("sensor", SENSORS), ("task", TASKS)):
            value = getattr(self, name)
            if not isinstance(value, str) or not registry.knows(value):
                known = ", ".join(registry)
                raise ValueError(
                    f"{name}={value!r}; expected one of {known}, or package.module:name"
                )
        for name, lowest in (
            ("seed", 0),
            ("cache_bytes", 0),
            ("patch_size", 1),
            ("glimpse_size", 1),
            ("num_glimpses", 1),
        ):
            object.__setattr__(self, name, _integer(name, getattr(self, name), lowest))
        if not isinstance(self.wrap_azimuth, bool):
            raise TypeError(f"wrap_azimuth={self.wrap_azimuth!r}; expected True or False")
        if self.split_block is not None:
            object.__setattr__(self, "split_block", _integer("split_block", self.split_block, 0))
        # JSON has lists only, so sequences are accepted wherever a tuple is meant.
        object.__setattr__(self, "image_size", _size(self.image_size))
        object.__setattr__(self, "observe", _observables(self.observe))

    def make_sensor(self) -> Sensor:
        """Makes the sensor that these values describe.

        Raises:
            TypeError: An option that the sensor does not have.
            ValueError: A value that it cannot take.
        """
        kind: Any = SENSORS.resolve(self.sensor)
        known = {field.name for field in dataclasses.fields(kind)}
        geometry = {"image_size": self.image_size, "patch_size": self.patch_size}
        for name in ("glimpse_size", "wrap_azimuth"):
            value = getattr(self, name)
            if name in known:
                geometry[name] = value
            elif value != getattr(type(self), name):
                raise ValueError(f"{name}={value!r}: the sensor {self.sensor!r} has no {name}")
        if unknown := sorted(set(self.sensor_options) - known):
            options = ", ".join(sorted(known - set(geometry))) or "none"
            raise TypeError(
                f"sensor_options {unknown}; the options of the sensor {self.sensor!r}: {options}"
            )
        return kind(**geometry, **self.sensor_options)

    @property
    def family_options(self) -> dict[str, Any]:
        """The options of the encoder's family, `split_block` among them where it is given."""
        if self.split_block is None:
            return dict(self.encoder_options)
        return {**self.encoder_options, "split_block": self.split_block}

    def open_scenes(self) -> Scenes:
        """Opens the scenes these values describe.

        Raises:
            ValueError: Scenes already opened that are of another size.
        """
        if not isinstance(self.scenes, Scenes):
            return open_scenes(
                self.scenes,
                split=self.split,
                data_root=self.data_root,
                image_size=self.image_size,
                list_file=self.list_file,
                seed=self.seed,
                cache_bytes=self.cache_bytes,
            )
        if tuple(self.scenes.image_size) != self.image_size:
            raise ValueError(
                f"the scenes have image_size={self.scenes.image_size}, the environment has "
                f"image_size={self.image_size}; make them equal"
            )
        return self.scenes


def _integer(name: str, value: Any, lowest: int) -> int:
    if isinstance(value, bool):
        raise TypeError(f"{name}={value!r}; expected an integer")
    try:
        value = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}={value!r}; expected an integer") from None
    if value < lowest:
        raise ValueError(f"{name}={value}; expected at least {lowest}")
    return value


def _size(value: Any) -> tuple[int, int]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"image_size={value!r}; expected (height, width) in pixels")
    height, width = (_integer("image_size", side, 1) for side in value)
    return height, width


def _observables(value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value)
    for name in names:
        if name not in OBSERVABLES:
            raise ValueError(f"observe={names!r}: {name!r} is not one of {', '.join(OBSERVABLES)}")
    return tuple(dict.fromkeys(names))

"""What a user can choose about an environment, in one place."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ave_env.choices import Overlap, Split
from ave_env.scenes import ArrayScenes, Scenes, open_scenes
from ave_env.scenes.cache import CachedScenes
from ave_env.sensors.base import Sensor
from ave_env.sensors.registry import SENSORS
from ave_env.tasks.registry import TASKS
from encoders.support.choices import Precision
from encoders.support.validation import NotNegative, Positive, convert, did_you_mean

if TYPE_CHECKING:
    from encoders import Encoder

# What fields hold; those of the others depend on what is registered.
_HINTS: Mapping[str, Any] = {
    "split": Split,
    "overlap": Overlap,
    "precision": Precision,
    "seed": NotNegative,
    "cache_bytes": NotNegative | None,
    "patch_size": Positive,
    "glimpse_size": Positive,
    "num_glimpses": Positive,
    "wrap_azimuth": bool,
    "stop_when_all_seen": bool,
    "split_block": NotNegative | None,
    "image_size": tuple[Positive, Positive] | None,
    "threads": Positive | None,
    "seamless": bool | None,
}

_IMAGE_SIZE = (128, 256)  # of scenes that are brought to a size

OBSERVABLES = (
    *("latent", "logits", "entropy", "normalised_entropy", "cells", "reconstruction"),
    "regions",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Configuration:
    """The keyword arguments that single and vector environments share.

    Attributes:
        scenes: Where images come from: "synthetic", "sun360", "imagenet", "imagefolder",
            "panoramas", `Scenes` already opened, or images, uint8 `[N, H, W, 3]`, which become
            `ArrayScenes` without classes. What is given is used whole, whatever `split` says.
        split: "train", "val" or "test".
        data_root: Folder or HDF5 file of the images; None = the source's environment variable.
        list_file: Optional list of image paths that decides the splits of SUN360.
        seamless: Whether the left and right edges of the images meet, as in 360-degree panoramas;
            None = as the scenes say, and no for folders and images of one's own.
        seed: Seed of procedural scenes; episodes are seeded by `reset`.
        cache_bytes: Memory to spend on decoded scenes; 0 = none. None = what scenes that were named
            need, within 1 GiB for all environments of the process and a quarter of the available
            memory; none where less than half of the scenes would fit, in worker processes, and for
            scenes that are given (`ave_env.scenes.cache`).
        sensor: Name of the sensor, or its place as `package.module:name`.
        sensor_options: Its own options by name, beside the next two and `glimpse_size` and
            `wrap_azimuth` where it has them.
        image_size: Height and width of a scene in pixels; None = that of scenes that are given,
            128x256 for others.
        patch_size: Side of a square patch in pixels.
        glimpse_size: Side of a glimpse in patches.
        num_glimpses: Most glimpses in an episode.
        stop_when_all_seen: Whether an episode ends once there is nothing new to see.
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
        precision: "float32", "bfloat16", "int8" (x86 processors alone), or "auto" for bfloat16
            where the device has it.
        threads: Threads that the encoder computes with on the CPU; None = one where a step of all
            rows is small, else all that PyTorch has (`encoders.support.threads`).

    Raises:
        TypeError: A value of the wrong type.
        ValueError: A value that is not among those accepted.
    """

    scenes: str | Scenes | np.ndarray = "synthetic"
    split: str = "train"
    data_root: str | os.PathLike[str] | None = None
    list_file: str | os.PathLike[str] | None = None
    seamless: bool | None = None
    seed: int = 0
    cache_bytes: int | None = None

    sensor: str = "grid"
    sensor_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    image_size: tuple[int, int] = None  # type: ignore[assignment] # settled in __post_init__
    patch_size: int = 16
    glimpse_size: int = 2
    num_glimpses: int = 8
    stop_when_all_seen: bool = False
    wrap_azimuth: bool = False
    overlap: str = "dedup"

    task: str = "classification"
    encoder: str | os.PathLike[str] | Encoder | None = "tore-nano"
    encoder_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    split_block: int | None = None
    observe: tuple[str, ...] = ("latent", "logits")
    device: str = "auto"
    precision: str = "float32"
    threads: int | None = None

    @classmethod
    def from_keywords(cls, keywords: Mapping[str, Any]) -> Configuration:
        """Builds a configuration, naming the accepted keywords where one is unknown.

        Raises:
            TypeError: An unknown keyword.
        """
        accepted = [field.name for field in dataclasses.fields(cls)]
        for name in keywords:
            if name not in accepted:
                # Python's own wording, by which TorchRL finds out that there is no `frameskip`.
                raise TypeError(
                    f"unexpected keyword argument {name!r}{did_you_mean(name, accepted)}; "
                    f"accepted: {', '.join(accepted)}"
                )
        return cls(**keywords)

    def __post_init__(self) -> None:
        for name, hint in _HINTS.items():
            object.__setattr__(self, name, convert(name, getattr(self, name), hint))
        if isinstance(self.scenes, np.ndarray):
            scenes = ArrayScenes(self.scenes, split=self.split, seamless=bool(self.seamless))
            object.__setattr__(self, "scenes", scenes)
        if self.image_size is None:
            given = self.scenes.image_size if isinstance(self.scenes, Scenes) else _IMAGE_SIZE
            object.__setattr__(self, "image_size", tuple(given))
        for name, registry in (("sensor", SENSORS), ("task", TASKS)):
            value = getattr(self, name)
            if not isinstance(value, str) or not registry.knows(value):
                known = ", ".join(registry)
                raise ValueError(
                    f"{name}={value!r}; expected one of {known}, or package.module:name"
                )
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
        own = known - set(geometry)
        if unknown := sorted(set(self.sensor_options) - own):
            options = ", ".join(sorted(own)) or "none"
            raise TypeError(
                f"sensor_options {unknown}; the options of the sensor {self.sensor!r}: {options}"
            )
        return kind(**geometry, **self.sensor_options)

    @property
    def family_options(self) -> dict[str, Any]:
        """The options of the encoder's family, `split_block` among them where it is given.

        Raises:
            ValueError: `split_block` is given twice, with different values.
        """
        if self.split_block is None:
            return dict(self.encoder_options)
        if self.encoder_options.get("split_block", self.split_block) != self.split_block:
            raise ValueError(
                f"split_block={self.split_block}, and encoder_options has "
                f"split_block={self.encoder_options['split_block']}; give one of them"
            )
        return {**self.encoder_options, "split_block": self.split_block}

    def open_scenes(self) -> Scenes:
        """Opens the scenes these values describe.

        Raises:
            TypeError: Scenes that are neither a name, `Scenes` nor images.
            ValueError: Scenes already opened that are of another size, or do not hold together.
        """
        if isinstance(self.scenes, str):
            return open_scenes(
                self.scenes,
                split=self.split,
                data_root=self.data_root,
                image_size=self.image_size,
                list_file=self.list_file,
                seamless=self.seamless,
                seed=self.seed,
                cache_bytes=self.cache_bytes,
            )
        if not isinstance(self.scenes, Scenes):
            raise TypeError(
                f"scenes={self.scenes!r}; expected the name of a source, a NumPy array of images, "
                "or an object of a class derived from ave_env.scenes.Scenes"
            )
        self._check_given(self.scenes)
        # Not unasked: they may be in memory as they are, or not the same each time.
        if not self.cache_bytes or isinstance(self.scenes, CachedScenes):
            return self.scenes
        return CachedScenes(self.scenes, self.cache_bytes)

    def _check_given(self, scenes: Scenes) -> None:
        """Refuses scenes already opened that other values contradict."""
        scenes.check()
        for name in ("data_root", "list_file"):
            if (value := getattr(self, name)) is not None:
                raise ValueError(f"{name}={value!r}, but the scenes are given, and read no files")
        if self.seamless not in (None, scenes.seamless):
            raise ValueError(
                f"seamless={self.seamless}, but the scenes that are given have "
                f"seamless={scenes.seamless}; make them equal"
            )
        if tuple(scenes.image_size) != self.image_size:
            raise ValueError(
                f"the scenes have image_size={scenes.image_size}, the environment has "
                f"image_size={self.image_size}; make them equal"
            )


def _observables(value: Any) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value)
    for name in names:
        if name not in OBSERVABLES:
            raise ValueError(f"observe={names!r}: {name!r} is not one of {', '.join(OBSERVABLES)}")
    return tuple(dict.fromkeys(names))

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
from ave_env.sensors.grid import GridSensor
from ave_env.tasks.registry import TASKS
from encoders.support.choices import PRECISIONS

if TYPE_CHECKING:
    from encoders import GlimpseEncoder

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
        image_size: Height and width of a scene in pixels.
        patch_size: Side of a square patch in pixels.
        glimpse_size: Side of a glimpse in patches.
        num_glimpses: Glimpses in an episode.
        wrap_azimuth: Whether a glimpse that leaves the right edge goes on at the left one.
        overlap: What happens to patches that are seen again: "dedup" encodes a patch once,
            "keep" encodes it every time.
        task: What is asked of the belief: "classification" or "reconstruction".
        encoder: Name or folder of an encoder, an encoder already built, or None for glimpses alone.
        split_block: TORE's K, the number of blocks run on each glimpse alone; None = the encoder's
            default.
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

    image_size: tuple[int, int] = (128, 256)
    patch_size: int = 16
    glimpse_size: int = 2
    num_glimpses: int = 8
    wrap_azimuth: bool = False
    overlap: str = "dedup"

    task: str = "classification"
    encoder: str | os.PathLike[str] | GlimpseEncoder | None = "tore-nano"
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
            ("task", tuple(TASKS)),
            ("precision", PRECISIONS),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name}={getattr(self, name)!r}; expected one of {', '.join(choices)}"
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

    @property
    def sensor(self) -> GridSensor:
        """The sensor these values describe."""
        return GridSensor(self.image_size, self.patch_size, self.glimpse_size, self.wrap_azimuth)

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

"""From the name of a source to its scenes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ave_env.choices import SPLITS
from ave_env.scenes.base import Scenes
from ave_env.scenes.cache import with_cache
from ave_env.scenes.errors import SceneError
from ave_env.scenes.files.layouts import LAYOUTS, Source
from encoders.support.notices import warn
from encoders.support.validation import did_you_mean

if TYPE_CHECKING:
    from ave_env.scenes.files.encoded import EncodedScenes

SOURCES = ("synthetic", *LAYOUTS, "panoramas")
PANORAMAS = Path(__file__).with_name("panoramas")  # SOURCES.md there says where they are from


def open_scenes(
    source: str,
    *,
    split: str = "train",
    data_root: str | os.PathLike[str] | None = None,
    image_size: tuple[int, int] = (128, 256),
    seed: int = 0,
    list_file: str | os.PathLike[str] | None = None,
    seamless: bool | None = None,
    cache_bytes: int | None = 0,
) -> Scenes:
    """Opens one split of a source of images.

    Args:
        source: "synthetic" (procedural panoramas), "panoramas" (a few of real places, which are
            part of the package), "sun360", "imagenet" or "imagefolder"; the layouts of the latter
            three are described in `ave_env.scenes.files.folder`.
        split: "train", "val" or "test"; `ave_env.scenes.files.splits` says what stands for a split
            that the data do not have.
        data_root: Folder of the images, or an HDF5 file made from it by `ave_env.scenes.pack`.
            None = the environment variable `AVE_SUN360_ROOT`, `AVE_IMAGENET_ROOT` or
            `AVE_IMAGEFOLDER_ROOT`.
        image_size: Height and width in pixels to bring images to.
        seed: Seed of synthetic scenes.
        list_file: List of the panoramas of a SUN360 folder; its first tenth is `val`.
        seamless: Whether the left and right edges of the images meet; None = as the source says.
            Seamless images are resized; others are resized and cropped to their middle.
        cache_bytes: Memory to spend on decoded images; None = what they need, within the bounds of
            `ave_env.scenes.cache.automatic_cache_bytes`.

    Returns:
        The scenes. Those of SUN360 are synthetic ones, after a warning, if `data_root` and the
        environment variable are both missing.

    Raises:
        ValueError: An argument is not among those accepted.
        SceneError: The data are missing, of another layout, or cannot be read.
    """
    if source not in SOURCES:
        raise ValueError(
            f"unknown source {source!r}{did_you_mean(source, SOURCES)}; expected one of "
            f"{', '.join(SOURCES)} (a folder or file of images is data_root of 'imagefolder')"
        )
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; expected one of {', '.join(SPLITS)}")
    height, width = image_size
    if height < 1 or width < 1:
        raise ValueError(f"image_size {image_size}: expected a height and a width in pixels")
    size = (int(height), int(width))
    if source == "synthetic" and seamless is False:
        raise ValueError("seamless=False: the edges of synthetic panoramas meet")
    root = _find_root(source, data_root, list_file)
    scenes: Scenes
    if source == "panoramas":
        scenes = _open_panoramas(split, size, seamless)
    elif root is not None:
        scenes = root.open(split, size, list_file, seamless)
    else:
        from ave_env.scenes.synthetic.panoramas import SyntheticScenes

        scenes = SyntheticScenes(split, image_size=size, seed=seed)
    return with_cache(scenes, cache_bytes)


def stands_in(source: str, data_root: str | os.PathLike[str] | None = None) -> str | None:
    """What `open_scenes` opens in the place of a source that is not on this machine.

    Returns:
        "synthetic" for SUN360 where neither `data_root` nor `AVE_SUN360_ROOT` is there; else None.
    """
    if source != "sun360" or data_root or os.environ.get("AVE_SUN360_ROOT"):
        return None
    return "synthetic"


def _find_root(
    source: str,
    data_root: str | os.PathLike[str] | None,
    list_file: str | os.PathLike[str] | None,
) -> DataRoot | None:
    """Finds the images of a source; None where synthetic ones are to be drawn.

    Raises:
        ValueError: Files are given that would not be read.
        SceneError: There are no images, and none can be drawn in their place.
    """
    if source in ("synthetic", "panoramas"):
        if data_root or list_file:
            given = data_root or list_file
            raise ValueError(f"{source} scenes read no files of yours, but {given!r} is given")
        return None
    variable = f"AVE_{source.upper()}_ROOT"
    if root := data_root or os.environ.get(variable):
        path = os.path.abspath(os.path.expanduser(os.fspath(root)))
        named_by = "data_root" if data_root else variable
        return DataRoot(cast(Source, source), path, named_by)
    if source != "sun360":
        raise SceneError(
            variable,
            f"not set, and no data_root is given: set either to a folder {LAYOUTS[source]} or to "
            "an HDF5 file made from one by `python -m ave_env.scenes.pack`",
        )
    if list_file:
        raise ValueError(f"list_file={list_file!r} needs data_root or {variable} beside it")
    warn(
        f"NO SUN360 DATA: neither data_root nor {variable} is set. Using synthetic panoramas "
        "instead; results are called 'synthetic' and say nothing about SUN360."
    )
    return None


def _open_panoramas(split: str, image_size: tuple[int, int], seamless: bool | None) -> Scenes:
    from ave_env.scenes.files.folder import FolderScenes

    if seamless is False:
        raise ValueError("seamless=False: the edges of the panoramas of the package meet")
    scenes = FolderScenes(
        PANORAMAS, split, source="imagefolder", image_size=image_size, seamless=True
    )
    scenes.name = "panoramas"
    return scenes


@dataclass(frozen=True)
class DataRoot:
    """Where the images of a source are.

    Attributes:
        source: The source.
        path: Absolute path of a folder or a file, which may not exist.
        named_by: What named it, for messages: "data_root" or an environment variable.
    """

    source: Source
    path: str
    named_by: str

    def open(
        self,
        split: str,
        image_size: tuple[int, int],
        list_file: str | os.PathLike[str] | None,
        seamless: bool | None,
    ) -> EncodedScenes:
        """Opens one split; see `open_scenes`."""
        expected = f"a folder {LAYOUTS[self.source]}"
        if not os.path.exists(self.path):
            from ave_env.scenes.files.disk import no_such

            raise SceneError(
                self.path,
                f"{no_such(self.path)}; {self.named_by} has to be {expected}, or an HDF5 file",
            )
        if os.path.isdir(self.path):
            from ave_env.scenes.files.folder import FolderScenes

            return FolderScenes(
                self.path,
                split,
                source=self.source,
                image_size=image_size,
                list_file=list_file,
                seamless=seamless,
            )
        if list_file:
            raise ValueError(f"list_file={list_file!r}: the splits of an HDF5 file are in the file")

        import h5py

        from ave_env.scenes.packed.hdf5 import Hdf5Scenes

        if not h5py.is_hdf5(self.path):
            raise SceneError(
                self.path,
                f"{self.named_by} points to a file that is not HDF5; expected an HDF5 file or "
                f"{expected} (archives have to be unpacked)",
            )
        return Hdf5Scenes(
            self.path, split, image_size=image_size, source=self.source, seamless=seamless
        )

"""From the name of a source to its scenes."""

from __future__ import annotations

import os
import warnings
from typing import Any

from ave_env.scenes.base import Scenes
from ave_env.scenes.errors import SceneError

SOURCES = ("synthetic", "sun360", "imagenet", "imagefolder")


def open_scenes(
    source: str,
    *,
    split: str = "train",
    data_root: str | os.PathLike[str] | None = None,
    image_size: tuple[int, int] = (128, 256),
    seed: int = 0,
    list_file: str | os.PathLike[str] | None = None,
    seamless: bool | None = None,
    cache_bytes: int = 0,
) -> Scenes:
    """Opens one split of a source of images.

    Args:
        source: "synthetic" (procedural panoramas), "sun360", "imagenet" or "imagefolder"; the
            layouts of the latter three are described in `ave_env.scenes.files.folder`.
        split: "train", "val" or "test"; `ave_env.scenes.files.splits` says what stands for a split
            that the data do not have.
        data_root: Folder of the images, or an HDF5 file made from it by `ave_env.scenes.pack`.
            None = the environment variable `AVE_SUN360_ROOT`, `AVE_IMAGENET_ROOT` or
            `AVE_IMAGEFOLDER_ROOT`.
        image_size: Height and width in pixels to bring images to.
        seed: Seed of synthetic scenes.
        list_file: List of the panoramas of a SUN360 folder; its first tenth is `val`.
        seamless: Whether the left and right edges of the images meet; None = as the source says.
            Seamless images are resized, of others the middle is cut out.
        cache_bytes: Memory to spend on decoded images.

    Returns:
        The scenes. Those of SUN360 are synthetic ones, after a warning, if `data_root` and the
        environment variable are both missing.

    Raises:
        ValueError: An argument is not among those accepted.
        SceneError: The data are missing, of another layout, or cannot be read.
    """
    from ave_env.scenes.files.splits import SPLITS

    if source not in SOURCES:
        raise ValueError(f"unknown source {source!r}; expected one of {', '.join(SOURCES)}")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; expected one of {', '.join(SPLITS)}")
    height, width = image_size
    if height < 1 or width < 1:
        raise ValueError(f"image_size {image_size}: expected a height and a width in pixels")
    scenes = _open(source, split, data_root, (int(height), int(width)), seed, list_file, seamless)
    if not cache_bytes:
        return scenes
    from ave_env.scenes.cache import CachedScenes

    return CachedScenes(scenes, cache_bytes)


def _open(
    source: str,
    split: str,
    data_root: str | os.PathLike[str] | None,
    image_size: tuple[int, int],
    seed: int,
    list_file: str | os.PathLike[str] | None,
    seamless: bool | None,
) -> Scenes:
    variable = f"AVE_{source.upper()}_ROOT"
    root = data_root or (os.environ.get(variable) if source != "synthetic" else None)
    if source == "synthetic" and (data_root or list_file):
        raise ValueError(f"synthetic scenes read no files, but {data_root or list_file!r} is given")
    if source == "sun360" and not root and list_file:
        raise ValueError(f"list_file={list_file!r} needs data_root or {variable} beside it")
    if source == "sun360" and not root:
        warnings.warn(
            f"NO SUN360 DATA: neither data_root nor {variable} is set. Using synthetic panoramas "
            "instead; results are called 'synthetic' and say nothing about SUN360.",
            UserWarning,
            stacklevel=3,
        )
    if source == "synthetic" or (source == "sun360" and not root):
        from ave_env.scenes.synthetic.panoramas import SyntheticScenes

        return SyntheticScenes(split, image_size=image_size, seed=seed)

    from ave_env.scenes.files.folder import LAYOUTS, FolderScenes

    if not root:
        raise SceneError(
            variable,
            f"not set, and no data_root is given: set either to a folder {LAYOUTS[source]} or to "
            "an HDF5 file made from one by `python -m ave_env.scenes.pack`",
        )
    path = os.path.abspath(os.path.expanduser(os.fspath(root)))
    origin = "data_root" if data_root else variable
    options: dict[str, Any] = {"source": source, "image_size": image_size, "seamless": seamless}
    if not os.path.exists(path):
        raise SceneError(
            path,
            f"{origin} names nothing; expected a folder {LAYOUTS[source]} or an HDF5 file",
        )
    if os.path.isdir(path):
        return FolderScenes(path, split, list_file=list_file, **options)
    if list_file:
        raise ValueError(f"list_file={list_file!r}: the splits of an HDF5 file are in the file")

    import h5py

    from ave_env.scenes.packed.hdf5 import Hdf5Scenes

    if not h5py.is_hdf5(path):
        raise SceneError(
            path,
            f"{origin} names no HDF5 file; expected one, or a folder {LAYOUTS[source]} (archives "
            "have to be unpacked)",
        )
    return Hdf5Scenes(path, split, **options)

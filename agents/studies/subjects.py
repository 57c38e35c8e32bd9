"""What a study is about: an encoder, and scenes that it sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from agents.studies.options import StudyOptions
from ave_env.registration import configure
from ave_env.scenes import Scenes
from encoders.analysis.divided import DividedFeatures, divided_features, require_tore
from encoders.create import create_encoder
from encoders.layers.divisions import Division, divisions
from encoders.storage import weights_hash
from encoders.support.precision import autocast, resolve_precision
from encoders.support.subsets import spread_evenly

HASH_DIGITS = 12


@dataclasses.dataclass(frozen=True, eq=False)
class SceneSet:
    """Some scenes of a split.

    Attributes:
        scenes: The split.
        indices: Which of them, int64 `[N]`.
    """

    scenes: Scenes
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def labels(self) -> np.ndarray:
        """Classes, int64 `[N]`."""
        return self.scenes.labels[self.indices]

    def images(self, rows: np.ndarray) -> Tensor:
        """uint8 `[B, H, W, 3]`.

        Args:
            rows: Positions in `indices`, int64 `[B]`.
        """
        loaded = [self.scenes.load(int(index)) for index in self.indices[rows]]
        return torch.from_numpy(np.stack(loaded))


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """An encoder and how it is run.

    Attributes:
        name: As it was asked for.
        encoder: In evaluation mode, for the image size of the scenes.
        weights_hash: The first digits of the SHA-256 of its weights.
        options: Of the study.
    """

    name: str
    encoder: Any
    weights_hash: str
    options: StudyOptions

    @property
    def depth(self) -> int:
        """Blocks; the largest K."""
        return self.encoder.depth

    def normalised(self, images: Tensor) -> Tensor:
        """uint8 `[B, H, W, 3]` as float `[B, 3, H, W]` on the encoder's device."""
        return self.encoder.normalise(images.permute(0, 3, 1, 2).contiguous())

    def features(
        self, images: Tensor, way: Division, splits: Iterable[int]
    ) -> dict[int, DividedFeatures]:
        """Features of uint8 images `[B, H, W, 3]` at several K, by K."""
        dtype = resolve_precision(self.options.precision, self.encoder.device)
        with autocast(self.encoder.device, dtype):
            return divided_features(
                self.encoder, self.normalised(images), way.labels(self.encoder.grid), splits
            )

    def leading(self, scenes: SceneSet) -> dict[str, str | int]:
        """Values of `agents.studies.columns.LEADING_COLUMNS`."""
        return {
            "encoder": self.name,
            "weights_hash": self.weights_hash,
            "scenes": scenes.scenes.name,
            "split": scenes.scenes.split,
            "n": len(scenes),
        }


def open_subject(options: StudyOptions, name: str, image_size: tuple[int, int]) -> Subject:
    """Opens an encoder for scenes of a size.

    Raises:
        ValueError: An encoder of a family without K, or one that does not fit.
    """
    encoder = create_encoder(name, image_size=image_size, device=options.device)
    require_tore(encoder)
    return Subject(name, encoder, weights_hash(encoder)[:HASH_DIGITS], options)


def open_scenes(
    options: StudyOptions,
    *,
    image_size: tuple[int, int],
    split: str,
    most: int | None,
    classes: bool = True,
) -> SceneSet:
    """Opens some scenes of a split.

    Args:
        options: Of the study.
        image_size: Height and width in pixels.
        split: "train", "val" or "test".
        most: Most scenes, spread evenly; None = all.
        classes: Whether the study needs at least two classes.

    Raises:
        ValueError: Scenes that cannot be read, or of fewer classes.
    """
    scenes = configure(
        options.env,
        split=split,
        data_root=options.data_root,
        list_file=options.list_file,
        seamless=options.seamless,
        image_size=image_size,
        seed=options.scene_seed,
        cache_bytes=options.cache_bytes,
    ).open_scenes()
    if classes:
        require_classes(scenes)
    found = SceneSet(scenes, spread_evenly(most, len(scenes)))
    scenes.load(int(found.indices[0]))  # what cannot be read shows before there is a run folder
    return found


def open_both(
    options: StudyOptions, name: str, *, classes: bool = True
) -> tuple[Subject, SceneSet]:
    """Opens an encoder, and the scenes to measure on at its size; as `open_subject`, `open_scenes`.

    Raises:
        ValueError: One of them cannot be opened, or they do not fit.
    """
    size = image_size_of(options, name)
    scenes = open_scenes(
        options, image_size=size, split=options.split, most=options.scenes, classes=classes
    )
    return open_subject(options, name, size), scenes


def open_training_scenes(subject: Subject, most: int | None) -> SceneSet:
    """Opens scenes of the training split at the size of an encoder; as `open_scenes`."""
    size = subject.encoder.config.image_size
    return open_scenes(subject.options, image_size=size, split="train", most=most)


def image_size_of(options: StudyOptions, name: str) -> tuple[int, int]:
    """Height and width of the scenes that an encoder is shown; says where they are the encoder's.

    Raises:
        ValueError: Sizes that do not fit.
    """
    environment = options.environment(name)
    return configure(options.env, image_size=environment.image_size).image_size


def require_classes(scenes: Scenes) -> None:
    """Refuses scenes of fewer than two classes.

    Raises:
        ValueError: They have one, or none.
    """
    if not scenes.labelled or len(scenes.class_names) < 2:
        found = "no classes" if not scenes.labelled else f"one class ({scenes.class_names[0]!r})"
        raise ValueError(
            f"the {scenes.split!r} split of the {scenes.name!r} scenes has {found}; this study "
            "needs at least two, as folders named after the classes"
        )


def ways_to_divide(subject: Subject, parts: tuple[int, ...] | None, count: int) -> list[Division]:
    """The divisions of a study, in both orientations.

    Args:
        subject: Whose grid.
        parts: Numbers of parts; None = all that the grid can be divided into.
        count: Scenes that there are.

    Raises:
        ValueError: A grid that cannot be divided, or fewer scenes than parts.
    """
    grid = subject.encoder.grid
    ways = divisions(grid, parts)
    if max(way.parts for way in ways) < 2 and (parts is None or parts != (1,)):
        raise ValueError(
            f"encoder {subject.name!r} sees {grid[0]}x{grid[1]} patches, which cannot be divided; "
            "choose larger images (--image-size) or an encoder with smaller patches"
        )
    require_enough(count, max(way.parts for way in ways))
    return ways


def require_divided(subject: Subject, way: Division, count: int) -> None:
    """Refuses what cannot be measured in parts.

    Args:
        subject: Whose grid.
        way: How it is to be divided.
        count: Scenes that there are.

    Raises:
        ValueError: The grid cannot be divided so, or there are fewer scenes than parts.
    """
    way.labels(subject.encoder.grid)
    require_enough(count, way.parts)


def require_enough(count: int, parts: int) -> None:
    """Refuses fewer scenes than parts: whatever came out would say nothing.

    Raises:
        ValueError: There are fewer.
    """
    if count < parts:
        raise ValueError(
            f"{count} scenes for images in {parts} parts; expected at least as many scenes as "
            "parts: give more scenes (--scenes, --split), or fewer parts"
        )


def splits_of(subject: Subject, split_blocks: tuple[int, ...] | None) -> list[int]:
    """Every K of a study, ascending; all of [0, depth] for None.

    Raises:
        ValueError: A K beyond the depth.
    """
    if split_blocks is None:
        return list(range(subject.depth + 1))
    for split in split_blocks:
        if not 0 <= split <= subject.depth:
            raise ValueError(
                f"--split-blocks {split}: encoder {subject.name!r} has {subject.depth} blocks; "
                f"expected 0 to {subject.depth}"
            )
    return sorted(set(split_blocks))


def identity(subject: Subject, *sets: SceneSet) -> dict[str, Any]:
    """What a resumed run compares: the encoder's weights, and how many scenes of which source."""
    found = {f"encoder {subject.name}": subject.weights_hash}
    for each in sets:
        found[f"scenes ({each.scenes.split})"] = f"{len(each)} of {each.scenes.name}"
    return found


def batches(
    scenes: SceneSet, size: int, *, title: str, progress: bool, order: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Positions of scenes, some at a time, int64 `[B]`, with a progress bar.

    Args:
        scenes: Which.
        size: Of a batch.
        title: Of the bar.
        progress: Whether there is one.
        order: Positions in another order, int64 `[N]`.
    """
    rows = np.arange(len(scenes)) if order is None else order
    with tqdm(total=len(rows), desc=title, unit="scene", disable=not progress, leave=False) as bar:
        for start in range(0, len(rows), size):
            yield rows[start : start + size]
            bar.update(len(rows[start : start + size]))

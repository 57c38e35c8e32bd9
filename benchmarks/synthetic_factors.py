#!/usr/bin/env python3
"""Where each agent loses accuracy in the synthetic panoramas: landmark by landmark.

Usage: python benchmarks/synthetic_factors.py RUN [--steps 2 4 8]

Reads `per_scene.csv.gz` and `run.json` of an evaluation on AVE-Synthetic-v0 and what each scene was
made from. For every agent, number of glimpses and landmark (sky, horizon, ground) it prints

* how often the landmark was seen (a quarter of its square or more),
* how often its kind was predicted rightly where it was seen, and where it was not (chance: 1/3),
* how far, in degrees of azimuth, the nearest glimpse at its height stayed from it where it was not
  seen: an agent that has not read where the light comes from misses by 90 on average,

and splits wrong predictions into those with a landmark still unseen and those of the encoder, which
had everything before it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tyro

if TYPE_CHECKING:
    from ave_env.scenes.synthetic.panoramas import SyntheticScenes

BANDS = ("sky", "horizon", "ground")
HALF_SIZE = 12.5  # of a landmark, in pixels of a 128 x 256 scene
ENOUGH = 0.25  # of a landmark's square, to call it seen
PATCH = 16
KINDS = np.array([9, 3, 1])  # a label is 9 sky + 3 horizon + ground
LANDMARK_COLUMNS = (
    "agent",
    "glimpses",
    "landmark",
    "seen, %",
    "right if seen, %",
    "right if unseen, %",
    "missed by, degrees",
)
ERROR_COLUMNS = (
    "agent",
    "glimpses",
    "right, %",
    "wrong, a landmark unseen, %",
    "wrong, all seen, %",
)


@dataclasses.dataclass(frozen=True)
class Options:
    """Splits the errors of agents by landmark.

    Attributes:
        run: Folder of an evaluation on AVE-Synthetic-v0 with scenes of 128x256 pixels.
        steps: Numbers of glimpses to look at.
    """

    run: tyro.conf.Positional[Path]
    steps: tuple[int, ...] = (2, 4, 8)


@dataclasses.dataclass(frozen=True)
class Walk:
    """What an agent did, one row per scene and one column per glimpse 0..T.

    Attributes:
        scene_ids: int64 `[N]`.
        labels: int64 `[N]`.
        predictions: int64 `[N, T+1]`.
        boxes: y0, x0, y1, x1 of each glimpse in pixels, int64 `[N, T+1, 4]`; empty at 0.
    """

    scene_ids: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    boxes: np.ndarray


def read_walks(path: Path) -> dict[str, Walk]:
    """Reads `per_scene.csv.gz`; of an agent with several seeds the first counts."""
    table = np.genfromtxt(path, delimiter=",", names=True, dtype=None, encoding="utf-8")
    walks = {}
    for label in dict.fromkeys(table["agent"].tolist()):
        rows = table[table["agent"] == label]
        rows = rows[rows["seed"] == rows["seed"][0]]
        shape = (-1, int(rows["t"].max()) + 1)
        boxes = [rows[side].reshape(shape) for side in ("y0", "x0", "y1", "x1")]
        walks[label] = Walk(
            rows["scene_id"].reshape(shape)[:, 0],
            rows["label"].reshape(shape)[:, 0],
            rows["prediction"].reshape(shape),
            np.stack(boxes, axis=-1),
        )
    return walks


def seen_shares(walk: Walk, centers: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Share of each landmark's square inside what was seen.

    Args:
        walk: What the agent did.
        centers: (y, x) of the landmarks, `[N, 3, 2]`.
        size: Height and width of the scenes.

    Returns:
        float64 `[N, T+1, 3]`.
    """
    rows, columns = size[0] // PATCH, size[1] // PATCH
    seen = np.zeros((*walk.predictions.shape, rows, columns), bool)
    for scene, step in np.ndindex(*walk.predictions.shape):
        y0, x0, y1, x1 = walk.boxes[scene, step] // PATCH
        if step:
            seen[scene, step] = seen[scene, step - 1]
            seen[scene, step, y0:y1, np.arange(x0, x1) % columns] = True
    down = overlaps(centers[..., 0], rows, wrap=None)
    across = overlaps(centers[..., 1], columns, wrap=size[1])
    return np.einsum("ntyx,nky,nkx->ntk", seen, down, across)


def overlaps(centers: np.ndarray, patches: int, wrap: int | None) -> np.ndarray:
    """Share of a landmark's extent that lies in each patch along one axis, `[N, 3, patches]`."""
    starts = np.arange(patches) * PATCH
    shares = np.zeros((*centers.shape, patches))
    for turn in (0,) if wrap is None else (-wrap, 0, wrap):
        low = np.maximum(starts, centers[..., None] + turn - HALF_SIZE)
        high = np.minimum(starts + PATCH, centers[..., None] + turn + HALF_SIZE)
        shares += np.clip(high - low, 0, None)
    return shares / (2 * HALF_SIZE)


def nearest_miss(walk: Walk, centers: np.ndarray, width: int, step: int) -> np.ndarray:
    """Degrees from each landmark to the nearest glimpse at its height, `[N, 3]`; 180: none."""
    boxes = walk.boxes[:, 1 : step + 1, None]
    y, x = centers[:, None, :, 0], centers[:, None, :, 1]
    at_height = (boxes[..., 0] <= y) & (y < boxes[..., 2])
    away = np.abs((boxes[..., 1] + boxes[..., 3]) / 2 - x) * 360 / width
    away = np.minimum(away, 360 - away)
    return np.where(at_height, away, 180.0).min(axis=1)


@dataclasses.dataclass(frozen=True)
class Moment:
    """Where one agent stands after some glimpses, one row per scene.

    Attributes:
        seen: Whether each landmark was seen, bool `[N, 3]`.
        named: Whether the kind of each landmark was predicted rightly, bool `[N, 3]`.
        missed: Degrees from each landmark to the nearest glimpse at its height, `[N, 3]`.
        right: Whether the category was predicted, bool `[N]`.
    """

    seen: np.ndarray
    named: np.ndarray
    missed: np.ndarray
    right: np.ndarray

    def landmark_row(self, band: int) -> list[str]:
        """Cells of the first table: one landmark."""
        inside, outside = self.seen[:, band], ~self.seen[:, band]
        return [
            percent(inside),
            percent(self.named[inside, band]),
            percent(self.named[outside, band]),
            mean(self.missed[outside, band]),
        ]

    def error_row(self) -> list[str]:
        """Cells of the second table: how many are wrong, and why."""
        blind = ~self.right & ~self.seen.all(axis=1)
        return [percent(self.right), percent(blind), percent(~self.right & ~blind)]


def moments(walk: Walk, scenes: SyntheticScenes, steps: tuple[int, ...]) -> Iterator[Moment]:
    """Looks at a walk after each of some numbers of glimpses."""
    centers = np.stack([scenes.factors(int(index)).centers for index in walk.scene_ids])
    shares = seen_shares(walk, centers, scenes.image_size)
    for step in steps:
        yield Moment(
            seen=shares[:, step] >= ENOUGH,
            named=walk.predictions[:, step, None] // KINDS % 3 == walk.labels[:, None] // KINDS % 3,
            missed=nearest_miss(walk, centers, scenes.image_size[1], step),
            right=walk.predictions[:, step] == walk.labels,
        )


def open_test_scenes(run: Path) -> SyntheticScenes:
    """The scenes of an evaluation."""
    from ave_env.scenes.synthetic.panoramas import SyntheticScenes

    configuration = json.loads((run / "summary.json").read_text())
    keywords = configuration["environment"]["kwargs"]
    return SyntheticScenes(
        configuration["scenes"]["split"],
        tuple(keywords["image_size"]),
        seed=keywords.get("scene_seed") or 0,
    )


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table in Markdown."""
    for cells in (columns, *rows):
        print("| " + " | ".join(map(str, cells)) + " |")
        if cells is columns:
            print("| --- " * len(columns) + "|")


def main() -> None:
    """Reads the run and prints the tables."""
    options = tyro.cli(Options)
    scenes = open_test_scenes(options.run)
    landmarks: list[list[object]] = []
    errors: list[list[object]] = []
    for label, walk in read_walks(options.run / "per_scene.csv.gz").items():
        if not np.array_equal(walk.labels, scenes.labels[walk.scene_ids]):
            raise SystemExit(f"{options.run}: these are not the scenes of that evaluation")
        walked = moments(walk, scenes, options.steps)
        for step, moment in zip(options.steps, walked, strict=True):
            for band, name in enumerate(BANDS):
                landmarks.append([label, step, name, *moment.landmark_row(band)])
            errors.append([label, step, *moment.error_row()])
    print_table(LANDMARK_COLUMNS, landmarks)
    print()
    print_table(ERROR_COLUMNS, errors)


def percent(hits: np.ndarray) -> str:
    """Mean in percent; a dash where there is nothing to average."""
    return f"{100 * hits.mean():.1f}" if hits.size else "-"


def mean(values: np.ndarray) -> str:
    """Mean; a dash where there is nothing to average."""
    return f"{values.mean():.0f}" if values.size else "-"


if __name__ == "__main__":
    main()

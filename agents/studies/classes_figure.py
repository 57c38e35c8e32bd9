"""The pictures of classes that change between two K, and of the attention of scenes that do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes

from agents.studies.figures import figure, scenes_title, short_name
from agents.studies.subjects import SceneSet, Subject
from agents.studies.table import PointTable, Row
from encoders.analysis.attention_maps import attention_maps, mass_mask
from encoders.layers.divisions import Division

_SIGNIFICANT = 0.05
_MOST_BARS = 40


def draw_classes(table: PointTable, folder: Path) -> None:
    """Draws `classes.png` and `classes.svg`: what every class loses or wins.

    Args:
        table: Of the study `classes`.
        folder: Where the pictures go.
    """
    together, *rows = table.rows
    if len(rows) > _MOST_BARS:  # those that change most, from both ends
        rows = [*rows[: _MOST_BARS // 2], *rows[-(_MOST_BARS // 2) :]]
    title = scenes_title(together, parts=True)
    with figure(folder, "classes", title, (8.4, 1.6 + 0.24 * len(rows))) as drawn:
        axes = drawn.subplots()
        places = np.arange(len(rows))
        values = np.array([100 * float(row["difference"]) for row in rows])
        ends = np.array(
            [[100 * float(row[f"difference_{end}"]) for row in rows] for end in ("lo", "hi")]
        )
        colors = ["#0072B2" if float(row["p_holm"]) <= _SIGNIFICANT else "#a9c9df" for row in rows]
        axes.barh(places, values, color=colors, height=0.7)
        spread = np.abs(ends - values)
        axes.errorbar(values, places, xerr=spread, fmt="none", ecolor="#4d4d4d", linewidth=0.8)
        axes.axvline(0, color="#4d4d4d", linewidth=0.8)
        names = [f"{row['class']} ({row['class_n']})" for row in rows]
        axes.set_yticks(places, names, fontsize=8)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(
            f"accuracy at K = {together['second_split']} minus K = {together['first_split']}, "
            "points (95 % intervals)"
        )


def draw_maps(
    subject: Subject,
    scene_set: SceneSet,
    way: Division,
    splits: tuple[int, int],
    rows: Sequence[Row],
    folder: Path,
) -> None:
    """Draws `maps.png` and `maps.svg`: scenes that change, and the attention at both K.

    Args:
        subject: The encoder.
        scene_set: The scenes.
        way: How they are divided.
        splits: The two K.
        rows: Of the table of scenes that change.
        folder: Where the pictures go.
    """
    encoder, scenes = subject.encoder, scene_set.scenes
    images = torch.from_numpy(np.stack([scenes.load(int(row["scene"])) for row in rows]))
    parts = torch.from_numpy(way.labels(encoder.grid))
    maps = [
        attention_maps(encoder, images, split_block=split, parts=parts).mean(1) for split in splits
    ]
    height, width = scenes.image_size
    tall = 3.1 * height / width + 0.45
    with figure(
        folder, "maps", f"{short_name(subject.name)}: attention", (9.6, tall * len(rows))
    ) as drawn:
        axes = drawn.subplots(len(rows), 3, squeeze=False)
        for at, (row, line) in enumerate(zip(rows, axes, strict=True)):
            line[0].imshow(images[at].numpy())
            line[0].set_title(f"{row['class']}, scene {row['scene']}", fontsize=8.5, loc="left")
            highest = max(float(each[at].max()) for each in maps)
            for axis, split, each, name in zip(
                line[1:], splits, maps, ("first", "second"), strict=True
            ):
                _draw_map(axis, each[at], highest, (height, width))
                said = row[name]
                mark = "right" if said == row["class"] else f"says {said}"
                axis.set_title(f"K = {split}: {mark}", fontsize=8.5, loc="left")
            for axis in line:
                axis.axis("off")


def _draw_map(axes: Axes, values: torch.Tensor, highest: float, size: tuple[int, int]) -> None:
    """One map, with an outline around the patches that carry most of it."""
    height, width = size
    axes.imshow(
        values.numpy(),
        cmap="magma",
        vmin=0.0,
        vmax=highest,
        interpolation="nearest",
        extent=(0, width, height, 0),
    )
    mask = mass_mask(values).numpy().astype(float)
    fine = np.kron(mask, np.ones((8, 8)))
    axes.contour(
        (np.arange(fine.shape[1]) + 0.5) * width / fine.shape[1],
        (np.arange(fine.shape[0]) + 0.5) * height / fine.shape[0],
        fine,
        levels=[0.5],
        colors="white",
        linewidths=0.9,
    )

#!/usr/bin/env python3
"""What nearest neighbours name: features of encoders beside those of untrained ones, and pixels.

Usage: python benchmarks/knn_features.py --encoders runs/RUN --env AVE-ImageFolder-v0
           --data-root cifar10.h5 [--image-size 32 32] [--scenes 5000] [--bank 0]

Twenty training scenes vote for the class of each test scene, weighted by their cosine similarity as
in DINO's evaluation. The rows: the pixels as they are; the pixels without the training scenes' mean
colour, which is no encoder but makes cosines of pixels mean more; and of every encoder its latents
of whole scenes, trained, and with the random weights that its sizes have at seed 0. Intervals are
Wilson's, and Newcombe's for the difference to the pixels as they are, scene by scene.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor

from agents.evaluation.statistics import newcombe_interval, wilson_interval
from ave_env.registration import configure
from encoders import build_encoder
from encoders.analysis.knn import NEIGHBOURS, knn_classify
from encoders.storage import load_encoder
from encoders.support.subsets import spread_evenly
from encoders.training.distillation.validation import latents_of


@dataclasses.dataclass(frozen=True)
class Options:
    """Compares features by their nearest neighbours.

    Attributes:
        encoders: Folders of encoders of the family tore, for scenes of one size.
        env: Whose scenes: an environment id.
        data_root: Folder or file of the scenes; None = the environment variable of the id.
        split: Whose scenes are named.
        scenes: How many, evenly spread; 0 = all.
        bank: Training scenes that may vote, evenly spread; 0 = all.
    """

    encoders: tuple[Path, ...]
    env: str = "AVE-ImageFolder-v0"
    data_root: Path | None = None
    split: str = "test"
    scenes: int = 0
    bank: int = 0


def pixels_of(scenes: Any, indices: np.ndarray) -> Tensor:
    """The pixels of scenes in [0, 1], float32 `[N, H*W*3]`."""
    images = np.stack([scenes.load(int(index)) for index in indices])
    return torch.from_numpy(images).float().flatten(1) / 255


def features(
    options: Options, sets: tuple[tuple[Any, np.ndarray], ...]
) -> Iterator[tuple[str, list[Tensor]]]:
    """Every kind of features of the training and the test scenes."""
    pixels = [pixels_of(*each) for each in sets]
    yield "pixels", pixels
    mean = pixels[0].unflatten(1, (-1, 3)).mean((0, 1))
    shift = mean.repeat(pixels[0].shape[1] // 3)
    yield "pixels - mean colour", [each - shift for each in pixels]
    for folder in options.encoders:
        encoder = load_encoder(folder)
        untrained = build_encoder(encoder.config, 0).eval()
        for what, module in (("untrained", untrained), ("trained", encoder)):
            yield f"{encoder.config.name}, {what}", [latents_of(module, *each) for each in sets]


def main() -> None:
    """Prints a table."""
    options = tyro.cli(Options)
    size = load_encoder(options.encoders[0]).config.image_size
    train, test = (
        configure(
            options.env, split=split, data_root=options.data_root, image_size=size
        ).open_scenes()
        for split in ("train", options.split)
    )
    bank = spread_evenly(options.bank or len(train), len(train))
    named = spread_evenly(options.scenes or len(test), len(test))
    known, labels = (
        torch.from_numpy(scenes.labels[indices])
        for scenes, indices in ((train, bank), (test, named))
    )
    print(
        f"{len(named):,} scenes of the split {options.split}, {NEIGHBOURS} neighbours among "
        f"{len(bank):,} training scenes"
    )
    print(f"{'features':<32}{'accuracy, %':>20}{'minus pixels':>22}")
    reference = None
    for name, (own, other) in features(options, ((train, bank), (test, named))):
        hits = knn_classify(own, known, other).hits(labels).numpy().astype(np.float64)
        found = wilson_interval(hits)
        line = f"{name:<32}{_in_percent(found):>20}"
        if reference is None:
            reference = hits
        else:
            line += f"{_in_percent(newcombe_interval(hits, reference), '+'):>22}"
        print(line, flush=True)


def _in_percent(interval: Any, sign: str = "") -> str:
    mean, low, high = (100 * float(value) for value in (interval.mean, interval.low, interval.high))
    return f"{mean:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"


if __name__ == "__main__":
    main()

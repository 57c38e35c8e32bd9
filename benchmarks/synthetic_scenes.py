#!/usr/bin/env python3
"""Shows that looking well matters in the synthetic panoramas: the figures of docs/synthetic.md.

Prints accuracy of an encoder on full views, after random glimpses and along the greedy oracle's
path, each with a 95 % Wilson interval over scenes, and draws the contact sheet.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tyro

if TYPE_CHECKING:
    from ave_env.scenes.synthetic.panoramas import SyntheticScenes
    from encoders import GlimpseEncoder


@dataclasses.dataclass(frozen=True)
class Options:
    """Measures the synthetic panoramas.

    Attributes:
        encoder: Name or folder of the encoder.
        split_block: TORE's K; None = the encoder's default.
        scenes: Test scenes for full views and random glimpses.
        oracle_scenes: Test scenes for the oracle, which tries every window at every step.
        sheet: Where the contact sheet goes; None = nowhere.
        seed: Of the random agent.
    """

    encoder: str = "tore-nano"
    split_block: int | None = None
    scenes: int = 2_000
    oracle_scenes: int = 300
    sheet: Path | None = Path("docs/images/synthetic.jpg")
    seed: int = 0


def main() -> None:
    """Measures, prints and draws."""
    options = tyro.cli(Options)
    from agents.evaluation.comparison import evaluate_agents
    from agents.evaluation.config import EvaluationConfig
    from ave_env.scenes.synthetic.panoramas import SyntheticScenes
    from encoders import create_encoder

    scenes = SyntheticScenes("test")
    if options.sheet is not None:
        draw_sheet(scenes, options.sheet)
        print(f"contact sheet: {options.sheet}")
    encoder = create_encoder(options.encoder)
    print("| view | scenes | accuracy, % |\n| --- | --- | --- |")
    for split in range(encoder.depth + 1):
        correct = full_view_hits(encoder, scenes, options.scenes, split)
        print(f"| everything, K = {split} | {len(correct)} | {percent(correct)} |")
    settings = {
        "encoder": options.encoder,
        "split_block": options.split_block,
        "precision": "auto",
    }
    for agent, count in (("random", options.scenes), ("oracle", options.oracle_scenes)):
        config = EvaluationConfig(num_scenes=count, seeds=(options.seed,), episodes=0)
        comparison = evaluate_agents([agent], "AVE-Synthetic-v0", settings, config)
        accuracy = comparison.results[0].over_scenes["accuracy"]
        for step in (1, 2, 3, 4, 6, 8):
            mean, low, high = (100 * x[step] for x in (accuracy.mean, accuracy.low, accuracy.high))
            print(f"| {agent}, {step} glimpses | {count} | {mean:.1f} ({low:.1f} to {high:.1f}) |")


def full_view_hits(
    encoder: GlimpseEncoder, scenes: SyntheticScenes, count: int, split_block: int
) -> np.ndarray:
    """Whether each scene is recognised when all of it was seen, as tiles; bool `[count]`."""
    import torch

    from encoders.layers.patches import patchify
    from encoders.support.precision import autocast, resolve_precision
    from encoders.training.glimpses import full_view

    hits = []
    dtype = resolve_precision("auto", encoder.device)
    for start in range(0, count, 100):
        batch = range(start, min(start + 100, count))
        images = torch.from_numpy(np.stack([scenes.load(index) for index in batch]))
        patches = patchify(encoder.normalise(images.permute(0, 3, 1, 2)), encoder.config.patch_size)
        ids = torch.from_numpy(full_view(len(batch), encoder.grid, 2).copy())
        with torch.no_grad(), autocast(encoder.device, dtype):
            belief = encoder(patches[:, ids[0]], ids, split_block=split_block, outputs=("logits",))
        hits.append(belief.logits.argmax(1).cpu().numpy() == scenes.labels[list(batch)])
    return np.concatenate(hits)


def percent(correct: np.ndarray) -> str:
    """Mean and Wilson's interval of hits, in percent."""
    from agents.evaluation.statistics import wilson_interval

    interval = wilson_interval(correct[:, None])
    mean, low, high = (100 * float(x[0]) for x in (interval.mean, interval.low, interval.high))
    return f"{mean:.1f} ({low:.1f} to {high:.1f})"


def draw_sheet(
    scenes: SyntheticScenes, path: Path, columns: int = 3, rows: int = 5, gap: int = 6
) -> None:
    """Tiles scenes of the split on white."""
    from PIL import Image

    from encoders.support.files import replacing

    height, width = (2 * side for side in scenes.image_size)
    large = type(scenes)(scenes.split, (height, width))
    sheet = Image.new(
        "RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), (255, 255, 255)
    )
    for place in range(columns * rows):
        row, column = divmod(place, columns)
        sheet.paste(
            Image.fromarray(large.load(place * 7)), (column * (width + gap), row * (height + gap))
        )
    with replacing(path) as partial:
        sheet.save(partial, quality=88)


if __name__ == "__main__":
    main()

"""Features of all scenes of a study."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from agents.studies.subjects import SceneSet, Subject, batches
from encoders.layers.divisions import Division


def latents(
    subject: Subject, scenes: SceneSet, way: Division, splits: Sequence[int]
) -> dict[int, Tensor]:
    """Latents float32 `[N, D]` on the CPU, by K.

    Args:
        subject: The encoder.
        scenes: The scenes.
        way: How images are divided.
        splits: Every K; nothing is computed for none.
    """
    if not splits:
        return {}
    options = subject.options
    found: dict[int, list[Tensor]] = {split: [] for split in splits}
    title = f"{scenes.scenes.split} scenes, M = {way.parts}, {way.orientation}"
    for rows in batches(scenes, options.batch_size, title=title, progress=options.progress):
        for split, features in subject.features(scenes.images(rows), way, splits).items():
            found[split].append(features.latent.float().cpu())
    return {split: torch.cat(parts) for split, parts in found.items()}

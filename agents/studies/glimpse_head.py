"""A linear head that learns from random glimpses, the encoder frozen."""

from __future__ import annotations

import numpy as np
import torch

from agents.studies.streaming import observe_parts
from agents.studies.subjects import SceneSet, Subject, batches
from encoders.analysis.probe import LinearProbe, fit_probe
from encoders.training.glimpses import random_glimpses


def fit_glimpse_head(
    subject: Subject,
    training: SceneSet,
    split_block: int,
    *,
    glimpse_size: int,
    num_glimpses: int,
) -> LinearProbe:
    """Trains a head on features after every one of some random glimpses.

    Args:
        subject: The encoder, frozen.
        training: Scenes to learn from; each is seen once, with random glimpses.
        split_block: K.
        glimpse_size: Side of a glimpse in patches.
        num_glimpses: Glimpses of every scene; the features after each of them count.
    """
    options, found, labels = subject.options, [], []
    title = f"random glimpses of training scenes, K = {split_block}"
    rng = np.random.default_rng([options.seed, 7])
    for rows in batches(training, options.batch_size, title=title, progress=options.progress):
        ids = random_glimpses(
            rng, len(rows), num_glimpses, tuple(subject.encoder.grid), glimpse_size
        )
        for features, _ in observe_parts(subject, training.images(rows), ids, split_block):
            found.append(features.latent.float().cpu())
            labels.append(torch.from_numpy(training.labels[rows]))
    return fit_probe(torch.cat(found), torch.cat(labels), len(training.scenes.class_names))

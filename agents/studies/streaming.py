"""Images that are seen part by part, with a belief after each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from agents.studies.subjects import Subject
from encoders.analysis.divided import NOT_REDUCED, DividedFeatures
from encoders.layers.patches import patchify
from encoders.support.precision import autocast, resolve_precision


def observe_parts(
    subject: Subject, images: Tensor, patch_ids: np.ndarray, split_block: int
) -> Iterator[tuple[DividedFeatures, np.ndarray]]:
    """Shows an encoder images part by part; no token is reduced.

    Args:
        subject: The encoder.
        images: uint8 `[B, H, W, 3]`.
        patch_ids: int64 `[B, M, n]`, -1 = padding; a part may be padding altogether.
        split_block: K.

    Yields:
        After every part, the features so far and the multiply-accumulates of this step, int64
        `[B]`.
    """
    encoder = subject.encoder
    outputs = [name for name in ("latent", "logits") if name in encoder.outputs]
    dtype = resolve_precision(subject.options.precision, encoder.device)
    patches = patchify(subject.normalised(images), encoder.config.patch_size)
    rows = torch.arange(len(images))[:, None]
    state = encoder.init_state(len(images))
    for part in range(patch_ids.shape[1]):
        ids = torch.from_numpy(np.ascontiguousarray(patch_ids[:, part]))
        chosen = patches[rows, ids.clamp(min=0)]
        with autocast(encoder.device, dtype):
            observed = encoder.observe(
                chosen, ids, state, split_block, outputs=outputs, **NOT_REDUCED
            )
        belief = observed.belief
        spent = np.asarray(observed.cost.spent.total)
        yield DividedFeatures(belief.latent, belief.logits), spent

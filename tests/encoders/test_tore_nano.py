"""The shipped encoder is what its card says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import encoders
from ave_env.scenes.synthetic.panoramas import SyntheticScenes
from encoders.layers.patches import patchify
from encoders.storage import weights_hash
from encoders.training.glimpses import full_view

FOLDER = Path(encoders.__file__).parent / "pretrained" / "tore-nano"


@pytest.fixture(scope="module")
def encoder():
    return encoders.create_encoder("tore-nano", device="cpu")


def test_it_is_small_and_its_card_names_its_weights(encoder):
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 15e6
    assert weights_hash(encoder) in (FOLDER / "README.md").read_text()


def test_it_knows_the_classes_of_the_panoramas(encoder):
    scenes = SyntheticScenes("test")
    assert encoder.config.class_names == scenes.class_names
    assert encoder.config.image_size == scenes.image_size


@pytest.mark.parametrize("split_block", [0, 4, 6])
def test_it_recognises_what_it_has_seen_whole_for_every_split(encoder, split_block):
    scenes = SyntheticScenes("test")
    images = torch.from_numpy(np.stack([scenes.load(index) for index in range(60)]))
    patches = patchify(encoder.normalise(images.permute(0, 3, 1, 2)), 16)
    ids = torch.from_numpy(full_view(60, encoder.grid, 2).copy())
    with torch.no_grad():
        belief = encoder(patches[:, ids[0]], ids, split_block, ("logits", "pixels"))
    hits = belief.logits.argmax(1).numpy() == scenes.labels[:60]
    assert hits.mean() >= 0.97


def test_what_it_imagines_is_closer_than_grey(encoder):
    scenes = SyntheticScenes("test")
    images = torch.from_numpy(np.stack([scenes.load(index) for index in range(16)]))
    patches = patchify(encoder.normalise(images.permute(0, 3, 1, 2)), 16)
    ids = torch.arange(0, 128, 4).expand(16, 1, -1)
    with torch.no_grad():
        belief = encoder(patches[:, ids[0]], ids, 4, ("pixels",))
    imagined = encoder.to_images(belief.pixels).float()
    error = (imagined - images.float()).square().mean().sqrt()
    mean = images.float().mean(dim=(0, 1, 2), keepdim=True)
    assert error < 0.7 * (images.float() - mean).square().mean().sqrt()

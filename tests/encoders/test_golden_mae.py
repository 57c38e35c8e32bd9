"""The masked autoencoder gives the numbers of its authors' code."""

from __future__ import annotations

import pytest
from golden_numbers import DTYPES, Golden
from helpers import take_patches

from encoders.checkpoints.importing import build_from_state_dict
from encoders.layers.patches import patchify, pixel_targets
from encoders.layers.positions import recognise_sincos, sincos_positions
from encoders.training.objective import mean_over_unseen

KEPT = ("ratio0.75", "ratio0.5", "ratio0.0", "glimpse_ids")


@pytest.fixture(scope="module", params=DTYPES, ids=str)
def mae(request):
    golden = Golden("mae", request.param)
    encoder = build_from_state_dict(
        golden.weights, image_size=(64, 64), num_heads=3, decoder_num_heads=4
    )
    return golden, encoder


def see(golden, encoder, kept, split=0):
    ids = golden[f"{kept}/ids_keep"]
    patches = take_patches(encoder, golden["image"], ids)
    outputs = ("tokens", "pixels")
    belief, _ = encoder.observe(patches, ids, encoder.init_state(2), split, outputs)
    return ids, belief


def test_pixel_order(mae):
    golden, _ = mae
    golden.check(pixel_targets(patchify(golden["image"], 8)), "patchify")


@pytest.mark.parametrize("kept", KEPT)
def test_latents_and_pixels(mae, kept):
    golden, encoder = mae
    _, belief = see(golden, encoder, kept)
    golden.check(belief.tokens, f"{kept}/latent")
    golden.check(belief.pixels, f"{kept}/pred")


@pytest.mark.parametrize(
    ("kept", "name"),
    [
        ("ratio0.75", "loss"),
        ("ratio0.75", "loss_normpix"),
        ("ratio0.5", "loss"),
        ("ratio0.5", "loss_normpix"),
        ("glimpse_ids", "loss"),
    ],
)
def test_losses_over_the_patches_that_are_not_seen(mae, kept, name):
    golden, encoder = mae
    ids, belief = see(golden, encoder, kept)
    targets = pixel_targets(patchify(golden["image"], 8))
    if name == "loss_normpix":
        spread = (targets.var(-1, keepdim=True) + 1e-6).sqrt()
        targets = (targets - targets.mean(-1, keepdim=True)) / spread
    errors = (belief.pixels - targets).square().mean(2)
    golden.check(mean_over_unseen(errors, ids).mean(), f"{kept}/{name}")


def test_sine_cosine_tables(mae):
    golden, _ = mae
    with_class = sincos_positions(48, (8, 8), 1, dtype=golden.dtype)[0]
    golden.check(with_class, "sincos/48x8x8_cls")
    golden.check(sincos_positions(16, (3, 3), 0, dtype=golden.dtype)[0], "sincos/16x3x3_nocls")
    assert recognise_sincos(golden["w/pos_embed"], 1).grid == (8, 8)
    assert recognise_sincos(golden["w/decoder_pos_embed"], 1).grid == (8, 8)
    assert recognise_sincos(golden["w/pos_embed"] + 1e-3, 1) is None

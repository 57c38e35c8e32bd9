"""TORE gives the numbers of its authors' code: every split, every division, streaming."""

from __future__ import annotations

import pytest
import torch
from golden_numbers import DTYPES, Golden
from helpers import take_patches

from encoders.checkpoints.importing import build_from_state_dict
from encoders.layers.patches import patchify
from encoders.layers.vit import TokenSet, attention_map

SPLITS = range(5)
DIVISIONS = ("M1", "M2", "M2T", "M4", "M6uneq", "M9uneq", "M16")


@pytest.fixture(scope="module", params=DTYPES, ids=str)
def deit(request):
    golden = Golden("tore_deit_km", request.param)
    encoder = build_from_state_dict(golden.weights, image_size=(64, 64), num_heads=3)
    assert (encoder.depth, encoder.width, encoder.config.num_classes) == (4, 48, 10)
    return golden, encoder


def test_the_plain_forward_pass(deit):
    golden, encoder = deit
    with torch.no_grad():
        golden.check(encoder.forward_full(golden["image"]).logits, "plain_logits")


def test_attention_of_the_last_block(deit):
    golden, encoder = deit
    vit = encoder.backbone
    with torch.no_grad():
        ids = torch.arange(64).expand(2, -1)
        patches = vit.embed_patches(patchify(golden["image"], 8), ids)
        tokens = torch.cat([vit.embed_prefix(2), patches], dim=1)
        tokens, _ = vit.run_blocks(TokenSet(tokens), 0, encoder.depth - 1)
        attention = attention_map(vit.vit.blocks[-1], tokens.values)
    golden.check(attention, "last_attn")


@pytest.mark.parametrize("division", DIVISIONS)
def test_divided_images(deit, division):
    golden, encoder = deit
    parts = golden[f"{division}/division_labels"]
    for split in SPLITS:
        with torch.no_grad():
            outputs = ("latent", "logits", "tokens")
            belief = encoder.forward_divided(golden["image"], parts, split, outputs)
        golden.check(belief.latent, f"{division}/K{split}/cls_feat")
        golden.check(belief.logits, f"{division}/K{split}/logits")
        if (key := f"{division}/K{split}/tokens") in golden:
            # Without a split the authors keep raster order; ours is always that of the parts.
            order = torch.arange(64) if split else parts.flatten().argsort(stable=True).argsort()
            patches = belief.tokens[:, 1:][:, order]
            golden.check(torch.cat([belief.tokens[:, :1], patches], dim=1), key)


@pytest.mark.parametrize("division", ["M4", "M6uneq", "M16"])
def test_predictions_after_each_part(deit, division):
    golden, encoder = deit
    parts = golden[f"{division}/division_labels"].flatten()
    for split in SPLITS:
        state, logits = encoder.init_state(2), []
        for part in range(int(parts.max()) + 1):
            ids = (parts == part).nonzero()[:, 0].expand(2, -1)
            patches = take_patches(encoder, golden["image"], ids)
            belief, state = encoder.observe(patches, ids, state, split)
            logits.append(belief.logits)
        golden.check(torch.stack(logits), f"{division}/K{split}/seq_logits")


@pytest.mark.parametrize("split", SPLITS)
def test_streaming_with_glimpses_that_overlap_and_repeat(deit, split):
    golden, encoder = deit
    state = encoder.init_state(2)
    for step, glimpse in enumerate(golden["glimpses"]):
        ids = glimpse.expand(2, -1)
        patches = take_patches(encoder, golden["image"], ids)
        belief, state = encoder.observe(patches, ids, state, split, ("latent",))
        golden.check(belief.latent, f"next/K{split}/t{step}/cls_feat")
    assert state.token_counts.tolist() == [20, 20]  # what is seen twice is kept twice
    cached = state.sequence().values
    golden.check(cached[:, :1], f"next/K{split}/cls_mean")
    golden.check(cached[:, 1:], f"next/K{split}/cached_tokens")

"""Features of images in parts: the authors' numbers, the encoder's own, and what they cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_numbers import DTYPES, Golden
from helpers import random_images, take_patches, tiny_encoder
from torch.utils.flop_counter import FlopCounterMode

from encoders.analysis.divided import (
    divided_features,
    divided_flops,
    sequential_flops,
    tokens_after_blocks,
)
from encoders.checkpoints.importing import build_from_state_dict
from encoders.layers.divisions import Division
from encoders.layers.vit import set_fused_attention

DIVISIONS = ("M1", "M2", "M2T", "M4", "M6uneq", "M9uneq", "M16")


@pytest.fixture(scope="module", params=DTYPES, ids=str)
def deit(request):
    golden = Golden("tore_deit_km", request.param)
    return golden, build_from_state_dict(golden.weights, image_size=(64, 64), num_heads=3)


@pytest.mark.parametrize("division", DIVISIONS)
def test_the_authors_numbers_at_every_k(deit, division):
    golden, encoder = deit
    labels = golden[f"{division}/division_labels"].numpy()
    found = divided_features(encoder, golden["image"], labels, range(5))
    for split, features in found.items():
        golden.check(features.latent, f"{division}/K{split}/cls_feat")
        golden.check(features.logits, f"{division}/K{split}/logits")


@pytest.mark.parametrize("division", ["M4", "M6uneq"])
@pytest.mark.parametrize("split", [0, 2, 4])
def test_the_authors_tokens_after_the_last_block(deit, division, split):
    golden, encoder = deit
    labels = golden[f"{division}/division_labels"].numpy()
    steps = list(tokens_after_blocks(encoder, golden["image"], labels, split))
    assert len(steps) == encoder.depth + 1
    ours, _ = encoder.backbone.pool(steps[-1], None)
    order = (
        torch.arange(64) if split == 0 else torch.from_numpy(labels.ravel()).argsort(stable=True)
    )
    expected = golden[f"{division}/K{split}/tokens"][:, 1:]
    scale = 1e-8 if golden.dtype == torch.float64 else 1e-3
    torch.testing.assert_close(ours[:, order], expected, rtol=0, atol=scale)


@pytest.mark.parametrize(
    "model",
    [
        {},
        {
            "vit": {
                "embed_dim": 24,
                "depth": 3,
                "num_heads": 3,
                "class_token": False,
                "global_pool": "avg",
                "reg_tokens": 0,
            },
            "decoder": None,
        },
    ],
)
@pytest.mark.parametrize("way", [Division(6), Division(6, transposed=True), Division(16)])
def test_equal_to_the_encoders_own(model, way):
    encoder = tiny_encoder(**model)
    images, labels = random_images(encoder, 3), way.labels(encoder.grid)
    found = divided_features(encoder, images, labels, [3, 1, 0, 1])
    assert sorted(found) == [0, 1, 3]
    for split, features in found.items():
        with torch.no_grad():
            own = encoder.forward_divided(images, torch.from_numpy(labels), split)
        torch.testing.assert_close(features.latent, own.latent, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(features.logits, own.logits, rtol=1e-4, atol=1e-5)


def test_a_reduction_of_the_encoders_own_is_left_out():
    encoder = tiny_encoder()
    images, labels = random_images(encoder, 2), Division(4).labels(encoder.grid)
    plain = divided_features(encoder, images, labels, [1])[1]
    reducing = encoder.with_reduction(reduction="tome:r=4")
    reduced = divided_features(reducing, images, labels, [1])[1]
    assert torch.equal(plain.latent, reduced.latent)
    assert divided_flops(reducing, labels, 1) == divided_flops(encoder, labels, 1)


@pytest.mark.parametrize("split", range(4))
@pytest.mark.parametrize("parts", [1, 2, 4, 8, 16])
def test_flops_are_those_that_run(parts, split):
    encoder = tiny_encoder(decoder=None)
    set_fused_attention(encoder, False)  # fused attention is not counted on every build
    labels = Division(parts, transposed=True).labels(encoder.grid)  # of equal size
    with FlopCounterMode(display=False) as counter:
        divided_features(encoder, random_images(encoder, 1), labels, [split])
    assert divided_flops(encoder, labels, split) == counter.get_total_flops() // 2


def test_flops_of_parts_seen_one_after_another():
    encoder = tiny_encoder(decoder=None)
    set_fused_attention(encoder, False)
    ids = np.array([[0, 1, 2, 3], [8, 9, 10, -1], [30, 31, -1, -1]])
    sizes = (ids >= 0).sum(1)
    state, images = encoder.init_state(1), random_images(encoder, 1)
    with FlopCounterMode(display=False) as counter:
        for row, size in zip(ids, sizes, strict=True):
            own = torch.from_numpy(row[:size])[None]
            encoder.observe(take_patches(encoder, images, own), own, state, 2)
    assert sequential_flops(encoder, sizes, 2)[-1] == counter.get_total_flops() // 2


def test_what_does_not_fit_is_a_sentence():
    encoder = tiny_encoder()
    images = random_images(encoder, 1)
    with pytest.raises(ValueError, match="split_block 4 is outside"):
        divided_features(encoder, images, Division(4).labels(encoder.grid), [4])
    with pytest.raises(ValueError, match=r"expected those of all 4x8 patches"):
        divided_features(encoder, images, Division(4).labels((4, 4)), [1])

"""DINO, and TORE on DINO, give the numbers of their authors' code."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from golden_numbers import DTYPES, Golden

from encoders.checkpoints.importing import build_from_state_dict
from encoders.layers.patches import patchify
from encoders.layers.vit import TokenSet, run_block_with_attention


@pytest.fixture(scope="module", params=DTYPES, ids=str)
def dino(request):
    golden = Golden("dino", request.param)
    encoder = build_from_state_dict(golden.weights, image_size=(64, 64), num_heads=3)
    assert encoder.config.num_classes == 0  # the projection head is no class head
    return golden, encoder


def tokens_after(golden, encoder, stop):
    vit = encoder.backbone
    patches = vit.embed_patches(patchify(golden["image"], 8), torch.arange(64).expand(4, -1))
    tokens, _ = vit.run_blocks(TokenSet(torch.cat([vit.embed_prefix(4), patches], 1)), 0, stop)
    return tokens


@torch.no_grad()
def test_features_of_whole_images(dino):
    golden, encoder = dino
    golden.check(encoder.forward_full(golden["image"], ("latent",)).latent, "cls_feat")


@torch.no_grad()
def test_tokens_after_the_last_two_blocks(dino):
    golden, encoder = dino
    for position, stop in enumerate((3, 4)):
        tokens, _ = encoder.backbone.pool(tokens_after(golden, encoder, stop).values, None)
        golden.check(tokens, f"intermediate_last2/{position}")


@torch.no_grad()
def test_attention_of_the_last_block(dino):
    golden, encoder = dino
    block = encoder.backbone.vit.blocks[-1]
    _, attention = run_block_with_attention(block, tokens_after(golden, encoder, 3))
    golden.check(attention, "last_attn")


@torch.no_grad()
@pytest.mark.parametrize("division", ["equal4", "unequal6"])
@pytest.mark.parametrize("split", range(5))
def test_tore_on_dino(dino, division, split):
    golden, encoder = dino
    parts = golden[f"tore/{division}/masks"].argmax(0)
    belief = encoder.forward_divided(golden["image"], parts, split, ("latent",))
    golden.check(belief.latent, f"tore/{division}/K{split}/cls_feat")


def dino_positions(table, grid):
    """The authors' resampling: bicubic, the scale a tenth of a patch too large."""
    square = table[:, 1:].unflatten(1, (8, 8)).permute(0, 3, 1, 2)
    scale = tuple((side + 0.1) / 8 for side in grid)
    resampled = F.interpolate(square, scale_factor=scale, mode="bicubic")
    assert resampled.shape[2:] == grid
    return torch.cat([table[:, :1], resampled.flatten(2).transpose(1, 2)], dim=1)


@torch.no_grad()
def test_small_and_oblong_images_with_the_authors_positions(dino):
    golden, _ = dino
    weights = golden.weights
    table = weights["backbone.pos_embed"]
    golden.check(dino_positions(table, (5, 12)), "rect/pos_embed")
    weights["backbone.pos_embed"] = dino_positions(table, (4, 4))
    golden.check(weights["backbone.pos_embed"], "small/pos_embed")
    encoder = build_from_state_dict(weights, image_size=(32, 32), num_heads=3)
    golden.check(encoder.forward_full(golden["image_small"], ("latent",)).latent, "small/cls_feat")

"""Attention maps of the class token: the authors' numbers, laws, and what is refused."""

from __future__ import annotations

import pytest
import torch
from golden_numbers import DTYPES, Golden
from hypothesis import given
from hypothesis import strategies as st

from encoders import EncoderConfig, build_encoder, create_encoder
from encoders.analysis.attention_maps import attention_maps, class_attention, mass_mask
from encoders.checkpoints.importing import build_from_state_dict
from encoders.layers.patches import patchify
from encoders.layers.vit import TokenSet, run_block_with_attention


@pytest.fixture(scope="module", params=DTYPES, ids=str)
def dino(request):
    golden = Golden("dino", request.param)
    return golden, build_from_state_dict(golden.weights, image_size=(64, 64), num_heads=3)


def everything(golden):
    patches = patchify(golden["image"], 8)[:, None]
    return patches, torch.arange(64).expand(4, 1, -1)


def parts_of(labels):
    flat = labels.flatten()
    groups = [(flat == label).nonzero()[:, 0] for label in flat.unique()]
    ids = torch.full((len(groups), max(map(len, groups))), -1)
    for row, group in enumerate(groups):
        ids[row, : len(group)] = group
    return ids


def test_authors_maps_and_masks(dino):
    golden, encoder = dino
    maps = class_attention(encoder, *everything(golden))
    golden.check(maps, "cls_attn_grid")
    assert torch.equal(mass_mask(maps).long(), golden["cls_attn_threshold0.6"])


@pytest.mark.parametrize("split", range(4))
def test_parts_that_never_met_share_the_gaze_and_those_that_did_are_in_their_places(dino, split):
    golden, encoder = dino
    patches, _ = everything(golden)
    ids = parts_of(golden["tore/unequal6/masks"].argmax(0))
    cut = patches[:, 0][:, ids.clamp(min=0)]
    maps = class_attention(encoder, cut, ids.expand(4, -1, -1), split)
    if split == 0:  # the order of patches does not matter where all are encoded together
        golden.check(maps, "cls_attn_grid")
    order = torch.arange(len(ids) - 1, -1, -1)
    turned = class_attention(encoder, cut[:, order], ids[order].expand(4, -1, -1), split)
    torch.testing.assert_close(maps, turned, atol=1e-6, rtol=1e-4)


def test_at_full_depth_the_map_is_the_mean_of_the_parts(dino):
    golden, encoder = dino
    patches, _ = everything(golden)
    labels = golden["tore/unequal6/masks"].argmax(0)
    ids = parts_of(labels)
    cut = patches[:, 0][:, ids.clamp(min=0)]
    maps = class_attention(encoder, cut, ids.expand(4, -1, -1), encoder.depth)
    for label, group in enumerate(ids):
        alone = group[group >= 0]
        own = class_attention(
            encoder, patches[:, :, alone], alone.expand(4, 1, -1), encoder.depth - 1
        )
        where = labels == label
        torch.testing.assert_close(
            maps[:, :, where], own[:, :, where] / len(ids), atol=1e-6, rtol=1e-4
        )
        assert bool(own[:, :, ~where].isnan().all())


def test_a_patch_seen_twice_has_both_shares(dino):
    golden, encoder = dino
    patches, ids = everything(golden)
    twice = torch.cat([ids[:, :, :10], ids[:, :, 4:14]], dim=1)
    chosen = patches[:, 0][torch.arange(4)[:, None, None], twice]
    maps = class_attention(encoder, chosen, twice)
    vit = encoder.backbone
    embedded = vit.embed_patches(chosen.flatten(1, 2), twice.flatten(1))
    tokens, _ = vit.run_blocks(TokenSet(torch.cat([vit.embed_prefix(4), embedded], 1)), 0, 3)
    shares = run_block_with_attention(vit.blocks[3], tokens)[1][:, :, 0, 1:]
    summed = torch.stack([shares[:, :, twice[0].flatten() == patch].sum(2) for patch in range(64)])
    expected = summed.permute(1, 2, 0).unflatten(2, (8, 8))
    torch.testing.assert_close(maps.nan_to_num(0.0), expected)
    assert bool(maps.flatten(2)[:, :, 14:].isnan().all())


@given(seed=st.integers(0, 2**32 - 1), mass=st.floats(0.01, 1.0))
def test_masks_are_the_smallest_that_carry_their_mass(seed, mass):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(3, 2, 4, 5, generator=generator, dtype=torch.float64)
    masks = mass_mask(maps, mass)
    total = maps.flatten(2).sum(2)
    carried = (maps * masks).flatten(2).sum(2)
    lowest = maps.masked_fill(~masks, torch.inf).flatten(2).amin(2)
    assert bool((carried >= mass * total - 1e-9).all())
    assert bool((carried - lowest <= mass * total + 1e-9).all())


def test_what_was_not_seen_is_in_no_mask():
    maps = torch.tensor([[[0.2, torch.nan], [0.1, 0.3]]])
    assert mass_mask(maps, 1.0).tolist() == [[[True, False], [True, True]]]
    assert not mass_mask(torch.full((1, 2, 2), torch.nan)).any()
    with pytest.raises(ValueError, match=r"mass=0"):
        mass_mask(maps, 0)


def test_of_images():
    encoder = create_encoder("timm/vit_tiny_patch16_224.augreg_in21k", pretrained=False)
    images = torch.randint(256, (2, 224, 224, 3), dtype=torch.uint8)
    maps = attention_maps(encoder, images)
    assert maps.shape == (2, 3, 14, 14)
    pixels = encoder.normalise(images.permute(0, 3, 1, 2))
    patches = patchify(pixels, 16)[:, None]
    own = class_attention(encoder, patches, torch.arange(196).expand(2, 1, -1))
    torch.testing.assert_close(maps, own)
    whole = torch.zeros(14, 14, dtype=torch.int64)
    torch.testing.assert_close(attention_maps(encoder, images, parts=whole), maps)
    with pytest.raises(ValueError, match="images of"):
        attention_maps(encoder, images[:, :112])
    with pytest.raises(ValueError, match="parts of shape"):
        attention_maps(encoder, images, parts=whole[:7])


def test_an_encoder_without_class_token_is_refused():
    vit = {"embed_dim": 8, "depth": 1, "num_heads": 1, "class_token": False, "global_pool": "avg"}
    encoder = build_encoder(EncoderConfig("pooled", vit, (16, 16), 8))
    with pytest.raises(ValueError, match="'pooled' has no class token"):
        attention_maps(encoder, torch.zeros(1, 16, 16, 3, dtype=torch.uint8))

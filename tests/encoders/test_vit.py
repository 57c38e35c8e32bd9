"""Encoders around timm's models answer as timm does."""

from __future__ import annotations

import pytest
import torch
from helpers import tiny_encoder
from timm.models.vision_transformer import VisionTransformer

from encoders import create_encoder, list_encoders, replace_head, resize_grid
from encoders.create import resolve_device
from encoders.families.tore.surgery import PatchVit

NAMES = (
    "deit_small_patch16_224",
    "deit3_small_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "vit_base_patch16_224.mae",
    "vit_small_patch16_224.dino",
    "vit_small_patch14_reg4_dinov2",
    "vit_medium_patch16_gap_256",
    "vit_base_patch16_clip_224",
)


@pytest.mark.parametrize("name", NAMES)
def test_all_patches_at_once_are_timms_forward(name):
    encoder = create_encoder(f"timm/{name}", pretrained=False, image_size=(112, 112), device="cpu")
    vit = encoder.backbone.vit
    images = torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = ("tokens", "logits") if encoder.config.num_classes else ("tokens",)
        belief = encoder.forward_full(images, outputs)
        features = vit.forward_features(images)
        torch.testing.assert_close(belief.tokens, features, rtol=1e-5, atol=1e-5)
        if belief.logits is not None:
            torch.testing.assert_close(belief.logits, vit(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_streaming_works_with_every_kind_of_prefix_and_pooling(name):
    encoder = create_encoder(f"timm/{name}", pretrained=False, image_size=(112, 112), device="cpu")
    side = encoder.config.patch_size
    patches = torch.randn(2, 3, 4, 3, side, side, generator=torch.Generator().manual_seed(0))
    ids = torch.arange(24).view(2, 3, 4)
    ids[1, 2, 1:] = -1
    for split in (0, encoder.depth // 2, encoder.depth):
        state = encoder.init_state(2)
        for step in range(3):
            streamed, state = encoder.observe(
                patches[:, step], ids[:, step], state, split, ("latent",)
            )
        with torch.no_grad():
            whole = encoder(patches, ids, split, ("latent",))
        torch.testing.assert_close(streamed.latent, whole.latent, rtol=1e-4, atol=1e-4)


def test_the_class_token_gets_its_position_row():
    encoder = tiny_encoder(decoder=None)
    vit = encoder.backbone.vit
    expected = vit.cls_token + vit.pos_embed[:, :1]
    torch.testing.assert_close(encoder.backbone.embed_prefix(2), expected.expand(2, -1, -1))


def test_models_that_cannot_be_split_are_refused():
    with pytest.raises(ValueError, match="not a plain timm VisionTransformer"):
        create_encoder("timm/resnet18", pretrained=False)
    with pytest.raises(ValueError, match="global_pool='map'"):
        PatchVit(
            VisionTransformer(img_size=32, embed_dim=24, depth=1, num_heads=3, global_pool="map")
        )
    with pytest.raises(ValueError, match="ParallelScalingBlock"):
        create_encoder("timm/vit_base_patch16_xp_224", pretrained=False)


def test_names_are_listed_and_unknown_ones_refused():
    assert list_encoders()[0] == "tore-nano"
    assert "timm/deit_small_patch16_224" in list_encoders("timm/deit*")
    with pytest.raises(ValueError, match="no encoder 'tore-nanoo'"):
        create_encoder("tore-nanoo")
    with pytest.raises(ValueError, match="timm has no model 'deit_smal'"):
        create_encoder("timm/deit_smal")


def test_random_weights_are_the_same_every_time_and_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    first, second = (
        create_encoder("timm/vit_tiny_patch16_224", pretrained=False, seed=3) for _ in range(2)
    )
    assert torch.equal(before, torch.get_rng_state())
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_new_head_is_marked_as_untrained():
    encoder = tiny_encoder(class_names=tuple("abcde"))
    replaced = replace_head(encoder, ("x", "y", "z"))
    assert replaced.config.class_names is None
    assert replaced.prior(("logits",)).logits.shape == (1, 3)
    assert replaced.backbone is encoder.backbone


def test_position_tables_follow_the_grid():
    encoder = tiny_encoder()
    resized = resize_grid(encoder, (48, 48))
    assert resized.grid == (6, 6)
    belief = resized.prior(("entropy", "pixels", "logits"))
    assert belief.entropy.shape == (1, 6, 6)
    assert belief.pixels.shape == (1, 36, 192)
    assert resize_grid(encoder, (32, 64)) is encoder


def test_auto_is_a_device_that_exists():
    assert resolve_device("auto").type in ("cpu", "cuda")
    assert resolve_device("cpu") == torch.device("cpu")

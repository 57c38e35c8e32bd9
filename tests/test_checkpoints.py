"""Weights survive a round trip, and files that do not fit are refused by name."""

from __future__ import annotations

import json

import pytest
import torch
from helpers import ALL_OUTPUTS, random_images, take_patches, tiny_encoder
from safetensors.torch import load_file, save_file
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from encoders.checkpoints import (
    CheckpointError,
    build_from_state_dict,
    load_encoder,
    save_encoder,
    weights_hash,
)


def test_what_was_saved_is_loaded_bit_for_bit(tmp_path):
    encoder = tiny_encoder(class_names=tuple("abcde"))
    loaded = load_encoder(save_encoder(encoder, tmp_path / "encoder"))
    assert loaded.config == encoder.config
    assert weights_hash(loaded) == weights_hash(encoder)
    images = random_images(encoder, 2)
    for name in ("logits", "pixels"):
        one = getattr(encoder.forward_full(images, ALL_OUTPUTS), name)
        other = getattr(loaded.forward_full(images, ALL_OUTPUTS), name)
        assert torch.equal(one, other)


def test_the_hash_tells_encoders_apart():
    encoder = tiny_encoder()
    before = weights_hash(encoder)
    with torch.no_grad():
        encoder.backbone.vit.cls_token[0, 0, 0] += 1e-6
    assert weights_hash(encoder) != before


def broken(tmp_path, change):
    folder = save_encoder(tiny_encoder(), tmp_path)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("decoder.mask_token"), "missing decoder.mask_token"),
        (lambda t: t.update(extra=torch.zeros(1)), "unexpected extra"),
        (
            lambda t: t.update({"decoder.mask_token": torch.zeros(1, 1, 8)}),
            r"decoder.mask_token has shape \(1, 1, 8\), not \(1, 1, 16\)",
        ),
        (
            lambda t: t["decoder.mask_token"].fill_(float("nan")),
            "decoder.mask_token holds NaN",
        ),
        (
            lambda t: t.update({"decoder.mask_token": torch.zeros(1, 1, 16, dtype=torch.int32)}),
            "decoder.mask_token has dtype torch.int32",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, change, message):
    with pytest.raises(CheckpointError, match=message) as error:
        load_encoder(broken(tmp_path, change))
    assert str(tmp_path) in str(error.value)


def test_damaged_files_are_named(tmp_path):
    folder = save_encoder(tiny_encoder(), tmp_path)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:200])
    with pytest.raises(CheckpointError, match="model.safetensors"):
        load_encoder(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "format_version": 99}))
    with pytest.raises(CheckpointError, match="version 99 is newer"):
        load_encoder(folder)
    (folder / "config.json").write_text(json.dumps({**config, "colour": "red"}))
    with pytest.raises(CheckpointError, match=r"unknown keys.*colour"):
        load_encoder(folder)
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_encoder(tmp_path / "nowhere")


def hugging_face_mae(**changes):
    config = ViTMAEConfig(
        **{
            "hidden_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
            "intermediate_size": 192,
            "image_size": 64,
            "patch_size": 8,
            "decoder_hidden_size": 32,
            "decoder_num_hidden_layers": 2,
            "decoder_num_attention_heads": 4,
            "decoder_intermediate_size": 128,
            "layer_norm_eps": 1e-6,  # the official value, and timm's
            **changes,
        }
    )
    torch.manual_seed(0)
    return ViTMAEForPreTraining(config).eval()


def official_names(model) -> dict[str, torch.Tensor]:
    """The official MAE's names for the weights of a Hugging Face ViTMAE."""
    source = model.state_dict()
    names = {
        "cls_token": "vit.embeddings.cls_token",
        "pos_embed": "vit.embeddings.position_embeddings",
        "mask_token": "decoder.mask_token",
        "decoder_pos_embed": "decoder.decoder_pos_embed",
    }
    modules = {
        "patch_embed.proj": "vit.embeddings.patch_embeddings.projection",
        "norm": "vit.layernorm",
        "decoder_embed": "decoder.decoder_embed",
        "decoder_norm": "decoder.decoder_norm",
        "decoder_pred": "decoder.decoder_pred",
    }
    tensors = {name: source[key] for name, key in names.items()}
    stacks = (
        ("blocks", "vit.encoder.layer", "vit.layers"),
        ("decoder_blocks", "decoder.decoder_layers", ""),
    )
    for stem, *candidates in stacks:
        there = next(
            prefix
            for prefix in candidates
            if prefix and f"{prefix}.0.layernorm_before.weight" in source
        )
        depth = 1 + max(
            int(k[len(there) + 1 :].split(".")[0]) for k in source if k.startswith(f"{there}.")
        )
        for index in range(depth):
            base = f"{there}.{index}"
            query = next(
                k
                for k in source
                if k.startswith(base) and k.endswith(("query.weight", "q_proj.weight"))
            )
            attention = query.rsplit(".", 2)[0]
            short = query.endswith("q_proj.weight")
            parts = ("q_proj", "k_proj", "v_proj") if short else ("query", "key", "value")
            for kind in ("weight", "bias"):
                tensors[f"{stem}.{index}.attn.qkv.{kind}"] = torch.cat(
                    [source[f"{attention}.{part}.{kind}"] for part in parts]
                )
            linear = [
                k.removesuffix(".weight")
                for k in source
                if k.startswith(base)
                and k.endswith(".weight")
                and not any(p in k for p in parts)
                and "layernorm" not in k
            ]
            for ours, theirs in zip(("attn.proj", "mlp.fc1", "mlp.fc2"), linear, strict=True):
                modules[f"{stem}.{index}.{ours}"] = theirs
            modules[f"{stem}.{index}.norm1"] = f"{base}.layernorm_before"
            modules[f"{stem}.{index}.norm2"] = f"{base}.layernorm_after"
    for ours, theirs in modules.items():
        for kind in ("weight", "bias"):
            tensors[f"{ours}.{kind}"] = source[f"{theirs}.{kind}"]
    return tensors


def test_a_masked_autoencoder_agrees_with_transformers():
    model = hugging_face_mae()
    encoder = build_from_state_dict(
        official_names(model), image_size=(64, 64), num_heads=3, decoder_num_heads=4
    )
    assert (encoder.depth, encoder.width) == (3, 48)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    noise = torch.rand(2, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = model(pixel_values=images, noise=noise)
    kept = noise.argsort(dim=1)[:, :16]
    belief, _ = encoder.observe(
        take_patches(encoder, images, kept), kept, encoder.init_state(2), 0, ("pixels", "tokens")
    )
    torch.testing.assert_close(belief.pixels, expected.logits, rtol=1e-4, atol=1e-5)


def test_tensors_that_are_no_vision_transformer_are_refused():
    with pytest.raises(CheckpointError, match=r"no patch_embed\.proj\.weight"):
        build_from_state_dict({"fc.weight": torch.zeros(2, 2)}, image_size=(64, 64), num_heads=3)


def test_heads_and_patches_are_checked():
    tensors = official_names(hugging_face_mae())
    with pytest.raises(CheckpointError, match="decoder_num_heads"):
        build_from_state_dict(tensors, image_size=(64, 64), num_heads=3)
    with pytest.raises(CheckpointError, match="patches of 8 pixels, not 16"):
        build_from_state_dict(tensors, image_size=(64, 64), num_heads=3, patch_size=16)
    with pytest.raises(CheckpointError, match="divided into 5 heads"):
        build_from_state_dict(tensors, image_size=(64, 64), num_heads=5)


def test_wrapped_names_and_a_nested_head_are_understood():
    tensors = {f"mae.{k}": v for k, v in official_names(hugging_face_mae()).items()}
    tensors |= {"head.0.weight": torch.ones(7, 48), "head.0.bias": torch.zeros(7)}
    encoder = build_from_state_dict(tensors, image_size=(32, 96), num_heads=3, decoder_num_heads=4)
    assert encoder.grid == (4, 12)
    assert encoder.prior(("logits", "entropy")).logits.shape == (1, 7)

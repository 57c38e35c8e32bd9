"""Weights as others publish them are understood, or refused by name; each file is a real one."""

from __future__ import annotations

import argparse
import json
import re

import numpy as np
import pytest
import timm
import torch
from golden_numbers import Golden
from helpers import take_patches
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from encoders import create_encoder
from encoders.checkpoints.importing import build_from_state_dict, import_encoder
from encoders.checkpoints.weight_files import CheckpointError
from encoders.layers.patches import patchify, pixel_targets
from encoders.layers.positions import fit_positions, recognise_sincos, sincos_positions
from encoders.storage import load_encoder, save_encoder, weights_hash
from encoders.training.objective import mean_over_unseen

MAE_HEADS = {"num_heads": 3, "decoder_num_heads": 4}


def wrapped(tensors, prefix):
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def write(path, content):
    torch.save(content, path)
    return path


def disturb(model, seed=0):
    """Random values everywhere, so that no tensor can be mistaken for another or ignored."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def tiny_vit(**changes):
    arguments = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
    return disturb(VisionTransformer(**{**arguments, "num_classes": 7, **changes}))


# Masked autoencoders


def official_mae(**arguments):
    """What the official code saves: tensors, optimiser, scaler, and its command line."""
    return {
        "model": Golden("mae").weights,
        "optimizer": {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": []},
        "epoch": 799,
        "scaler": {"scale": 65536.0},
        "args": argparse.Namespace(model="mae_vit_tiny", mask_ratio=0.75, **arguments),
    }


def test_the_official_masked_autoencoder(tmp_path):
    path = write(tmp_path / "mae.pth", official_mae(norm_pix_loss=True))
    encoder = import_encoder(path, **MAE_HEADS)
    assert encoder.config.image_size == (64, 64)
    assert encoder.config.patch_normalised_pixels
    golden = Golden("mae")
    ids = golden["glimpse_ids/ids_keep"]
    patches = take_patches(encoder, golden["image"], ids)
    belief, _ = encoder.observe(patches, ids, encoder.init_state(2), 0, ("pixels", "tokens"))
    golden.check(belief.pixels, "glimpse_ids/pred")
    golden.check(belief.tokens, "glimpse_ids/latent")


def test_a_masked_autoencoder_without_its_decoder(tmp_path):
    content = official_mae()
    encoder_only = {
        name: tensor
        for name, tensor in content["model"].items()
        if not name.startswith(("decoder_", "mask_token"))
    }
    encoder = import_encoder(write(tmp_path / "mae.pth", {"model": encoder_only}), num_heads=3)
    assert encoder.decoder is None
    golden = Golden("mae")
    belief = encoder.forward_full(golden["image"], ("tokens",))
    ids = golden["ratio0.0/ids_restore"] + 1
    order = torch.cat([torch.zeros_like(ids[:, :1]), ids], 1)[..., None].expand(-1, -1, 48)
    restored = Golden("mae")["ratio0.0/latent"].gather(1, order)
    torch.testing.assert_close(belief.tokens, restored, rtol=0, atol=3e-4)


def hugging_face_mae(**changes):
    config = ViTMAEConfig(
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=192,
        image_size=64,
        patch_size=8,
        decoder_hidden_size=32,
        decoder_num_hidden_layers=2,
        decoder_num_attention_heads=4,
        decoder_intermediate_size=128,
        **changes,
    )
    torch.manual_seed(0)
    model = ViTMAEForPreTraining(config)
    disturb(model)
    model.vit.embeddings.position_embeddings.data.copy_(sincos_positions(48, (8, 8), 1))
    model.decoder.decoder_pos_embed.data.copy_(sincos_positions(32, (8, 8), 1))
    return model


def rename(tensors, *rules):
    renamed = {}
    for name, tensor in tensors.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def generation_4(tensors):
    """The names that transformers 4 wrote."""
    return rename(
        tensors,
        (r"vit\.layers\.", "vit.encoder.layer."),
        (r"attention\.q_proj", "attention.attention.query"),
        (r"attention\.k_proj", "attention.attention.key"),
        (r"attention\.v_proj", "attention.attention.value"),
        (r"attention\.o_proj", "attention.output.dense"),
        (r"mlp\.fc1", "intermediate.dense"),
        (r"mlp\.fc2", "output.dense"),
    )


def write_hugging_face(model, folder, generation):
    if generation == "saved":
        model.save_pretrained(folder)
        return folder
    model.config.save_pretrained(folder)
    if generation == "4":
        torch.save(generation_4(model.state_dict()), folder / "pytorch_model.bin")
    else:
        save_file(model.state_dict(), folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("generation", ["saved", "4", "in memory"])
@pytest.mark.parametrize("changes", [{}, {"norm_pix_loss": True, "layer_norm_eps": 1e-2}])
def test_a_masked_autoencoder_agrees_with_transformers(tmp_path, generation, changes):
    model = hugging_face_mae(**changes)
    encoder = create_encoder(write_hugging_face(model, tmp_path, generation), device="cpu")
    assert encoder.config.patch_normalised_pixels == model.config.norm_pix_loss
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, 64, 64, generator=generator)
    noise = torch.rand(2, 64, generator=generator)
    with torch.no_grad():
        expected = model(pixel_values=images, noise=noise)
        latent = model.vit(pixel_values=images, noise=noise).last_hidden_state
    kept = noise.argsort(dim=1)[:, :16]
    patches = take_patches(encoder, images, kept)
    belief, _ = encoder.observe(patches, kept, encoder.init_state(2), 0, ("pixels", "tokens"))
    torch.testing.assert_close(belief.tokens, latent, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(belief.pixels, expected.logits, rtol=1e-5, atol=1e-5)
    targets = pixel_targets(patchify(images, 8))
    if encoder.config.patch_normalised_pixels:
        spread = (targets.var(-1, keepdim=True) + 1e-6).sqrt()
        targets = (targets - targets.mean(-1, keepdim=True)) / spread
    errors = (belief.pixels - targets).square().mean(2)
    loss = mean_over_unseen(errors, kept).mean()
    torch.testing.assert_close(loss, expected.loss, rtol=1e-5, atol=1e-5)


def test_layer_norms_keep_their_epsilon_when_saved(tmp_path):
    model = hugging_face_mae(layer_norm_eps=1e-2)
    encoder = import_encoder(write_hugging_face(model, tmp_path / "theirs", "saved"))
    loaded = load_encoder(save_encoder(encoder, tmp_path / "ours"))
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert loaded.backbone.vit.norm.eps == loaded.decoder.norm.eps == 1e-2
    expected = encoder.forward_full(images, ("pixels",)).pixels
    assert torch.equal(loaded.forward_full(images, ("pixels",)).pixels, expected)


def test_bare_names_of_transformers_are_understood():
    model = hugging_face_mae(layer_norm_eps=1e-6)
    for tensors in (model.state_dict(), generation_4(model.state_dict())):
        encoder = build_from_state_dict(tensors, image_size=(64, 64), **MAE_HEADS)
        weight = model.decoder.decoder_pred.weight
        assert torch.equal(encoder.decoder.pred.weight, weight)
    del tensors["vit.encoder.layer.1.attention.attention.key.weight"]
    with pytest.raises(CheckpointError, match=r"missing blocks\.1\.attn\.k\.weight"):
        build_from_state_dict(tensors, image_size=(64, 64), **MAE_HEADS)


def lightning_checkpoint(grid=(4, 12)):
    """What AME and TORE save: the model below `mae.`, the head beside it, all else around."""
    tensors = dict(Golden("mae").weights)
    tensors["pos_embed"] = sincos_positions(48, grid, 1)
    tensors["decoder_pos_embed"] = sincos_positions(32, grid, 1)
    head = {"head.0.weight": torch.ones(26, 48), "head.0.bias": torch.arange(26.0)}
    colours = {"imagenet_mean": torch.zeros(1, 3, 1, 1), "imagenet_std": torch.ones(1, 3, 1, 1)}
    return {
        "epoch": 99,
        "global_step": np.int64(1200),
        "pytorch-lightning_version": "1.9.4",
        "state_dict": {**wrapped(tensors, "mae."), **head, **colours},
        "callbacks": {"ModelCheckpoint": {"best_model_score": np.float64(0.75)}},
        "optimizer_states": [{"state": {}, "param_groups": []}],
        "hyper_parameters": {"args": argparse.Namespace(vit_arch="mae_vit_tiny_dec32d4h2b")},
    }


def test_checkpoints_of_ame_and_tore_bring_their_grid_and_head(tmp_path):
    path = write(tmp_path / "ame.ckpt", lightning_checkpoint())
    encoder = import_encoder(path, num_heads=3)
    assert encoder.config.image_size == (32, 96)  # read off the sine-cosine table
    assert encoder.config.decoder.num_heads == 4  # read off the name of the architecture
    belief = encoder.prior(("latent", "logits", "entropy"))
    assert belief.entropy.shape == (1, 4, 12)
    expected = belief.latent.sum() + torch.arange(26.0)
    torch.testing.assert_close(belief.logits[0], expected)
    plain = build_from_state_dict(Golden("mae").weights, image_size=(32, 96), **MAE_HEADS)
    images = torch.randn(1, 3, 32, 96, generator=torch.Generator().manual_seed(1))
    pixels = plain.forward_full(images, ("pixels",)).pixels
    torch.testing.assert_close(encoder.forward_full(images, ("pixels",)).pixels, pixels)


# Classifiers and self-supervised encoders


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"reg_tokens": 2},
        {"reg_tokens": 2, "no_embed_class": True},
        {"global_pool": "avg"},
        {"global_pool": "avg", "class_token": False, "fc_norm": False},
        {"init_values": 0.1, "no_embed_class": True},
        {"img_size": (24, 56)},
        {"img_size": (24, 56), "init_values": 0.1, "no_embed_class": True},
        {"qk_norm": True, "qkv_bias": False},
        {"pre_norm": True, "mlp_ratio": 2.7},
        {"num_classes": 0},
    ],
    ids=str,
)
def test_bare_tensors_become_timms_model(changes):
    vit = tiny_vit(**changes)
    size = vit.patch_embed.img_size
    encoder = build_from_state_dict(
        vit.state_dict(), image_size=size, trained_image_size=size, num_heads=3
    )
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        output = "logits" if vit.num_classes else "latent"
        belief = encoder.forward_full(images, (output,))
        torch.testing.assert_close(getattr(belief, output), vit(images), rtol=1e-5, atol=1e-5)


def test_a_file_of_timm_needs_no_further_word(tmp_path):
    vit = disturb(timm.create_model("deit_tiny_patch16_224", depth=2))
    save_file(vit.state_dict(), tmp_path / "deit_tiny.safetensors")
    encoder = create_encoder(tmp_path / "deit_tiny.safetensors", device="cpu")
    assert encoder.config.name == "deit_tiny"
    assert len(encoder.config.class_names) == 1000
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = encoder.forward_full(images, ("logits",)).logits
        torch.testing.assert_close(logits, vit(images), rtol=1e-5, atol=1e-5)


def test_a_folder_of_timm_says_what_tensors_do_not(tmp_path):
    vit = disturb(timm.create_model("vit_tiny_patch16_224", num_classes=3))
    timm.models.save_for_hf(vit, tmp_path, safe_serialization=True)
    encoder = create_encoder(tmp_path, image_size=(64, 32), device="cpu")
    assert encoder.config.timm_model == "vit_tiny_patch16_224"
    assert encoder.config.mean == (0.5, 0.5, 0.5)
    reference = timm.create_model("vit_tiny_patch16_224", num_classes=3, img_size=(64, 32)).eval()
    table = fit_positions(vit.pos_embed, (4, 2), 1, source_grid=(14, 14))
    reference.load_state_dict({**vit.state_dict(), "pos_embed": table})
    images = torch.randn(1, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = encoder.forward_full(images, ("logits",)).logits
        torch.testing.assert_close(logits, reference(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_deit_3_alone_and_in_parallel(tmp_path, prefix):
    golden = Golden("tore_deit_km")
    content = {"model": wrapped(golden.weights, prefix), "args": argparse.Namespace(lr=1e-3)}
    encoder = import_encoder(write(tmp_path / "deit3.pth", content), num_heads=3)
    golden.check(encoder.forward_full(golden["image"]).logits, "plain_logits")


def test_a_distilled_deit(tmp_path):
    vit = disturb(timm.create_model("deit_tiny_distilled_patch16_224", depth=1, num_classes=5))
    encoder = import_encoder(write(tmp_path / "deit.pth", {"model": vit.state_dict()}))
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = encoder.forward_full(images, ("logits",)).logits
        torch.testing.assert_close(logits, vit(images), rtol=1e-5, atol=1e-5)


def test_dino_gives_the_teacher_unless_asked_for_the_student(tmp_path):
    golden = Golden("dino")
    teacher = golden.weights
    student = {name: tensor + 0.01 for name, tensor in teacher.items()}
    content = {
        "student": wrapped(student, "module."),
        "teacher": teacher,
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_tiny", output_dir="."),
        "dino_loss": {"center": torch.zeros(1, 40)},
    }
    path = write(tmp_path / "dino.pth", content)
    encoder = import_encoder(path, num_heads=3)
    golden.check(encoder.forward_full(golden["image"], ("latent",)).latent, "cls_feat")
    other = import_encoder(path, num_heads=3, branch="student")
    table = encoder.backbone.vit.pos_embed + 0.01
    torch.testing.assert_close(other.backbone.vit.pos_embed, table)
    with pytest.raises(CheckpointError, match=r"no branch 'model'.*'teacher', 'student'"):
        import_encoder(path, num_heads=3, branch="model")


def moco_file(path, width=48):
    """What MoCo v3 saves: two encoders with projection heads, and a predictor."""
    arguments = {"num_classes": 0, "embed_dim": width, "num_heads": 12}
    encoders = [tiny_vit(**arguments), disturb(tiny_vit(**arguments), seed=1)]
    tensors = {}
    for branch, vit in zip(("base_encoder", "momentum_encoder"), encoders, strict=True):
        vit.pos_embed.data.copy_(sincos_positions(width, (4, 4), 1, row_first=True))
        tensors |= wrapped(vit.state_dict(), f"module.{branch}.")
        tensors[f"module.{branch}.head.0.weight"] = torch.ones(64, width)
        tensors[f"module.{branch}.head.1.running_mean"] = torch.ones(64)
        tensors[f"module.{branch}.head.1.num_batches_tracked"] = torch.tensor(3)
        tensors[f"module.{branch}.head.3.weight"] = torch.ones(16, 64)
    tensors["module.predictor.0.weight"] = torch.ones(64, 16)
    content = {"epoch": 300, "arch": "vit_tiny", "state_dict": tensors, "scaler": {"scale": 1.0}}
    return encoders, write(path, content)


def test_moco_v3_gives_the_base_encoder_unless_asked_for_the_other(tmp_path):
    vits, path = moco_file(tmp_path / "moco.pth.tar")
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    for vit, branch in zip(vits, (None, "momentum_encoder"), strict=True):
        encoder = import_encoder(path, num_heads=12, branch=branch)
        assert encoder.config.num_classes == 0
        with torch.no_grad():
            latent = encoder.forward_full(images, ("latent",)).latent
            torch.testing.assert_close(latent, vit(images), rtol=1e-5, atol=1e-5)


def test_moco_v3_has_twelve_heads_where_deit_has_six(tmp_path):
    _, path = moco_file(tmp_path / "moco.pth.tar", width=384)
    encoder = import_encoder(path, image_size=(32, 64))
    assert encoder.backbone.vit.blocks[0].attn.num_heads == 12
    expected = sincos_positions(384, (4, 8), 1, row_first=True)
    assert torch.equal(encoder.backbone.vit.pos_embed.data, expected)


def test_a_tensor_beside_the_state_dict_is_none_of_the_weights(tmp_path):
    """As MoCo v3's linear evaluation saves its best accuracy."""
    vit = tiny_vit(num_classes=5)
    tensors = wrapped(vit.state_dict(), "module.")
    content = {"epoch": 90, "arch": "vit_tiny", "state_dict": tensors}
    content |= {"best_acc1": torch.tensor(73.2), "optimizer": {"state": {}}}
    encoder = import_encoder(write(tmp_path / "linear.pth.tar", content), num_heads=3)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(encoder.forward_full(images).logits, vit(images))


def test_half_precision_becomes_single(tmp_path):
    tensors = {name: tensor.bfloat16() for name, tensor in Golden("tore_deit_km").weights.items()}
    encoder = import_encoder(write(tmp_path / "half.pth", tensors), num_heads=3)
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    golden = Golden("tore_deit_km")  # whose weights are all representable in bfloat16
    golden.check(encoder.forward_full(golden["image"]).logits, "plain_logits")


# Positions


def test_sine_cosine_tables_are_computed_anew_for_another_grid():
    encoder = build_from_state_dict(Golden("mae").weights, image_size=(32, 96), **MAE_HEADS)
    vit, decoder = encoder.backbone.vit, encoder.decoder
    assert torch.equal(vit.pos_embed.data, sincos_positions(48, (4, 12), 1))
    assert torch.equal(decoder.pos_embed.data, sincos_positions(32, (4, 12), 1))


@pytest.mark.parametrize("row_first", [False, True])
@pytest.mark.parametrize("grid", [(4, 4), (8, 16), (16, 8), (3, 5)])
def test_a_sine_cosine_table_tells_its_grid(grid, row_first):
    table = sincos_positions(32, grid, 1, row_first=row_first)
    layout = recognise_sincos(table, 1)
    assert (layout.grid, layout.row_first) == (grid, row_first)
    assert fit_positions(table, grid, 1) is table
    turned = fit_positions(table, grid[::-1], 1)
    assert torch.equal(turned, sincos_positions(32, grid[::-1], 1, row_first=row_first))


def test_learned_tables_are_resampled_and_keep_their_prefix_rows():
    table = torch.randn(1, 65, 16, generator=torch.Generator().manual_seed(0))
    fitted = fit_positions(table, (4, 12), 1, source_grid=(8, 8))
    assert fitted.shape == (1, 49, 16)
    assert torch.equal(fitted[:, 0], table[:, 0])
    constant = fit_positions(torch.ones(1, 65, 16), (4, 12), 1, source_grid=(8, 8))
    torch.testing.assert_close(constant, torch.ones(1, 49, 16))
    with pytest.raises(ValueError, match="for 50 patches is not for a grid of 8x8"):
        fit_positions(torch.rand(1, 51, 16), (4, 12), 1, source_grid=(8, 8))


@pytest.mark.parametrize("grid", [(8, 8), (4, 16), (16, 4), (2, 32)])
def test_a_count_of_patches_is_never_taken_for_their_grid(grid):
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    table = torch.stack([rows, columns], 2).reshape(1, 64, 2)  # every row says where it lies
    with pytest.raises(ValueError, match="does not tell its grid"):
        fit_positions(table, grid, 0)
    fitted = fit_positions(table, grid, 0, source_grid=(8, 8)).reshape(*grid, 2)
    assert bool((fitted[1:, :, 0] - fitted[:-1, :, 0] >= 0).all())
    torch.testing.assert_close(fitted[..., 0].std(1), torch.zeros(grid[0]))
    torch.testing.assert_close(fitted[..., 1].std(0), torch.zeros(grid[1]))


@pytest.mark.parametrize("prefix", [{}, {"no_embed_class": True}, {"reg_tokens": 3}], ids=str)
@pytest.mark.parametrize("size", [(16, 64), (64, 16), (32, 64)])
def test_files_of_squares_are_resampled_where_their_count_fits_another_grid(size, prefix, tmp_path):
    vit = tiny_vit(**prefix)  # 4x4 patches, as many as 2x8 and 8x2
    path = write(tmp_path / "vit.pth", vit.state_dict())
    with pytest.warns(UserWarning, match="ASSUMED.*square images"):
        encoder = import_encoder(path, image_size=size, num_heads=3)
    reference = tiny_vit(**prefix, img_size=size)
    vit.set_input_size(size)
    reference.load_state_dict(vit.state_dict())
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = encoder.forward_full(images, ("logits",)).logits
        torch.testing.assert_close(logits, reference(images), rtol=1e-5, atol=1e-5)


def test_what_was_trained_on_other_shapes_is_told_or_refused(tmp_path):
    vit = tiny_vit(img_size=(16, 64))  # 2x8 patches, which could be 4x4
    path = write(tmp_path / "vit.pth", vit.state_dict())
    encoder = import_encoder(path, trained_image_size=(16, 64), num_heads=3)
    assert encoder.config.image_size == (16, 64)
    assert "trained_image_size" not in encoder.config.assumed
    assert torch.equal(encoder.backbone.vit.pos_embed, vit.pos_embed)
    turned = import_encoder(
        path, trained_image_size=(16, 64), image_size=(64, 16), num_heads=3
    ).backbone.vit.pos_embed
    assert torch.equal(turned, encoder.resized((64, 16)).backbone.vit.pos_embed)
    odd = write(tmp_path / "odd.pth", tiny_vit(img_size=(24, 56)).state_dict())
    with pytest.raises(CheckpointError, match=r"no square grid.*--trained-size"):
        import_encoder(odd, image_size=(24, 56), num_heads=3)
    with pytest.raises(CheckpointError, match=r"not those of the 4x4 patches of 32x32 pixels"):
        import_encoder(odd, trained_image_size=(32, 32), num_heads=3)


# Refusals


class Trap:
    def __reduce__(self):
        return (open, ("trapped", "w"))


def test_a_file_that_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for old_format in (False, True):
        content = {"model": Golden("mae").weights, "args": Trap()}
        torch.save(content, "trap.pth", _use_new_zipfile_serialization=not old_format)
        with pytest.raises(
            CheckpointError, match=r"trap\.pth: refused, because it holds '_?io\.open'"
        ):
            create_encoder("trap.pth")
    assert not (tmp_path / "trapped").exists()


def test_what_is_no_file_of_weights_is_named(tmp_path):
    (tmp_path / "notes.pth").write_bytes(b"hello world" * 9)
    (tmp_path / "cut.safetensors").write_bytes(b"\x80" * 99)
    (tmp_path / "empty.pth").write_bytes(b"")
    for name in ("notes.pth", "cut.safetensors", "empty.pth"):
        with pytest.raises(CheckpointError, match=f"{re.escape(name)}: damaged"):
            import_encoder(tmp_path / name)
    with pytest.raises(CheckpointError, match="no such file"):
        import_encoder(tmp_path / "nowhere.pth")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    save_file(Golden("mae").weights, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="not that of an encoder of this package"):
        import_encoder(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("blocks.1.norm1.bias"), r"missing blocks\.1\.norm1\.bias"),
        (lambda t: t.pop("pos_embed"), "missing pos_embed"),
        (lambda t: t.update(pos_embed=torch.zeros(65)), "pos_embed has shape"),
        (lambda t: t.update(pos_embed=torch.zeros(1, 65, 48).int()), "pos_embed has dtype"),
        (lambda t: t.update(extra=torch.zeros(1)), "unexpected extra"),
        (lambda t: t.update({"head.1.weight": torch.zeros(1)}), r"unexpected head\.1\.weight"),
        (lambda t: t.update(cls_token=torch.zeros(1, 1, 8)), r"cls_token has shape \(1, 1, 8\)"),
        (lambda t: t["norm.bias"].fill_(float("inf")), r"norm\.bias holds NaN or infinity"),
        (
            lambda t: t.update({"norm.bias": torch.zeros(48, dtype=torch.int64)}),
            r"norm\.bias has dtype torch\.int64",
        ),
        (lambda t: t.update(step=3), "step is a int, expected a tensor"),
        (
            lambda t: t.update({"other.patch_embed.proj.weight": torch.zeros(1)}),
            "several Vision Transformers",
        ),
        (
            lambda t: t.update({"patch_embed.proj.weight": torch.zeros(48, 1, 8, 8)}),
            r"has shape \(48, 1, 8, 8\), expected \(width, 3, side, side\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, message):
    tensors = Golden("mae").weights
    change(tensors)
    with pytest.raises(CheckpointError, match=message):
        build_from_state_dict(tensors, image_size=(64, 64), **MAE_HEADS)


def test_heads_and_patches_are_checked():
    tensors = Golden("mae").weights
    with pytest.raises(CheckpointError, match="decoder_num_heads"):
        build_from_state_dict(tensors, image_size=(64, 64), num_heads=3)
    with pytest.raises(CheckpointError, match="patches of 8 pixels, not 16"):
        build_from_state_dict(tensors, image_size=(64, 64), num_heads=3, patch_size=16)
    with pytest.raises(CheckpointError, match="divided into 5 heads"):
        build_from_state_dict(tensors, image_size=(64, 64), num_heads=5)
    with pytest.raises(CheckpointError, match="not a multiple of patch_size 8"):
        build_from_state_dict(tensors, image_size=(60, 64), **MAE_HEADS)
    with pytest.raises(CheckpointError, match=r"no patch_embed\.proj\.weight"):
        build_from_state_dict({"fc.weight": torch.zeros(2, 2)}, image_size=(64, 64), num_heads=3)


def test_the_same_weights_hash_alike_whatever_wrapped_them(tmp_path):
    tensors = Golden("mae").weights
    files = [
        write(tmp_path / "mae.pth", {"model": tensors}),
        write(tmp_path / "lightning.ckpt", {"state_dict": wrapped(tensors, "mae.")}),
        write(tmp_path / "bare.bin", wrapped(tensors, "module.encoder.")),
    ]
    assert len({weights_hash(import_encoder(path, **MAE_HEADS)) for path in files}) == 1

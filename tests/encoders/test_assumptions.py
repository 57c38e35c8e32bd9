"""What files of weights leave open is taken from the model they are of, or said aloud."""

from __future__ import annotations

import argparse
import json
import warnings

import pytest
import timm
import torch
from golden_numbers import Golden

from encoders import create_encoder
from encoders.checkpoints.command import main
from encoders.checkpoints.importing import import_encoder
from encoders.checkpoints.weight_files import CheckpointError
from encoders.families.timm_models import describe_timm_model
from encoders.storage import load_encoder, save_encoder
from encoders.stored_config import IMAGENET_MEAN

VIT, CLIP = "vit_tiny_patch16_224", "vit_base_patch32_clip_quickgelu_224"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of models of other colours, activation or epsilon than usual, and the models."""
    folder = tmp_path_factory.mktemp("weights")
    models = {}
    for name, options in ((VIT, {}), (CLIP, {"depth": 1, "num_classes": 1000})):
        torch.manual_seed(0)
        vit = timm.create_model(name, **options).eval()
        with torch.no_grad():  # so that activation and epsilon matter
            for parameter in vit.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape))
        torch.save(vit.state_dict(), folder / f"{name}.pth")
        models[name] = vit
    return folder, models


def difference(encoder, vit):
    images = torch.randn(2, 3, 224, 224, generator=torch.manual_seed(1))
    with torch.no_grad():
        logits, expected = encoder.forward_full(images, ("logits",)).logits, vit(images)
    return float((logits - expected).norm() / expected.norm())


def test_bare_weights_say_aloud_what_is_assumed(weights, capsys):
    path = weights[0] / f"{VIT}.pth"
    words = ("mean 0.485 0.456 0.406", "std 0.229", "gelu", "1e-06", "3 attention heads", "square")
    with pytest.warns(UserWarning, match="ASSUMED") as caught:
        encoder = create_encoder(path, device="cpu")
    assert encoder.config.mean == IMAGENET_MEAN
    assert main(["inspect", str(path)]) == 0
    for text in (str(caught[0].message), capsys.readouterr().out):
        assert all(word in text for word in words), text
        assert "--timm-model" in text or "name its model" in text


def test_the_named_model_says_its_colours(weights, tmp_path, capsys):
    path, out = weights[0] / f"{VIT}.pth", tmp_path / "out"
    assert main(["convert", str(path), str(out), "--timm-model", VIT]) == 0
    printed = capsys.readouterr().out
    assert "mean 0.5 0.5 0.5, std 0.5 0.5 0.5, images scaled by bicubic" in printed
    assert "ASSUMED" not in printed
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder = create_encoder(out, device="cpu")
    config = timm.get_pretrained_cfg(VIT)
    assert (encoder.config.mean, encoder.config.std) == (config.mean, config.std)
    assert difference(encoder, weights[1][VIT]) < 1e-5


def test_the_tag_of_the_weights_counts():
    for name in (
        "vit_small_patch16_224.dino",
        "vit_small_patch16_224.augreg_in1k",
        f"{CLIP}.openai",
    ):
        known, published = describe_timm_model(name), timm.get_pretrained_cfg(name)
        assert (known.mean, known.std) == (published.mean, published.std)
        assert known.name == name
    assert (known.activation, known.norm_eps) == ("quick_gelu", 1e-5)


def test_activation_and_epsilon_are_those_of_the_file_the_model_or_the_caller(weights, tmp_path):
    folder, models = weights
    vit, tensors = models[CLIP], models[CLIP].state_dict()
    with pytest.warns(UserWarning, match="activation gelu, norm epsilon 1e-06"):
        assumed = import_encoder(folder / f"{CLIP}.pth")
    assert difference(assumed, vit) > 1e-3
    given = import_encoder(folder / f"{CLIP}.pth", activation="quick_gelu", norm_eps=1e-5)
    assert difference(given, vit) < 1e-5
    assert {"activation", "norm_eps"}.isdisjoint(given.config.assumed)
    for content in (
        {"state_dict": tensors, "arch": CLIP},  # timm's training script
        {"model": tensors, "args": argparse.Namespace(model=CLIP)},  # DeiT's
    ):
        torch.save(content, tmp_path / "said.pth")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            said = import_encoder(tmp_path / "said.pth")
        assert difference(said, vit) < 1e-5
        assert said.config.mean == timm.get_pretrained_cfg(CLIP).mean
        loaded = load_encoder(save_encoder(said, tmp_path / "ours"))
        assert loaded.config == said.config
        assert difference(loaded, vit) < 1e-5


def test_folders_of_timm_say_how_their_model_was_made(weights, tmp_path):
    vit = timm.create_model(VIT, depth=2, act_layer="quick_gelu", img_size=(64, 256)).eval()
    timm.models.save_for_hf(vit, tmp_path, safe_serialization=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder = create_encoder(tmp_path, device="cpu")
    assert encoder.config.image_size == (64, 256)  # 4x16 patches, which could be 8x8
    images = torch.randn(2, 3, 64, 256, generator=torch.manual_seed(1))
    with torch.no_grad():
        logits = encoder.forward_full(images, ("logits",)).logits
        torch.testing.assert_close(logits, vit(images), rtol=1e-5, atol=1e-5)


def test_colours_may_be_given(weights, tmp_path):
    out = tmp_path / "out"
    colours = ["--mean", "0.1", "0.2", "0.3", "--std", "0.4", "0.5", "0.6"]
    assert main(["convert", str(weights[0] / f"{VIT}.pth"), str(out), *colours]) == 0
    config = load_encoder(out).config
    assert (config.mean, config.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert {"mean", "std"}.isdisjoint(config.assumed)
    assert "activation" in config.assumed


def test_what_a_decoder_paints_is_said_or_assumed(tmp_path):
    heads = {"num_heads": 3, "decoder_num_heads": 4}
    torch.save({"model": Golden("mae").weights}, tmp_path / "mae.pth")
    with pytest.warns(UserWarning, match="ASSUMED: decoded pixels are plain colours"):
        import_encoder(tmp_path / "mae.pth", **heads)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder = import_encoder(tmp_path / "mae.pth", **heads, patch_normalised_pixels=True)
    assert encoder.config.patch_normalised_pixels


def test_nothing_given_is_ignored(weights, tmp_path):
    folder = save_encoder(create_encoder("tore-nano", device="cpu"), tmp_path / "ours")
    with pytest.raises(CheckpointError, match="which says its mean, timm_model itself"):
        import_encoder(folder, mean=(0.5, 0.5, 0.5), timm_model=VIT)
    with pytest.raises(CheckpointError, match="timm has no model 'vit_tny_patch16_224'"):
        import_encoder(weights[0] / f"{VIT}.pth", timm_model="vit_tny_patch16_224")
    with pytest.raises(CheckpointError, match="activation='gelo'; expected one of gelu"):
        import_encoder(weights[0] / f"{VIT}.pth", activation="gelo")


def test_shipped_configurations_are_written_as_before():
    config = create_encoder("tore-nano", device="cpu").config.to_dict()
    assert {"assumed", "interpolation"}.isdisjoint(json.loads(json.dumps(config)))

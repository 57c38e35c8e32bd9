"""Sizes that an environment takes from its encoder."""

from __future__ import annotations

import json

import pytest
from tiny import raises_naming

from agents.commands import train_agent
from agents.commands.encoder_sizes import with_encoder_sizes
from agents.commands.eval_options import RunOptions
from encoders.storage import save_encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    from encoders import build_encoder
    from encoders.training.config import EncoderShape

    shape = EncoderShape(patch_size=4, width=8, depth=1, num_heads=2, decoder_width=0)
    config = shape.config("small", (32, 32), ("one", "two"))
    return save_encoder(build_encoder(config), tmp_path_factory.mktemp("encoder"))


@pytest.mark.parametrize("options_of", [train_agent.Options, RunOptions])
def test_a_folder_says_both_sizes_unless_they_are_given(options_of, encoder, capsys):
    options = with_encoder_sizes(options_of(encoder=str(encoder)))
    assert (options.patch_size, options.image_size) == (4, (32, 32))
    said = capsys.readouterr().out
    assert f"patches of 4 pixels and images of 32x32 pixels, as the encoder {encoder}" in said
    alike = options_of(encoder=str(encoder), patch_size=4, image_size=(32, 32))
    assert with_encoder_sizes(alike) == alike
    assert capsys.readouterr().out == ""
    other = with_encoder_sizes(options_of(encoder=str(encoder), image_size=(64, 32)))
    assert other.image_size == (64, 32)
    said = capsys.readouterr().out
    assert "trained on images of 32x32 pixels" in said
    assert "resampled to 64x32" in said
    with raises_naming(ValueError, ["--patch-size 8", str(encoder), "patches of 4 pixels"]):
        with_encoder_sizes(options_of(encoder=str(encoder), patch_size=8))


def test_a_name_says_the_patch_size_and_leaves_images_to_the_environment():
    options = RunOptions(env="AVE-ImageNet-v0", encoder="tore-nano")
    assert with_encoder_sizes(options) == options
    options = with_encoder_sizes(RunOptions(encoder="timm/vit_tiny_patch16_224"))
    assert (options.patch_size, options.image_size) == (None, None)
    options = with_encoder_sizes(RunOptions(encoder="timm/vit_base_patch32_224.augreg_in21k"))
    assert (options.patch_size, options.image_size) == (32, None)
    for unknown in ("timm/vit_tinny", "timm/resnet18", None):
        options = RunOptions(encoder=unknown)
        assert with_encoder_sizes(options) == options  # who opens it says what is wrong


def test_a_folder_of_a_trained_agent_is_no_encoder(tmp_path):
    description = {"agent": "ppo", "environment": {"encoder": "somewhere/else"}}
    (tmp_path / "agent.json").write_text(json.dumps(description))
    with raises_naming(ValueError, [str(tmp_path), "trained agent", "encoder somewhere/else"]):
        with_encoder_sizes(RunOptions(encoder=str(tmp_path)))


def test_weights_of_other_formats_say_their_patch_size(tmp_path):
    import timm
    import torch

    vit = timm.create_model("vit_tiny_patch16_224", patch_size=8, img_size=32, num_classes=0)
    torch.save(vit.state_dict(), tmp_path / "vit.pth")
    options = with_encoder_sizes(RunOptions(encoder=str(tmp_path / "vit.pth")))
    assert options.patch_size == 8
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    options = RunOptions(encoder=str(tmp_path / "broken.pth"))
    assert with_encoder_sizes(options) == options

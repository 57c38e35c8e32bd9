"""Encoders by timm's names, where the hub answers and where it does not."""

from __future__ import annotations

import re

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file

from encoders import create_encoder
from encoders.families import timm as family

NAME = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"


@pytest.fixture
def silent_hub(tmp_path, monkeypatch):
    """A hub that does not answer, and an empty cache of it."""
    monkeypatch.setattr(family, "_hub_answers", lambda endpoint: False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    return tmp_path


def cached(hub, name, monkeypatch):
    """Random weights in the hub's cache, as if timm had published them."""
    repository = hub / f"models--timm--{name}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    torch.manual_seed(3)
    vit = timm.create_model(name.split(".")[0], pretrained=False).eval()
    save_file(vit.state_dict(), snapshot / "model.safetensors")
    load = huggingface_hub.try_to_load_from_cache
    monkeypatch.setattr(
        huggingface_hub,
        "try_to_load_from_cache",
        lambda *names: load(*names, cache_dir=hub),  # its default was read at import
    )
    return vit


def test_weights_in_the_cache_are_taken_where_the_hub_does_not_answer(silent_hub, monkeypatch):
    vit = cached(silent_hub, NAME, monkeypatch)
    encoder = create_encoder(f"timm/{NAME}", pretrained=True)
    assert encoder.config.weights == "pretrained"
    torch.testing.assert_close(encoder.backbone.vit.head.weight, vit.head.weight)
    assert not huggingface_hub.constants.HF_HUB_OFFLINE, "nothing global is changed"


def test_positions_are_resampled_where_their_count_fits_another_grid(silent_hub, monkeypatch):
    name = "vit_tiny_patch16_384.augreg_in21k_ft_in1k"  # 24x24 patches, as many as 12x48
    vit = cached(silent_hub, name, monkeypatch)
    encoder = create_encoder(f"timm/{name}", pretrained=True, image_size=(192, 768), device="cpu")
    vit.set_input_size((192, 768))
    images = torch.randn(1, 3, 192, 768, generator=torch.manual_seed(0))
    with torch.no_grad():
        logits = encoder.forward_full(images, ("logits",)).logits
        torch.testing.assert_close(logits, vit(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vit_tny_patch16_224", "did you mean 'vit_tiny_patch16_224'"),
        ("deit_smal_patch16_224", "did you mean 'deit_small_patch16_224'"),
        ("resnet50", "'resnet50' is not a plain timm VisionTransformer"),
        ("vit_tiny_patch16_224.none", "timm has no weights"),
    ],
)
def test_unknown_names_suggest_near_ones_that_work(name, words):
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        create_encoder(f"timm/{name}")
    assert "convit" not in str(error.value)
    assert "\n" not in str(error.value)


def test_weights_that_are_nowhere_are_an_error_or_said_aloud(silent_hub):
    with pytest.raises(RuntimeError, match="does not answer, and the cache has no"):
        create_encoder(f"timm/{NAME}", pretrained=True)
    with pytest.warns(UserWarning, match="RANDOM weights"):
        assert create_encoder(f"timm/{NAME}").config.weights == "random"

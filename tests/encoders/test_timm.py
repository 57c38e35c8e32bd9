"""Encoders by timm's names, where the hub answers and where it does not."""

from __future__ import annotations

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


def test_weights_in_the_cache_are_taken_where_the_hub_does_not_answer(silent_hub, monkeypatch):
    repository = silent_hub / f"models--timm--{NAME}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("a" * 40)
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    torch.manual_seed(3)
    vit = timm.create_model(NAME.split(".")[0], pretrained=False)
    save_file(vit.state_dict(), snapshot / "model.safetensors")
    load = huggingface_hub.try_to_load_from_cache
    monkeypatch.setattr(
        huggingface_hub,
        "try_to_load_from_cache",
        lambda *names: load(*names, cache_dir=silent_hub),  # its default was read at import
    )
    encoder = create_encoder(f"timm/{NAME}", pretrained=True)
    assert encoder.config.weights == "pretrained"
    torch.testing.assert_close(encoder.backbone.vit.head.weight, vit.head.weight)
    assert not huggingface_hub.constants.HF_HUB_OFFLINE, "nothing global is changed"


def test_weights_that_are_nowhere_are_an_error_or_said_aloud(silent_hub):
    with pytest.raises(RuntimeError, match="does not answer, and the cache has no"):
        create_encoder(f"timm/{NAME}", pretrained=True)
    with pytest.warns(UserWarning, match="RANDOM weights"):
        assert create_encoder(f"timm/{NAME}").config.weights == "random"

"""Devices that do not exist are refused in a sentence, before anything is begun."""

from __future__ import annotations

import sys

import pytest
import torch
from helpers import tiny_encoder

from agents.commands import train_encoder
from encoders import create_encoder
from encoders.storage import save_encoder
from encoders.support.devices import resolve_device

REFUSED = [
    ("gpu", "device='gpu'; expected auto, cpu, cuda, cuda:N or mps"),
    ("cuda:x", "device='cuda:x'; expected"),
    ("meta", "device='meta'; expected"),
    ("cuda:99", "device='cuda:99': "),
]
if not torch.cuda.is_available():
    REFUSED.append(("cuda", "PyTorch finds no CUDA GPU on this machine"))


@pytest.mark.parametrize(("device", "words"), REFUSED)
def test_devices_that_do_not_exist_are_refused(tmp_path, monkeypatch, capsys, device, words):
    with pytest.raises(ValueError, match=words):
        create_encoder("tore-nano", device=device)
    monkeypatch.setattr(
        sys, "argv", ["train_encoder.py", "--device", device, "--output", str(tmp_path / "runs")]
    )
    with pytest.raises(SystemExit) as ended:
        train_encoder.main()
    said = f"{ended.value} {capsys.readouterr().err}"
    assert f"device='{device}'" in said
    assert "auto" in said
    assert "Traceback" not in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("device", ["auto", "cpu", torch.device("cpu")])
def test_devices_that_exist_are_taken(tmp_path, device):
    folder = save_encoder(tiny_encoder(), tmp_path)
    assert create_encoder(folder, device=device).device == resolve_device(device)

"""Every file that a command writes follows the umask, and a full disk ends it in one sentence."""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from panoramas import save_panorama_encoder
from PIL import Image
from safetensors.torch import save_file
from scene_trees import make_tree
from tiny import CLASS_NAMES

from agents.commands import train_agent, train_encoder
from ave_env.scenes.pack import pack
from encoders.support.files import replacing, write_text


@pytest.fixture
def set_umask():
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def run(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [f"{module.COMMAND}.py", *map(str, arguments)])
    module.main()


def modes(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in files}


def encoder_run(folder):
    """A command line that trains on a few small images."""
    root = make_tree(folder / "data", {f"train/{name}": 12 for name in CLASS_NAMES})
    arguments = ["--env", "AVE-ImageFolder-v0", "--data-root", root, "--image-size", 32, 32]
    arguments += ["--smoke", "--patch-size", 8, "--num-workers", 0, "--no-progress"]
    return [*map(str, arguments), "--output", str(folder / "runs")]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_files_of_encoders_follow_the_umask(tmp_path, monkeypatch, set_umask, umask, mode):
    set_umask(umask)
    run(train_encoder, monkeypatch, *encoder_run(tmp_path))
    (folder,) = (tmp_path / "runs").iterdir()
    found = modes(folder)
    assert {"model.safetensors", "training_state.pt", "config.json"} <= set(found)
    assert set(found.values()) == {mode}, found


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_packs_follow_the_umask(tmp_path, set_umask, umask, mode):
    set_umask(umask)
    (tmp_path / "pack").mkdir()
    pack(make_tree(tmp_path / "data", {"train/a": 2, "val/a": 2}), tmp_path / "pack" / "scenes.h5")
    assert set(modes(tmp_path / "pack").values()) == {mode}


def test_files_of_agents_follow_the_umask(tmp_path, monkeypatch, set_umask):
    set_umask(0o027)
    encoder = save_panorama_encoder(tmp_path / "encoder")
    sizes = ["--encoder", encoder, "--image-size", 64, 128, "--num-glimpses", 4]
    arguments = ["--smoke", "--agents", "random", *sizes, "--output", tmp_path / "runs"]
    run(train_agent, monkeypatch, *arguments, "--no-progress")
    (folder,) = (tmp_path / "runs").iterdir()
    found = modes(folder)
    kinds = {Path(name).suffix for name in found}
    assert {".safetensors", ".pt", ".npz", ".png", ".gif", ".html", ".gz", ".csv"} <= kinds
    assert set(found.values()) == {0o640}, found


@pytest.fixture
def limit_files():
    """Sets a limit on the size of files, which to programs is a full disk."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_ends_a_command_in_one_sentence(tmp_path, monkeypatch, limit_files):
    arguments = encoder_run(tmp_path)
    limit_files(20_000)
    with pytest.raises(SystemExit) as ended:
        run(train_encoder, monkeypatch, *arguments)
    limit_files(-1)
    message = str(ended.value)
    assert re.search(r"/model\.safetensors: cannot be written, for the disk is full", message)
    assert "\n" not in message
    assert not list(tmp_path.rglob(".*writing*"))


def hdf5(path):
    with h5py.File(path, "w") as file:
        file["x"] = BIG.numpy()


def figure(path):
    drawn = Figure()
    drawn.figimage(NOISE)
    drawn.savefig(path, format="png")


def animation(path):
    picture = Image.fromarray(NOISE)
    picture.save(path, save_all=True, append_images=[picture])


BIG = torch.rand(100_000)
NOISE = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
WRITERS = {
    "weights.safetensors": lambda path: save_file({"x": BIG}, path),
    "state.pt": lambda path: torch.save({"x": BIG}, path),
    "scenes.h5": hdf5,
    "figure.png": figure,
    "picture.gif": animation,
    "array.npz": lambda path: np.savez(path, x=BIG.numpy()),
    "text.csv": lambda path: path.write_text("1," * 100_000),
}


@pytest.mark.parametrize("name", WRITERS)
def test_whoever_writes_a_full_disk_is_named_with_the_path(tmp_path, name, limit_files):
    path = tmp_path / name
    write_text(path, "before")
    limit_files(20_000)
    full = pytest.raises(OSError, match="cannot be written, for the disk is full")
    with full as error, replacing(path) as partial:
        WRITERS[name](partial)
    limit_files(-1)
    assert str(error.value).startswith(f"{path}: ")
    assert path.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1

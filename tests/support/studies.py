"""Studies of a small encoder on a few small images, as the command makes them."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import tiny_encoder
from scene_trees import make_tree

from agents.studies import command
from encoders.storage import save_encoder

CLASSES = ("bridge", "harbour", "meadow")
SIZE = (32, 64)
NEW = ("--width", 16, "--depth", 2, "--num-heads", 2, "--patch-size", 8, "--image-size", 32, 64)
TRAINING = ("--epochs", 1, "--epoch-size", 16, "--train-batch-size", 8, "--validation-size", 8)


@pytest.fixture
def scenes(tmp_path):
    """A folder with a training and a test split."""
    images = {f"{split}/{name}": 8 for split in ("train", "val", "test") for name in CLASSES}
    return make_tree(tmp_path / "data", images)


@pytest.fixture
def encoder(tmp_path):
    """The folder of an encoder with 4x8 patches, whose head counts as trained."""
    built = tiny_encoder(
        image_size=SIZE, num_classes=len(CLASSES), class_names=CLASSES, weights="trained"
    )
    return save_encoder(built, tmp_path / "encoder")


@pytest.fixture
def study(tmp_path, monkeypatch, scenes, encoder):
    """Runs a study; returns its folder, None where it was resumed."""

    def run(name, *arguments, encoder=encoder, data_root=scenes):
        words = [] if encoder is None else ["--encoder", encoder]
        words += ["--env", "AVE-ImageFolder-v0", "--data-root", data_root]
        words += ["--output", tmp_path / "runs", "--no-progress", "--device", "cpu"]
        if "--resume" in arguments:
            words = ["--no-progress"]
        known = set((tmp_path / "runs").glob("*"))
        typed = ["ave-study", name, *map(str, [*words, *arguments])]
        monkeypatch.setattr(sys, "argv", typed)
        command.main()
        new = set((tmp_path / "runs").glob("*")) - known
        return new.pop() if new else None

    return run


def read_table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def shorten_table(folder: Path, name: str, rows: int) -> None:
    """Leaves the first rows of a table, as a study that was stopped would."""
    path = folder / f"{name}.csv"
    lines = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[: 1 + rows]), encoding="utf-8")


def contents(folder: Path) -> dict[str, bytes]:
    """Files that say what came out, by name."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    left_out = {"times.json", "run.json", "report.html"}
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in found
        if path.name not in left_out and path.parent == folder  # not what was trained, and its logs
    }


def load_images(scene_set) -> np.ndarray:
    return np.stack([scene_set.load(index) for index in range(len(scene_set))])

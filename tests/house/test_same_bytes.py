"""The same command writes the same bytes, in whatever order Python hashes text."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from panoramas import save_panorama_encoder

ROOT = Path(__file__).parents[2]
HASH_SEEDS = ("1", "2")
KINDS = {".safetensors", ".csv", ".gz", ".json", ".npz", ".html", ".png", ".gif", ".mp4"}

# One process after the other for each hash seed; in each, the commands run one after the other. The
# encoder is trained with two threads: sums over scenes must not depend on which of them is first.
DRIVER = """
import importlib, json, sys, torch
for command in json.loads(sys.argv[1]):
    sys.argv = command
    torch.set_num_threads(2 if command[0] == "train_encoder.py" else 1)
    importlib.import_module("agents.commands." + command[0].removesuffix(".py")).main()
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Path]:
    """Two folders in which the same commands have run."""
    encoder = save_panorama_encoder(tmp_path_factory.mktemp("encoder"))
    scenes = ["--encoder", str(encoder), "--image-size", "64", "128", "--num-glimpses", "3"]
    agents = ["--agents", "random", "ame", "--no-progress"]
    train = ["train_agent.py", *scenes, *agents, "--eval-scenes", "8", "--episodes", "0"]
    tiny = {"epochs": 1, "epoch-size": 64, "batch-size": 32, "validation-size": 16}
    fine_tuning = [f"--finetuning.{name}={value}" for name, value in tiny.items()]
    commands = [
        ["train_encoder.py", "--smoke", "--no-progress", "--num-workers=0", *scenes[2:5]],
        [*train, "--policy", "ppo", "-n", "192", "--n-envs", "32", "--eval-freq", "96"],
        [*train, "--policy", "ame", *fine_tuning],
        ["eval_agent.py", *scenes, *agents, "--scenes", "8", "--seed", "0", "1", "--episodes", "1"],
    ]
    folders = []
    for seed in HASH_SEEDS:
        folder = tmp_path_factory.mktemp(f"hash-seed-{seed}")
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, json.dumps(commands)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        folders.append(folder / "runs")
    return folders


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.suffix in KINDS and path.name != "times.json"
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("encoder-AVE-Synthetic-v0-1", ["model.safetensors", "config.json", "run.json"]),
        (
            "ppo-AVE-Synthetic-v0-1",
            ["policy.safetensors", "best/policy.safetensors", "agent.json", "evaluations.npz"],
        ),
        ("ame-AVE-Synthetic-v0-1", ["model.safetensors", "history.json", "summary.json"]),
        ("eval-AVE-Synthetic-v0-1", ["per_scene.csv.gz", "per_step.csv", "report.html"]),
    ],
)
def test_two_processes_write_the_same_files(runs, name, expected):
    first, second = (hashes(folder / name) for folder in runs)
    assert {*expected, "run.json"} <= first.keys()
    assert [file for file in first | second if first.get(file) != second.get(file)] == []


def test_what_differs_between_two_runs_has_a_file_of_its_own(runs):
    for folder in runs:
        records = list(folder.glob("*/run.json"))
        assert len(records) == 4
        for record in records:
            (sitting,) = json.loads(record.with_name("times.json").read_text())
            assert sitting["command"] == json.loads(record.read_text())["command"]
            assert sitting["started"] <= sitting["finished"]

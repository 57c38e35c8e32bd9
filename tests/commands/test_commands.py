"""The training commands, run as a user runs them, on tiny encoders."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from scene_trees import make_tree
from tiny import CLASS_NAMES

import train_agent
import train_encoder
from ave_env.scenes.synthetic.panoramas import SyntheticScenes
from encoders import build_encoder
from encoders.storage import load_encoder, save_encoder, weights_hash
from encoders.training.config import EncoderShape

ROOT = Path(train_agent.__file__).parent
SHAPE = EncoderShape(width=16, depth=2, num_heads=2, decoder_width=16, decoder_num_heads=2)


@pytest.fixture
def encoder(tmp_path):
    names = SyntheticScenes("train").class_names
    config = dataclasses.replace(
        SHAPE.config("tiny", (64, 128), names), class_names=names, weights="trained"
    )
    return save_encoder(build_encoder(config), tmp_path / "encoder")


def run(module, monkeypatch, *arguments) -> None:
    monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py", *map(str, arguments)])
    module.main()


def sizes(encoder) -> list:
    return ["--encoder", encoder, "--image-size", 64, 128, "--num-glimpses", 4]


def test_ppo_trains_compares_and_resumes(tmp_path, encoder, monkeypatch, capsys):
    before = weights_hash(load_encoder(encoder))
    common = ["--output", tmp_path / "runs", "--no-progress"]
    smoke = ["--smoke", "--agents", "random", "ame"]
    run(train_agent, monkeypatch, *smoke, *sizes(encoder), *common)
    shown = capsys.readouterr().out
    (folder,) = (tmp_path / "runs").iterdir()
    for name in ("random", "ame", "ppo", "GFLOPs", str(folder)):
        assert name in shown
    expected = {
        "agent.json",
        "policy.safetensors",
        "training_state.pt",
        "run.json",
        "summary.json",
        "per_step.csv",
        "per_scene.csv.gz",
        "curves.png",
        "gaze",
        "report.html",
        "evaluations.npz",
        "best",
    }
    assert expected <= {path.name for path in folder.iterdir()}
    assert list(folder.rglob("*.gif"))
    record = json.loads((folder / "run.json").read_text())
    assert record["configuration"]["policy"] == "ppo"
    assert json.loads((folder / "agent.json").read_text())["encoder_hash"] == before
    assert weights_hash(load_encoder(encoder)) == before

    run(train_agent, monkeypatch, "--resume", folder, "-n", 640)
    assert json.loads((folder / "agent.json").read_text())["timesteps"] == 640


def test_a_policy_without_parameters_fine_tunes_the_encoder(tmp_path, encoder, monkeypatch, capsys):
    arguments = ["--policy", "ame", "--smoke", "--agents", "random", "--no-progress"]
    run(train_agent, monkeypatch, *arguments, *sizes(encoder), "--output", tmp_path / "runs")
    (folder,) = (tmp_path / "runs").iterdir()
    tuned = load_encoder(folder)
    assert tuned.config.name == "tiny-ame"
    assert weights_hash(tuned) != weights_hash(load_encoder(encoder))
    assert "tiny-ame" in capsys.readouterr().out


def test_an_encoder_trains_on_any_folder_and_resumes(tmp_path, monkeypatch, capsys):
    root = make_tree(tmp_path / "data", {f"train/{name}": 12 for name in CLASS_NAMES})
    arguments = ["--env", "AVE-ImageFolder-v0", "--data-root", root, "--image-size", 32, 32]
    arguments += ["--smoke", "--patch-size", 8, "--num-workers", 0, "--no-progress"]
    run(train_encoder, monkeypatch, *arguments, "--output", tmp_path / "runs")
    (folder,) = (tmp_path / "runs").iterdir()
    encoder = load_encoder(folder)
    assert encoder.config.class_names == tuple(sorted(CLASS_NAMES))
    assert encoder.grid == (4, 4)
    assert "accuracy_full" in capsys.readouterr().out
    run(train_encoder, monkeypatch, "--resume", folder)
    assert weights_hash(load_encoder(folder)) == weights_hash(encoder)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train_agent.py", "--data-root", "/nowhere"], ["train_agent.py: error:", "/nowhere"]),
        (["train_agent.py", "--encoder", "tore-nan"], ["no encoder 'tore-nan'"]),
        (["train_agent.py", "--env", "AVE-Sun-v0"], ["AVE-Sun"]),
        (["train_agent.py", "--resume", "/nowhere"], ["/nowhere", "not a run folder"]),
        (["train_encoder.py", "--env", "CartPole-v1"], ["CartPole-v1", "AVE-Synthetic-v0"]),
        (["train_agent.py", "--split-block", "9", "--smoke"], ["split_block 9", "[0, 6]"]),
        (["train_agent.py", "--ppo.gamma", "2"], ["gamma=2.0; expected 0 to 1"]),
        (["train_agent.py", "--eval-freq", "0"], ["eval_freq=0; expected at least 1"]),
        (["train_encoder.py", "--epoch", "3"], ["--epochs"]),
        (["train_encoder.py", "--env", "AVE-Sun-v0"], ["train_encoder.py: error:", "AVE-Sun"]),
        (["train_encoder.py", "--batch-size", "0"], ["batch_size=0; expected at least 1"]),
        (["train_encoder.py", "--num-heads", "3"], ["width=128", "num_heads=3"]),
        (["train_encoder.py", "--smoke", "--glimpse-size", "9"], ["glimpse_size=9", "8x16"]),
    ],
)
def test_a_mistake_is_one_line_that_names_it(arguments, words, tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / arguments[0]), *arguments[1:]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stdout + done.stderr
    assert not list(tmp_path.glob("runs/*/run.json"))  # what never began leaves no run behind


def test_help_does_not_wait_for_torch():
    for command in ("train_agent", "train_encoder", "eval_agent"):
        code = (
            f"import sys; sys.argv = ['{command}.py', '--help']\n"
            f"import {command}\n"
            "try:\n"
            f"    {command}.main()\n"
            "except SystemExit: pass\n"
            "assert 'torch' not in sys.modules and 'cv2' not in sys.modules"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "--output" in done.stdout

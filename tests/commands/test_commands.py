"""The training commands, run as a user runs them, on tiny encoders."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from panoramas import save_panorama_encoder
from scene_trees import make_tree
from tiny import CLASS_NAMES

from agents.commands import eval_agent, train_agent, train_encoder
from agents.commands.errors import called_as, one_line_errors
from encoders.storage import load_encoder, weights_hash

ROOT = Path(__file__).parents[2]


@pytest.fixture
def encoder(tmp_path):
    return save_panorama_encoder(tmp_path / "encoder")


def run(module, monkeypatch, *arguments) -> None:
    monkeypatch.setattr(sys, "argv", [f"{module.COMMAND}.py", *map(str, arguments)])
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
    assert record["made_by"] == "train_agent"
    assert json.loads((folder / "agent.json").read_text())["encoder_hash"] == before
    assert weights_hash(load_encoder(encoder)) == before

    run(train_agent, monkeypatch, "--resume", folder, "-n", 640)
    assert json.loads((folder / "agent.json").read_text())["timesteps"] == 640
    assert json.loads((folder / "run.json").read_text()) == record
    first, second = json.loads((folder / "times.json").read_text())
    assert first["command"] == record["command"]
    assert second["command"].endswith(f"--resume {folder} -n 640")
    assert first["started"] <= first["finished"] <= second["started"] <= second["finished"]
    assert 0 < second["seconds"] < 100


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
    shown = capsys.readouterr().out
    assert "accuracy %, full" in shown
    assert max(map(len, shown.replace(str(folder), "RUN").splitlines())) <= 100
    assert encoder.config.name == folder.name
    run(train_encoder, monkeypatch, "--resume", folder, "--device", "cpu", "--progress")
    assert weights_hash(load_encoder(folder)) == weights_hash(encoder)
    with pytest.raises(SystemExit) as stop:
        run(train_encoder, monkeypatch, "--resume", folder, "--epochs", 9, "--image-size", 64, 64)
    for change in ("training.epochs: was 2, now 9", "image_size: was (32, 32), now (64, 64)"):
        assert change in str(stop.value)
    assert "batch_size" not in str(stop.value)
    with pytest.raises(SystemExit, match=r"made by train_encoder\.py .*, and train_agent\.py"):
        run(train_agent, monkeypatch, "--resume", folder)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train_agent.py", "--data-root", "/nowhere"], ["train_agent.py: error:", "/nowhere"]),
        (["train_agent.py", "--encoder", "tore-nan"], ["no encoder 'tore-nan'"]),
        (["train_agent.py", "--env", "AVE-Sun-v0"], ["AVE-Sun"]),
        (["train_agent.py", "--policy", "chekerboard"], ["did you mean 'checkerboard'", "ppo"]),
        (["train_agent.py", "--policy", "oracle"], ["policy='oracle' is told the answer"]),
        (["train_agent.py", "--policy", "nowhere:It"], ["'nowhere:It'", "package.module:name"]),
        (["train_agent.py", "--agents", "random", "amme"], ["no agent 'amme'", "did you mean"]),
        (["train_agent.py", "--task", "reconstructio"], ["did you mean", "'reconstruction'"]),
        (["train_agent.py", "--sensor", "gird"], ["sensor='gird'", "did you mean 'grid'"]),
        (["train_agent.py", "--sensor-options", "scale"], ["'scale'; expected key=value"]),
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
    assert not list(tmp_path.glob("runs/*"))  # what never began leaves no run behind


def test_a_part_of_ones_own_is_found_in_the_current_folder(tmp_path, encoder, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text(
        "from agents.policies.fixed import RasterAgent\n\n\n"
        "class Mine(RasterAgent):\n    name = 'mine'\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    run(
        *(eval_agent, monkeypatch, "--agents", "mine:Mine", "raster", "--smoke", "--episodes", 0),
        *("--no-progress", *sizes(encoder)),
    )
    (table,) = tmp_path.glob("runs/*/summary.json")
    agents = json.loads(table.read_text())["agents"]
    assert agents["mine"]["source"] == "mine:Mine"
    assert agents["mine"]["final"] == agents["raster"]["final"]


@pytest.mark.parametrize(
    ("called", "shown"),
    [("train_agent.py", "python train_agent.py"), ("bin/ave-train", "ave-train")],
)
def test_a_command_speaks_of_itself_as_it_was_called(called, shown, monkeypatch):
    monkeypatch.setattr(sys, "argv", [called, "--resume", "/nowhere"])
    assert called_as() == shown
    with pytest.raises(SystemExit) as stop:
        train_agent.main()
    assert str(stop.value).startswith(f"{Path(called).name}: error: /nowhere: no run.json")


def test_a_warning_is_one_sentence_without_source(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bin/ave-eval"])
    warned = UserWarning("look here."), UserWarning, "file.py", 3
    before = warnings.formatwarning(*warned)
    with one_line_errors():
        assert warnings.formatwarning(*warned) == "ave-eval: warning: look here.\n"
    assert warnings.formatwarning(*warned) == before


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

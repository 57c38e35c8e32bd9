"""Training as a process: stopped, killed, continued, tracked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from panoramas import save_panorama_encoder
from safetensors.numpy import load_file

from agents.commands import train_agent
from agents.learning.history import VALIDATIONS_FILE

ROOT = Path(__file__).parents[2]
STEPS = 20 * 128  # a rollout is 32 rows of 4 glimpses


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return save_panorama_encoder(tmp_path_factory.mktemp("encoder"))


def command(encoder, output, *arguments) -> list[str]:
    settings = ["--encoder", encoder, "--image-size", 64, 128, "--num-glimpses", 4, "--n-envs", 32]
    settings += ["--eval-freq", 128, "--eval-scenes", 16, "--agents", "random", "--episodes", 0]
    settings += ["--no-progress", "--output", output]
    return [str(part) for part in ["train_agent.py", *settings, *arguments]]


def run(monkeypatch, arguments) -> None:
    monkeypatch.setattr(sys, "argv", arguments)
    train_agent.main()


def stop_after_validation(arguments, output: Path, kind: signal.Signals, known: int):
    """Starts a process, and signals it once it has validated more often than is known."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and validations(output) <= known:
        time.sleep(0.005)
    process.send_signal(kind)
    shown, errors = process.communicate(timeout=100)
    return process.returncode, shown, errors


def validations(output: Path) -> int:
    for path in output.glob(f"*/{VALIDATIONS_FILE}"):
        with np.load(path) as saved:
            return len(saved["timesteps"])
    return 0


def test_stopped_killed_and_resumed_a_run_ends_as_one_that_was_left_alone(
    tmp_path, encoder, monkeypatch
):
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    arguments = command(encoder, stopped, "-n", STEPS)
    code, shown, errors = stop_after_validation(arguments, stopped, signal.SIGINT, 0)
    assert code == 0, errors
    (folder,) = stopped.iterdir()
    assert f"continue with: python train_agent.py --resume {folder}" in shown
    reached = json.loads((folder / "agent.json").read_text())["timesteps"]
    assert 0 < reached < STEPS

    resume = ["train_agent.py", "--resume", str(folder)]
    known = validations(stopped)
    code, _, errors = stop_after_validation(resume, stopped, signal.SIGKILL, known)
    assert code == -signal.SIGKILL, errors
    assert known < validations(stopped) < STEPS // 128

    run(monkeypatch, resume)
    run(monkeypatch, command(encoder, whole, "-n", STEPS))
    (reference,) = whole.iterdir()
    for name in ("policy.safetensors", "best/policy.safetensors"):
        expected, found = load_file(reference / name), load_file(folder / name)
        for key, value in expected.items():
            np.testing.assert_array_equal(value, found[key], err_msg=f"{name}: {key}")
    with np.load(reference / VALIDATIONS_FILE) as one, np.load(folder / VALIDATIONS_FILE) as other:
        for key in one.files:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)
        assert one["results"].shape == (STEPS // 128, 16)


def test_a_run_killed_before_its_first_rollout_begins_again(tmp_path, encoder, monkeypatch):
    run(monkeypatch, command(encoder, tmp_path, "-n", 128))
    (folder,) = tmp_path.iterdir()
    for name in ("training_state.pt", "agent.json", "policy.safetensors", VALIDATIONS_FILE):
        (folder / name).unlink()
    run(monkeypatch, ["train_agent.py", "--resume", str(folder)])
    assert json.loads((folder / "agent.json").read_text())["timesteps"] == 128


def test_a_tracked_run_is_kept_offline(tmp_path, encoder):
    done = subprocess.run(
        [sys.executable, *command(encoder, tmp_path, "-n", 128, "--track")],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline", "WANDB_SILENT": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.iterdir()
    (record,) = folder.glob("wandb/offline-run-*/*.wandb")
    logged = record.read_bytes()
    for name in (b"exploration/coverage", b"validation/score", folder.name.encode()):
        assert name in logged

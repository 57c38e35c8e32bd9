"""Environments with an encoder work in every kind of process, with threads as users have them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from panoramas import save_panorama_encoder

SCRIPT = Path(__file__).parents[1] / "support" / "worker_processes.py"
ROOT = SCRIPT.parents[2]
SECONDS = 240  # whoever hangs does so for ever


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return save_panorama_encoder(tmp_path_factory.mktemp("encoder"), width=64)


@pytest.mark.parametrize(
    "scenario", ["asynchronous", "forked", "forked_before_the_import", "started_afresh"]
)
def test_workers_come_back(scenario, encoder, tmp_path):
    """In a process of its own, which is killed with all its children when it hangs."""
    environment = {name: value for name, value in os.environ.items() if "THREADS" not in name}
    process = subprocess.Popen(
        [sys.executable, SCRIPT, scenario, encoder],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"{scenario}: still running after {SECONDS} s\n{process.communicate()[0]}")
    assert process.returncode == 0, output

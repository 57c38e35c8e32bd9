"""What `pip install .` brings is whole: commands, weights, templates, examples."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("encoders", "ave_env", "agents")
PLUGINS = Path("share", "active-visual-exploration", "plugins")


def run(command: list[str | Path], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy of the sources, in which no earlier build has left anything."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in (*PACKAGES, "docs"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", out, source]
    run([sys.executable, "-m", "pip", *build], out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory) -> Path:
    """A folder into which the wheel is installed, without the packages it depends on."""
    folder = tmp_path_factory.mktemp("site")
    install = ["install", "--quiet", "--no-deps", "--no-index", "--target", folder, wheel]
    run([sys.executable, "-m", "pip", *install], folder)
    return folder


@pytest.fixture
def ave(site, tmp_path):
    """Runs a console script in an empty folder, with nothing of this checkout on the path."""

    def call(script: str, *arguments: str) -> str:
        return run([site / "bin" / script, *arguments], tmp_path, PYTHONPATH=str(site))

    return call


def test_the_wheel_holds_every_file_of_the_packages(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    files = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files - names == set()
    for name in (
        "agents/reports/report.html",
        "agents/defaults/AVE-Synthetic-v0.yml",
        "agents/pretrained/ppo/policy.safetensors",
        "encoders/pretrained/tore-nano/model.safetensors",
        "ave_env/py.typed",
        "encoders/__init__.pyi",
    ):
        assert name in names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
        *PACKAGES,
        f"{wheel.name.split('-py3')[0]}.data",
    }


def test_the_example_plugins_come_along_and_can_be_used(site):
    shipped = {path.name for path in (site / PLUGINS).iterdir() if path.is_file()}
    examples = {path.name for path in (ROOT / "docs/examples/plugins").glob("*.py")}
    assert shipped == examples
    assert examples
    code = "from agents.registry import agent_class; print(agent_class('farthest:FarthestAgent'))"
    shown = run([sys.executable, "-c", code], site / PLUGINS, PYTHONPATH=str(site))
    assert "farthest.FarthestAgent" in shown


def test_it_is_the_installed_package_that_runs(site, tmp_path):
    code = (
        f"import {', '.join(PACKAGES)}\nfor each in ({', '.join(PACKAGES)}): print(each.__file__)"
    )
    shown = run([sys.executable, "-c", code], tmp_path, PYTHONPATH=str(site))
    assert shown.split() == [str(site / package / "__init__.py") for package in PACKAGES]


def test_evaluation_in_an_empty_folder_finds_shipped_encoder_and_agent(ave, tmp_path):
    shown = ave("ave-eval", "--agents", "random", "ppo", "--smoke", "--no-progress")
    (folder,) = (tmp_path / "runs").iterdir()
    assert json.loads((folder / "summary.json").read_text())["agents"].keys() == {"random", "ppo"}
    assert (folder / "report.html").stat().st_size > 10_000
    assert str(folder.relative_to(tmp_path)) in shown


def test_training_in_an_empty_folder(ave, tmp_path):
    ave("ave-train", "--policy", "ppo", "--smoke", "--no-progress", "--agents", "random")
    (folder,) = (tmp_path / "runs").iterdir()
    record = json.loads((folder / "run.json").read_text())
    assert record["git_commit"] is None  # an installed package is no checkout
    assert record["configuration"]["encoder"] == "tore-nano"
    assert json.loads((folder / "agent.json").read_text())["timesteps"] == 512


@pytest.mark.parametrize(
    "script", ["ave-train", "ave-eval", "ave-train-encoder", "ave-pack", "ave-check"]
)
def test_every_console_script_explains_itself(script, ave):
    assert f"usage: {script}" in ave(script, "--help")

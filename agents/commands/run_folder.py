"""Run folders: made once, never overwritten, with all it takes to repeat the run."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RUN_FILE = "run.json"
_PACKAGES = (
    "active-visual-exploration",
    "gymnasium",
    "numpy",
    "stable-baselines3",
    "timm",
    "torch",
)


def create_run_folder(root: str | os.PathLike[str], name: str) -> Path:
    """Makes `root/name-1`, or the next number that is free.

    Args:
        root: Folder of runs; made if missing.
        name: Stem of the folder's name.
    """
    base = Path(root)
    base.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = base / f"{name}-{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def discard_unused(folder: Path) -> None:
    """Removes a run folder that holds nothing but its record: a run that never began."""
    if [entry.name for entry in folder.iterdir()] == [RUN_FILE]:
        (folder / RUN_FILE).unlink()
        folder.rmdir()


def describe_run(configuration: Any, **extra: Any) -> dict[str, Any]:
    """The record of a run: configuration, command, versions, commit, machine and date.

    Args:
        configuration: A dataclass instance with the resolved options.
        **extra: Further JSON-able entries, e.g. the hash of an encoder.
    """
    return {
        "command": shlex.join([Path(sys.executable).name, *sys.argv]),
        "configuration": dataclasses.asdict(configuration),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "git_commit": _git_commit(),
        "machine": {
            "cpus": os.cpu_count(),
            "platform": platform.platform(),
            "processor": _processor(),
            "python": platform.python_version(),
        },
        "versions": {name: _version(name) for name in _PACKAGES},
        **extra,
    }


def write_json(path: Path, value: Any) -> None:
    """Writes JSON so that the file appears whole or not at all."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, default=str) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text file so that it appears whole or not at all."""
    partial = path.with_name(f".{path.name}.writing")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The commit of this checkout, with a mark when files differ from it; None outside git."""
    folder = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor()

"""What it takes to repeat a run: its options, command, versions, commit and machine."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
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


def describe_run(configuration: Any, **extra: Any) -> dict[str, Any]:
    """The record of a run: the same each time that a command is run in one place.

    Args:
        configuration: A dataclass instance with the resolved options.
        **extra: Further JSON-able entries, e.g. the hash of an encoder.
    """
    import torch

    return {
        "command": command_line(),
        "configuration": dataclasses.asdict(configuration),
        "git_commit": _git_commit(),
        "machine": {
            "cpus": os.cpu_count(),
            "platform": platform.platform(),
            "processor": _processor(),
            "python": platform.python_version(),
            "threads": torch.get_num_threads(),
        },
        "versions": {name: _version(name) for name in _PACKAGES},
        **extra,
    }


def command_line() -> str:
    """The command that is running, as one would type it."""
    module = run_as_module()
    typed = sys.argv if module is None else ["-m", module, *sys.argv[1:]]
    return shlex.join([Path(sys.executable).name, *typed])


def run_as_module() -> str | None:
    """The package that runs as `python -m PACKAGE`; None for a script."""
    name = getattr(getattr(sys.modules.get("__main__"), "__spec__", None), "name", "")
    if Path(sys.argv[0]).name != "__main__.py" or not name.endswith(".__main__"):
        return None
    return name.removesuffix(".__main__")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The commit of this checkout, with a mark when files differ from it; None outside of one."""
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name)  # not a repository around a venv
        return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return done.stdout.strip()


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor()

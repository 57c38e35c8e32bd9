"""Run folders: made once, never overwritten, with all it takes to repeat the run."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agents.reports.provenance import RUN_FILE, command_line
from encoders.support.files import write_json

TIMES_FILE = "times.json"


def label_of(env_id: str, data_root: str | os.PathLike[str] | None) -> str:
    """What run folders call an environment: its id, and which scenes stand in for missing ones.

    Raises:
        gymnasium.error.Error: An unknown id.
    """
    import gymnasium as gym

    from ave_env.scenes.sources import stands_in

    substitute = stands_in(str(gym.spec(env_id).kwargs.get("scenes")), data_root)
    return f"{env_id}-{substitute}" if substitute else env_id


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


@contextlib.contextmanager
def discarded_if_unused(folder: Path, *, resumed: bool) -> Iterator[None]:
    """Removes the folder of a run that fails before it begins, when it holds but a record.

    Args:
        folder: The run folder.
        resumed: Whether it is a run from before, which stays whatever happens.
    """
    try:
        yield
    except BaseException:
        if not resumed:
            _discard_unused(folder)
        raise


def is_unused(folder: Path) -> bool:
    """Whether a run folder holds but the record of a run, and nothing that came out of it."""
    return {entry.name for entry in folder.iterdir()} <= {RUN_FILE, TIMES_FILE}


def _discard_unused(folder: Path) -> None:
    if is_unused(folder):
        for name in (RUN_FILE, TIMES_FILE):
            (folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another process of this run was quicker
            folder.rmdir()


@contextlib.contextmanager
def noting_times(folder: Path, since: float | None = None) -> Iterator[dict[str, Any]]:
    """Notes when a command worked in a run folder, and how long.

    The file `times.json` has an entry for the command that made the run and one for each that
    continued it; `finished` is null where it was killed. All other files of a run are the same when
    the same command is run again.

    Args:
        folder: The run folder.
        since: When the command began, in seconds since 1970; None = now.

    Yields:
        Where to put what shall be noted beside, e.g. `complete`.
    """
    path = folder / TIMES_FILE
    entries = _times(folder)
    noted: dict[str, Any] = {}
    began = time.time() if since is None else since
    begun = {"command": command_line(), "started": _date(began)}
    write_json(path, [*entries, {**begun, "finished": None, "seconds": None}])
    try:
        yield noted
    finally:
        now = time.time()
        ended = {"finished": _date(now), "seconds": round(now - began, 1), **noted}
        write_json(path, [*entries, {**begun, **ended}])


def is_complete(folder: Path) -> bool:
    """Whether the last command that worked in a run folder did all that it was to do."""
    entries = _times(folder)
    if not entries or entries[-1]["finished"] is None:
        return False
    # Runs were not always noted as complete; they were compared last.
    return bool(entries[-1].get("complete", (folder / "summary.json").is_file()))


def _times(folder: Path) -> list[dict[str, Any]]:
    path = folder / TIMES_FILE
    return json.loads(path.read_text("utf-8")) if path.is_file() else []


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))

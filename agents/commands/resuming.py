"""Runs that are continued with the options they were begun with."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from agents.commands.yaml_options import with_values
from agents.reports.provenance import RUN_FILE

Options = TypeVar("Options")

# Scripts of the commands, and what they are called where the package is installed.
_CONSOLE_SCRIPTS = {
    "train_agent": "ave-train",
    "train_encoder": "ave-train-encoder",
    "eval_agent": "ave-eval",
}


def given_options(
    arguments: list[str], *names: str, flags: Collection[str] = ()
) -> argparse.Namespace | None:
    """What a command line says about some options on which the defaults of the others depend.

    Args:
        arguments: The command line without the program.
        *names: Options with one value, without dashes before them.
        flags: Options without a value, such as `--smoke` and `--no-smoke`.

    Returns:
        Each as text (a flag as a bool), None where it is not given; None instead where one has no
        value, of which the real parser says what is wrong.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in names:
        parser.add_argument(*{f"--{name}", f"--{name.replace('-', '_')}"})
    for name in flags:
        parser.add_argument(f"--{name}", action=argparse.BooleanOptionalAction)
    try:
        return parser.parse_known_args(arguments)[0]
    except argparse.ArgumentError:
        return None


def saved_options(folder: Path, defaults: Options, command: str) -> Options:
    """The options of a run that a command is to continue.

    Args:
        folder: The run folder.
        defaults: What options are that the record does not hold.
        command: Name of the command's module.

    Raises:
        ValueError: Not a run folder, or one that another command made: what it is, and what can be
            done with it.
    """
    maker, saved = read_record(folder)
    if maker != command:
        raise ValueError(
            f"{folder}: made by {_script(maker)}, and {_script(command)} cannot continue it; "
            f"{_advice(maker, folder)}"
        )
    try:
        return with_values(defaults, saved | {"resume": folder}, str(folder / RUN_FILE))
    except ValueError as error:
        raise ValueError(
            f"{error}; a run is resumed by the release that began it, and this one has other "
            "options: start a new run"
        ) from error


def read_record(folder: Path) -> tuple[str, dict[str, Any]]:
    """The command that made a run folder, and the options it had.

    Raises:
        ValueError: Not a run folder: what it is.
    """
    path = folder / RUN_FILE
    if not path.is_file():
        raise ValueError(f"{folder}: no {RUN_FILE}, not a run folder{_what_else(folder)}")
    try:
        record = json.loads(path.read_text("utf-8"))
        saved = dict(record["configuration"])
        return record.get("made_by") or _maker_by(saved), saved
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise ValueError(f"{path}: not the record of a run: {error!r}") from error


def refuse_changes(options: Any, saved: Any, may_change: Collection[str]) -> None:
    """Makes sure that a run is continued as it was begun.

    Args:
        options: What the command line asks for, with `resume`.
        saved: What the run was begun with.
        may_change: Options that need not stay as they were; those of a part as `part.option`.

    Raises:
        ValueError: Other options differ.
    """
    changed = [
        f"{name}: was {before}, now {now}"
        for name, before, now in _differences(saved, options)
        if name not in may_change
    ]
    if changed:
        raise ValueError(
            f"{options.resume}: a run is resumed with its own options ({'; '.join(changed)}); "
            "leave these out, or start a new run"
        )


def _differences(before: Any, now: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    for field in dataclasses.fields(before):
        name = prefix + field.name
        old, new = getattr(before, field.name), getattr(now, field.name)
        if dataclasses.is_dataclass(old):
            yield from _differences(old, new, f"{name}.")
        elif old != new:
            yield name, old, new


def _maker_by(configuration: Mapping[str, Any]) -> str:
    """The command whose options these are, of records that do not name it."""
    marks = {
        "train_encoder": {"shape", "training"},
        "train_agent": {"policy", "ppo"},
        "eval_agent": {"split", "scenes"},
    }
    for command, options in marks.items():
        if options <= configuration.keys():
            return command
    return "evaluate_agents" if "resamples" in configuration else "an unknown command"


def _advice(maker: str, folder: Path) -> str:
    """What can be done with a run that this command did not begin."""
    is_sweep = any((inner / RUN_FILE).is_file() for inner in folder.iterdir())
    if maker in ("train_agent", "train_encoder") or (maker == "eval_agent" and is_sweep):
        return f"continue it with: python {maker}.py --resume {folder}"
    if maker in ("eval_agent", "evaluate_agents"):
        return "it is a comparison of agents, which has nothing to continue: run eval_agent.py anew"
    return "it can be resumed by that command alone"


def _what_else(folder: Path) -> str:
    """What a path is that is no run folder, and what can be done with it."""
    if not folder.exists():
        return ": there is no such folder"
    if not folder.is_dir():
        return ": it is a file"
    names = {entry.name for entry in folder.iterdir()}
    inside = folder.absolute().parent
    if "agent.json" in names:
        found = f": it holds a trained agent; begin a new run with --init-from {folder}"
    elif {"config.json", "model.safetensors"} <= names:
        found = f": it holds an encoder; begin a new run with --encoder {folder}"
    elif runs := sorted(name for name in names if (folder / name / RUN_FILE).is_file()):
        newest = max(runs, key=lambda name: (folder / name / RUN_FILE).stat().st_mtime)
        return f": it holds {len(runs)} of them; name one, e.g. {folder / newest}"
    else:
        return "; expected a folder that train_agent.py or train_encoder.py made"
    if (inside / RUN_FILE).is_file():
        found += f", or resume the run it is part of: {inside}"
    return found


def _script(command: str) -> str:
    return f"{command}.py ({_CONSOLE_SCRIPTS[command]})" if command in _CONSOLE_SCRIPTS else command

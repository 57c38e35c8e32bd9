"""Compares glimpse policies in the same scenes, one table, one picture: `ave-eval`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from agents.commands import run_folder, sweep
from agents.commands.errors import called_as, one_line_errors, program_name
from agents.commands.eval_options import COMMAND, Options, RunOptions, defaults_of
from agents.commands.options import import_from_current_folder
from agents.commands.resuming import refuse_changes
from agents.reports.provenance import RUN_FILE, describe_run
from encoders.registry import check_encoder_name
from encoders.support.files import write_json
from encoders.support.threads import set_threads

if TYPE_CHECKING:
    from agents.evaluation.comparison import Comparison, PreparedComparison
    from ave_env.parts import Parts

# What parts of the program call otherwise than the options they come from.
_AS_TYPED = {
    "num_scenes": "--scenes",
    "num_envs": "--num-envs",
    "seeds": "--seed",
    "stop_confidence": "--stop-confidence",
    "episodes": "--episodes",
    "data_root": "--data-root",
}
_MAY_CHANGE_WHEN_RESUMED = {"resume", "device", "threads", "cache_bytes", "progress"}


def main() -> None:
    """Parses the command line and compares."""
    import_from_current_folder()
    with one_line_errors(_AS_TYPED):
        defaults = defaults_of(sys.argv[1:])
        options = tyro.cli(Options, default=defaults, prog=program_name())
        if options.resume is not None:
            refuse_changes(options, defaults, _MAY_CHANGE_WHEN_RESUMED)
        for encoder in options.encoder or ():
            check_encoder_name(encoder)
        set_threads(options.threads)
        if options.is_sweep:
            compare_all(options)
        else:
            ((_, run),) = options.runs()
            compare(run.completed())


def compare(options: RunOptions) -> Path:
    """Walks, writes the run folder, prints the table; returns the folder."""
    began = time.time()
    from agents.reports.tables import print_comparison

    options.output.mkdir(parents=True, exist_ok=True)  # should that fail, then before the walk
    comparison = _prepare(options).run()
    assert options.env is not None  # completed()
    label = run_folder.label_of(options.env, options.data_root)
    folder = run_folder.create_run_folder(options.output, f"eval-{label}")
    _write(comparison, options, folder, began)
    print_comparison(comparison)
    print(f"run folder: {folder}")
    return folder


def compare_all(options: Options) -> Path:
    """Makes all comparisons of a sweep, and puts them into one table; returns its folder.

    What was finished before is left as it is.
    """
    runs = [(name, run.completed()) for name, run in options.runs()]
    _check(runs)
    folder = options.resume or run_folder.create_run_folder(options.output, "sweep")
    if options.resume is None:
        write_json(folder / RUN_FILE, describe_run(options, made_by=COMMAND))
    print(f"sweep folder: {folder}", flush=True)
    shared: dict[tuple[str | None, str | None], Parts] = {}
    try:
        for number, (name, run) in enumerate(runs, start=1):
            if run_folder.is_complete(folder / name):
                continue
            sweep.discard_gathered(folder)
            print(f"{number} of {len(runs)}: {name}", flush=True)
            began = time.time()
            key = run.env, run.encoder
            prepared = _prepare(run, shared.get(key))
            shared = {key: prepared.parts}  # those of others make room
            (folder / name).mkdir(exist_ok=True)
            _write(prepared.run(), run, folder / name, began)
    except KeyboardInterrupt:
        sys.exit(f"interrupted; continue with: {called_as()} --resume {folder}")
    sweep.gather(folder, [folder / name for name, _ in runs])
    print(f"sweep folder: {folder}")
    return folder


def _check(runs: list[tuple[str, RunOptions]]) -> None:
    """Prepares all comparisons of a sweep, so that every mistake shows before the first is made."""
    shared: dict[tuple[str | None, str | None], Parts] = {}
    for _, run in runs:
        key = run.env, run.encoder
        shared = {key: _prepare(run, shared.get(key)).parts}


def _prepare(options: RunOptions, parts: Parts | None = None) -> PreparedComparison:
    from agents.evaluation.comparison import prepare_comparison

    assert options.env is not None  # completed()
    return prepare_comparison(
        options.agents, options.env, options.settings(), options.config(), parts=parts
    )


def _write(comparison: Comparison, options: RunOptions, folder: Path, began: float) -> None:
    from agents.reports.files import write_results

    with run_folder.noting_times(folder, began) as noted:
        noted["complete"] = False
        write_json(folder / RUN_FILE, describe_run(options, made_by=COMMAND))
        write_results(comparison, folder, animations=options.episodes is not None)
        noted["complete"] = True

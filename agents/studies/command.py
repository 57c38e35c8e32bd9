"""Experiments on the split block K and the encoder around it: `ave-study NAME`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tyro

from agents.commands import run_folder
from agents.commands.errors import (
    called_as,
    explain,
    interrupt_when_terminated,
    one_line_errors,
    program_name,
)
from agents.commands.options import import_from_current_folder, options_given
from agents.commands.resuming import given_options, refuse_changes, saved_options
from agents.reports.provenance import RUN_FILE, describe_run
from agents.studies.base import Study
from agents.studies.idle import refuse_idle
from agents.studies.options import MAY_CHANGE_WHEN_RESUMED, StudyOptions
from agents.studies.registry import STUDIES
from ave_env.scenes.errors import SceneError
from encoders.registry import check_encoder_name
from encoders.support.devices import resolve_device
from encoders.support.files import write_json
from encoders.support.threads import set_threads

_HELP = ("-h", "--help")


def main() -> None:
    """Parses the command line and makes the study that it names."""
    import_from_current_folder()
    with one_line_errors():
        name, *arguments = sys.argv[1:] or ["--help"]
        if name in _HELP:
            print(describe_studies())
            return
        kind = STUDIES.resolve(name)
        defaults = defaults_of(kind, arguments)
        options = tyro.cli(
            kind.options_class, args=arguments, default=defaults, prog=f"{program_name()} {name}"
        )
        if options.resume is not None:
            refuse_changes(options, defaults, MAY_CHANGE_WHEN_RESUMED)
    interrupt_when_terminated()
    with one_line_errors():
        set_threads(options.threads)
        make(kind(options), options_given(arguments))


def describe_studies() -> str:
    """What `ave-study --help` prints: every study, a line each."""
    width = max(map(len, STUDIES.names()))
    lines = [f"  {name:<{width}}  {STUDIES.resolve(name).summary}" for name in STUDIES]
    return "\n".join(
        [
            f"usage: {program_name()} NAME [options]",
            "",
            "Experiments on the split block K and the encoder around it. Each writes a CSV table,",
            "figures (PNG and SVG) and report.html into a run folder, and goes on where it stopped",
            "with --resume FOLDER.",
            "",
            *lines,
            "",
            f"{program_name()} NAME --help tells the options of one.",
        ]
    )


def defaults_of(kind: type[Study[Any]], arguments: list[str]) -> StudyOptions:
    """What the options are that the command line leaves out: those of the run to resume, or few.

    Raises:
        ValueError: Nothing that this study can resume.
    """
    given = given_options(arguments, "resume", flags=("smoke",))
    if given is not None and given.resume is not None:
        return saved_options(Path(given.resume), kind.options_class(), _maker(kind))
    if given is not None and given.smoke:
        return dataclasses.replace(kind.options_class(), **kind.smoke)
    return kind.options_class()


def make(study: Study[Any], typed: Mapping[str, str] | None = None) -> Path:
    """Prepares, measures, reports; returns the run folder.

    Args:
        study: What is made.
        typed: The options that were typed, by field, which have to do something.

    Raises:
        ValueError: Something that the study cannot be made with, or an option that does nothing.
    """
    began = time.time()
    from agents.studies.page import write_page
    from agents.studies.table import PointTable

    options = study.options
    for encoder in options.encoders:
        check_encoder_name(encoder)
    resolve_device(options.device)
    subjects = study.prepare()
    refuse_idle(options, study.idle(), typed or {})
    if options.resume is None:
        label = run_folder.label_of(options.env, options.data_root)
        folder = run_folder.create_run_folder(options.output, f"study-{study.name}-{label}")
    else:
        folder = options.resume
        _check_same_subjects(folder, subjects)
    with run_folder.discarded_if_unused(folder, resumed=options.resume is not None):
        table = PointTable(folder / f"{study.name}.csv", study.columns, study.keys)
        if options.resume is None:
            record = describe_run(options, made_by=_maker(type(study)), subjects=subjects)
            write_json(folder / RUN_FILE, record)
        with run_folder.noting_times(folder, began) as noted:
            noted["complete"] = False
            with _saying_how_to_go_on(study, folder):
                study.measure(table, folder)
            sections = study.report(table, folder)
            write_page(folder, study, sections)
            noted["complete"] = True
    print(f"{len(table.rows)} rows: {table.path}")
    print(f"run folder: {folder}")
    return folder


@contextlib.contextmanager
def _saying_how_to_go_on(study: Study[Any], folder: Path) -> Iterator[None]:
    """Ends a study that was interrupted, or met an image that cannot be read, with what to type.

    Nothing more is said where nothing was finished: the folder goes.
    """
    words = f"{called_as()} {study.name} --resume {folder}"
    try:
        yield
    except KeyboardInterrupt:
        if run_folder.is_unused(folder):
            raise
        sys.exit(f"interrupted; continue with: {words}")
    except (SceneError, OSError) as error:
        if run_folder.is_unused(folder):
            raise
        said = explain(error) if isinstance(error, OSError) else str(error)
        raise ValueError(f"{said}; put it right, and continue with: {words}") from error


def _maker(kind: type[Study[Any]]) -> str:
    """What the record of a run says that it was made by."""
    return f"ave-study {kind.name}"


def _check_same_subjects(folder: Path, subjects: dict[str, Any]) -> None:
    """Refuses to go on with other weights or scenes than the run was begun with.

    Raises:
        ValueError: They differ.
    """
    before = json.loads((folder / RUN_FILE).read_text("utf-8")).get("subjects", {})
    now = json.loads(json.dumps(subjects, default=str))
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            raise ValueError(
                f"{folder}: {name} was {before.get(name)}, and is {now.get(name)}; start a new run"
            )

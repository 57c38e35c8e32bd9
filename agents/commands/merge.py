"""Puts the comparisons in several run folders into one table: `ave-merge`."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Annotated

import tyro

from agents.commands import run_folder
from agents.commands.errors import one_line_errors, program_name
from agents.reports.provenance import RUN_FILE, describe_run
from encoders.support.files import write_json

COMMAND = "merge"


@dataclasses.dataclass(frozen=True)
class Options:
    """Puts the comparisons in several run folders into one table.

    One line is one agent in one setting (environment, encoder, K, glimpses, ...), averaged over its
    seeds, whichever runs they come from. The run folder receives `table.csv` and `per_step.csv`,
    with a column for everything in which the runs differ.

    Attributes:
        runs: Run folders of eval_agent.py and train_agent.py, or folders of such.
        output: Folder of run folders.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    output: Path = Path("runs")


def main() -> None:
    """Parses the command line and merges."""
    options = tyro.cli(Options, prog=program_name())
    with one_line_errors():
        merge(options)


def merge(options: Options) -> Path:
    """Reads, writes, prints the table; returns the folder."""
    began = time.time()
    from agents.reports.merging import merge_runs
    from agents.reports.tables import print_merged

    merged = merge_runs(options.runs)
    folder = run_folder.create_run_folder(options.output, "merged")
    with run_folder.noting_times(folder, began):
        write_json(folder / RUN_FILE, describe_run(options, made_by=COMMAND))
        merged.write(folder)
    print_merged(merged)
    print(f"run folder: {folder}")
    return folder


if __name__ == "__main__":
    main()

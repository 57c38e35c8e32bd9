#!/usr/bin/env python3
"""Gathers evaluations into one table: `results/*.csv`.

Usage: python benchmarks/collect_results.py OUT.csv RUN [RUN ...]

Each row holds a mean and its 95 % interval over scenes, and what is needed to get it again: the
commands that trained the agent and evaluated it, the commit, the machine and the date. Paths in
commands are shortened to their last part.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shlex
from collections.abc import Mapping
from pathlib import Path

import tyro

from encoders.support.files import write_text

KEPT = ("agent", "seed", "t", "n", "metric", "mean", "ci_lo", "ci_hi")
_FIRST_INTERVALS = "bootstrap"  # of runs that do not say how theirs were computed
COSTS = ("gflops_total", "gflops_policy_total", "gflops_without_recycling_total")
METRICS = ("accuracy", "rmse")
_PROJECT = Path(__file__).resolve().parents[1]
COLUMNS = (
    *("environment", "task", "encoder", "weights_hash", "split_block"),
    *KEPT,
    *COSTS,
    "interval",
    *("trained_by", "evaluated_by", "commit", "machine", "date"),
)


@dataclasses.dataclass(frozen=True)
class Options:
    """Gathers evaluations into one table.

    Attributes:
        out: CSV file to write.
        runs: Folders of evaluations.
    """

    out: tyro.conf.Positional[Path]
    runs: tyro.conf.Positional[tuple[Path, ...]]


def main() -> None:
    """Reads the folders and writes the table."""
    options = tyro.cli(Options)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for run in options.runs:
        writer.writerows(rows_of(run))
    write_text(options.out, text.getvalue())
    print(f"{options.out}: {text.getvalue().count(chr(10)) - 1} rows")


def rows_of(run: Path) -> list[dict[str, str | int]]:
    """The rows of one evaluation."""
    summary = json.loads((run / "summary.json").read_text())
    record = json.loads((run / "run.json").read_text())
    common = {
        "environment": summary["environment"]["id"],
        "task": summary["environment"]["kwargs"]["task"],
        "encoder": summary["encoder"]["name"],
        "weights_hash": summary["encoder"]["weights_hash"][:12],
        "split_block": summary.get("split_block", ""),  # of TORE alone
        "evaluated_by": shorten(record["command"]),
        "commit": (record["git_commit"] or "")[:12],
        "machine": f"{record['machine']['processor']}, {record['machine']['cpus']} CPUs",
        "date": date_of(run, record),
    }
    rows = []
    with (run / "per_step.csv").open(newline="") as table:
        for row in csv.DictReader(table):
            if row["metric"] in METRICS:
                kept = {name: row[name] for name in (*KEPT, *COSTS)}
                source = Path(summary["agents"][row["agent"]]["source"])
                if source.name == run.name:  # trained and evaluated by one command
                    source = run
                kept["interval"] = row.get("interval", _FIRST_INTERVALS)
                rows.append({**common, **kept, "trained_by": training_command(source)})
    return rows


def date_of(run: Path, record: Mapping[str, str]) -> str:
    """The day on which a run began."""
    times = run / "times.json"
    if not times.is_file():  # of a release that noted the date in the record
        return record.get("date", "")[:10]
    return json.loads(times.read_text())[0]["started"][:10]


def training_command(source: Path) -> str:
    """The command behind a run folder; nothing for an agent that does not learn."""
    card = Path("agents/pretrained", source, "README.md")
    if not source.is_absolute() and (_PROJECT / card).is_file():
        return f"see {card.as_posix()}"
    try:
        record = json.loads((source / "run.json").read_text())
    except FileNotFoundError:
        return ""
    return shorten(record["command"])


def shorten(command: str) -> str:
    """A command with absolute paths cut down to their last part."""
    words = [Path(word).name if word.startswith("/") else word for word in shlex.split(command)]
    return shlex.join(words)


if __name__ == "__main__":
    main()

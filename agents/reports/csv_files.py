"""Names and columns of the tables in a run folder, and how they are written."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agents.reports.summary import SETTING_COLUMNS
from encoders.support.files import write_bytes, write_text

SUMMARY_FILE = "summary.json"
PER_STEP_FILE = "per_step.csv"
PER_SCENE_FILE = "per_scene.csv.gz"

PER_STEP_COLUMNS = (
    "agent",
    "seed",
    "t",
    "n",
    "metric",
    "mean",
    "ci_lo",
    "ci_hi",
    "gflops_step",
    "gflops_total",
    "gflops_policy_total",
    "gflops_without_recycling_total",
    "interval",
    *SETTING_COLUMNS,
)


def write_table(path: Path, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    """Writes a CSV file, compressed where the name ends in .gz, without the time of day in it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    if path.suffix != ".gz":
        write_text(path, text.getvalue())
        return
    write_bytes(path, gzip.compress(text.getvalue().encode(), mtime=0))

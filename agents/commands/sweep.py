"""Sweeps: a folder with one run per seed, and what came out of all of them.

| file | what |
| --- | --- |
| `seed-S/` | the run with seed S, as one made alone |
| `table.csv`, `per_step.csv` | all of them, see `agents.reports.merging` |
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

GATHERED_FILES = ("table.csv", "per_step.csv")


def folders(folder: Path, seeds: int | Sequence[int]) -> list[Path]:
    """Where the runs of a sweep are, one per seed; a run with one seed is its own folder."""
    return [folder] if isinstance(seeds, int) else [folder / f"seed-{seed}" for seed in seeds]


def is_gathered(folder: Path) -> bool:
    """Whether the results of all runs were gathered since the last of them was worked on."""
    return all((folder / name).is_file() for name in GATHERED_FILES)


def discard_gathered(folder: Path) -> None:
    """Removes what was gathered before runs go on: it will be another."""
    for name in GATHERED_FILES:
        (folder / name).unlink(missing_ok=True)


def gather(folder: Path, runs: Sequence[Path]) -> None:
    """Gathers the results of all runs in the sweep's folder, and prints what they come to.

    Args:
        folder: Of the sweep.
        runs: Its run folders, all of them finished.
    """
    from agents.reports.merging import merge_runs
    from agents.reports.tables import print_merged

    merged = merge_runs(runs)
    merged.write(folder)
    print_merged(merged)

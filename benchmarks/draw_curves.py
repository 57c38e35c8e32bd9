#!/usr/bin/env python3
"""Draws the curves of evaluations in one table of `results/`: `docs/images/curves.png`.

Usage: python benchmarks/draw_curves.py TABLE.csv OUT.png --runs NAME [NAME ...] [--classes N]

`--runs` are the names after `--output` in the column `evaluated_by`. Agents whose `trained_by`
differ in nothing but `--seed`, `--output` and `--threads` are one agent trained with several seeds:
one line, with a band from the lowest to the highest of them. An agent with one seed has the table's
interval over scenes.
"""

from __future__ import annotations

import csv
import dataclasses
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tyro

if TYPE_CHECKING:
    from agents.reports.figures import Curve
    from ave_env.tasks.metrics import Metric

_PRIVILEGED = ("oracle",)
Row = Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Options:
    """Draws the curves of evaluations in one table.

    Attributes:
        table: CSV file that `collect_results.py` wrote.
        out: PNG to write.
        runs: Evaluations to draw, by the name after `--output` in `evaluated_by`.
        classes: Number of classes, for a line at chance; None = no such line.
    """

    table: tyro.conf.Positional[Path]
    out: tyro.conf.Positional[Path]
    runs: tuple[str, ...]
    classes: int | None = None


def main() -> None:
    """Reads the table and draws."""
    options = tyro.cli(Options)
    from agents.reports.figures import draw_metric

    rows = read_rows(options.table, options.runs)
    draw_metric(
        curves_of(rows),
        metric_of(rows, options.classes),
        options.out,
        title=title_of(rows),
        bands="Bands: lowest to highest of the seeds;\nof one seed: 95% intervals over scenes.",
    )
    print(f"{options.out}: {' '.join(options.runs)}")


def read_rows(table: Path, runs: Sequence[str]) -> list[Row]:
    """The rows of some evaluations.

    Raises:
        SystemExit: An evaluation is not in the table, or they measure different things.
    """
    with table.open(newline="") as file:
        found = [(run_of(row), row) for row in csv.DictReader(file)]
    if missing := [run for run in runs if run not in {name for name, _ in found}]:
        names = sorted({name for name, _ in found})
        raise SystemExit(f"{table} holds no run {' '.join(missing)}; it holds {' '.join(names)}")
    rows = [row for name, row in found if name in runs]
    for column in ("environment", "encoder", "split_block", "metric"):
        if len(values := sorted({row[column] for row in rows})) > 1:
            raise SystemExit(
                f"{table}: the runs {' '.join(runs)} differ in {column} ({', '.join(values)}); "
                "choose runs that can stand in one figure"
            )
    return rows


def run_of(row: Row) -> str:
    """The name after `--output` in the command that evaluated."""
    words = shlex.split(row["evaluated_by"])
    return words[words.index("--output") + 1] if "--output" in words else ""


def curves_of(rows: Sequence[Row]) -> list[Curve]:
    """One curve per agent, over its seeds."""
    from agents.reports.figures import Curve
    from agents.reports.styles import agent_styles

    agents: dict[str, dict[tuple[str, str], list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        agents[training_of(row)][row["agent"], row["seed"]].append(row)
    names = [name_of(seeds) for seeds in agents.values()]
    styles = agent_styles((name, name in _PRIVILEGED) for name in names)
    curves = []
    for style, seeds in zip(styles, agents.values(), strict=True):
        ordered = [sorted(one, key=lambda row: int(row["t"])) for one in seeds.values()]
        mean, low, high, gflops, policy = (
            np.array([[float(row[name]) for row in one] for one in ordered])
            for name in ("mean", "ci_lo", "ci_hi", "gflops_total", "gflops_policy_total")
        )
        label, num_scenes = style.label, int(ordered[0][0]["n"])
        if (mean != mean[0]).any():  # else it uses no chance, and has one interval over scenes
            low, high = mean, mean
            label += f", {len(mean)} seeds"
        if num_scenes < max(int(row["n"]) for row in rows):
            label += f"\n{num_scenes} scenes"
        curves.append(
            Curve(
                dataclasses.replace(style, label=label),
                mean.mean(axis=0),
                low.min(axis=0),
                high.max(axis=0),
                (gflops if style.dashed else gflops + policy).mean(axis=0),
            )
        )
    return curves


def training_of(row: Row) -> str:
    """What makes an agent: how it was trained but for the seed and the threads, or its name."""
    words = shlex.split(row["trained_by"])
    for option in ("--seed", "--output", "--threads"):
        if option in words:
            del words[words.index(option) : words.index(option) + 2]
    return shlex.join(words) or row["agent"]


def name_of(seeds: Mapping[tuple[str, str], Sequence[Row]]) -> str:
    """The name of an agent; of several run folders that of the policy they trained."""
    names = sorted({agent for agent, _ in seeds})
    if len(names) == 1:
        return names[0]
    words = shlex.split(next(iter(seeds.values()))[0]["trained_by"])
    return words[words.index("--policy") + 1]


def metric_of(rows: Sequence[Row], classes: int | None) -> Metric:
    """The metric as its task declares it."""
    from ave_env.tasks.classification import Classification
    from ave_env.tasks.reconstruction import METRICS

    of_classes = Classification(classes or 2).metrics
    metric = {each.name: each for each in (*of_classes, *METRICS)}[rows[0]["metric"]]
    return metric if classes else dataclasses.replace(metric, chance=None)


def title_of(rows: Sequence[Row]) -> str:
    """What was explored, and by which encoder."""
    row = max(rows, key=lambda row: int(row["n"]))
    split_block = f", K = {row['split_block']}" if row["split_block"] else ""
    return (
        f"{int(row['n']):,} scenes of {row['environment']}, encoder {row['encoder']}{split_block}"
    )


if __name__ == "__main__":
    main()

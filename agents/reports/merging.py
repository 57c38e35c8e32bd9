"""Several comparisons in one table: run folders, read back and put beside each other.

| file | what |
| --- | --- |
| `table.csv` | every agent in every setting after t = 0..T glimpses, averaged over seeds |
| `per_step.csv` | the rows of that name of all runs, with the run they come from |

An agent of one name in one setting is one line, whichever runs its seeds come from: a policy that
was trained with three seeds, in three run folders, becomes a mean over three seeds.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from agents.evaluation.statistics import Interval, bootstrap_interval, wilson_interval
from agents.reports.csv_files import (
    PER_SCENE_FILE,
    PER_STEP_COLUMNS,
    PER_STEP_FILE,
    SUMMARY_FILE,
    write_table,
)
from agents.reports.provenance import RUN_FILE
from agents.reports.summary import SETTING_COLUMNS, setting_of
from ave_env.tasks import classification, reconstruction
from ave_env.tasks.metrics import Metric
from encoders.support.rounding import settled

TABLE_FILE = "table.csv"
TABLE_COLUMNS = (
    *SETTING_COLUMNS,
    "agent",
    "seeds",
    "t",
    "n",
    "metric",
    "mean",
    "ci_lo",
    "ci_hi",
    "interval",
    "sd_over_seeds",
    "gflops_total",
    "gflops_policy_total",
    "gflops_without_recycling_total",
)

# Of the environment's settings, those that tell no setting from another: where weights were read
# from (their hash does), and what has columns of its own.
_NO_SETTING = {"encoder", "task", "split", "num_glimpses", "split_block", "encoder_options"}
_COSTS = ("gflops_total", "gflops_policy_total", "gflops_without_recycling_total")

# What folders of older releases do not say of themselves.
_KNOWN_METRICS = {each.name: each for each in (*classification.METRICS, *reconstruction.METRICS)}
_KNOWN_COLUMNS = {"accuracy": "correct"}


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """The folder of one comparison.

    Attributes:
        folder: Where it is.
        summary: Its `summary.json`.
        setting: What was compared in: `SETTING_COLUMNS`, then all else that makes results differ.
    """

    folder: Path
    summary: Mapping[str, Any]
    setting: Mapping[str, Any]

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Run:
        """Reads a run folder.

        Raises:
            ValueError: No comparison was finished in it.
        """
        path = Path(folder)
        missing = [
            name
            for name in (SUMMARY_FILE, PER_STEP_FILE, PER_SCENE_FILE)
            if not (path / name).is_file()
        ]
        if missing:
            found = "no such folder" if not path.is_dir() else f"no {', '.join(missing)}"
            raise ValueError(
                f"{folder}: {found}; expected the run folder of a finished comparison, as "
                "eval_agent.py and train_agent.py write it"
            )
        try:
            summary = json.loads((path / SUMMARY_FILE).read_text("utf-8"))
            setting = setting_of(summary)
            kwargs = summary["environment"]["kwargs"]
            others = {
                **{name: kwargs[name] for name in sorted(kwargs) if name not in _NO_SETTING},
                **summary["encoder"].get("options", {}),
            }
            others = {name: each for name, each in others.items() if name not in setting}
            return cls(path, summary, setting | others)
        except (ValueError, LookupError, TypeError) as error:
            raise ValueError(
                f"{path / SUMMARY_FILE}: no summary of a comparison: {error!r}"
            ) from error

    @property
    def metric(self) -> Metric | None:
        """What agents are ranked by; None where nothing meaningful can be said."""
        name = self.summary["main_metric"]
        if name is None:
            return None
        for described in self.summary.get("metrics", []):
            if described["name"] == name:
                known = {field.name for field in dataclasses.fields(Metric)}
                return Metric(**{key: described[key] for key in described if key in known})
        return _KNOWN_METRICS.get(name) or Metric(name=name, label=name)

    @property
    def is_proportion(self) -> bool:
        """Whether its metric's mean is the share of the scenes where something is so."""
        name = self.summary["main_metric"]
        described = {each["name"]: each["interval"] for each in self.summary.get("metrics", [])}
        return described.get(name) == "wilson" if described else name in _KNOWN_COLUMNS

    def steps(self) -> list[dict[str, Any]]:
        """The rows of `per_step.csv`, with all columns of this release."""
        with (self.folder / PER_STEP_FILE).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        setting = {name: self.setting[name] for name in SETTING_COLUMNS}
        older = {"interval": "bootstrap"}  # folders of older releases know no other
        return [{**older, **setting, **row} for row in rows]


@dataclasses.dataclass(frozen=True, eq=False)
class Line:
    """One agent in one setting, over its seeds.

    Attributes:
        setting: What it was compared in.
        agent: What its runs call it.
        seeds: Of its own choices or, where it was trained in the runs, of the training.
        privileged: Whether it is told the answer.
        differences: In what it did not act as it was trained, in words.
        metric: What it is judged by; None where nothing meaningful can be said.
        num_scenes: N.
        means: The metric after t = 0..T glimpses by seed, float64 `[seeds, T+1]`; None without one.
        interval: Its mean and interval over scenes, averaged over seeds, `[T+1]`; None without one.
        gflops: Billions of multiply-accumulates until then, mean over scenes and seeds, `[T+1]`, by
            the names of the columns.
    """

    setting: Mapping[str, Any]
    agent: str
    seeds: tuple[int, ...]
    privileged: bool
    differences: tuple[str, ...]
    metric: Metric | None
    num_scenes: int
    means: np.ndarray | None
    interval: Interval | None
    gflops: Mapping[str, np.ndarray]

    @property
    def num_glimpses(self) -> int:
        """T."""
        return len(self.gflops["gflops_total"]) - 1

    @property
    def over_seeds(self) -> np.ndarray | None:
        """Standard deviation over seeds of the mean over scenes, `[T+1]`; None for one seed."""
        if self.means is None or len(self.seeds) < 2:
            return None
        return np.std(self.means, axis=0, ddof=1)


@dataclasses.dataclass(frozen=True, eq=False)
class Merged:
    """Several comparisons beside each other.

    Attributes:
        runs: Where they come from.
        lines: One per agent and setting, in the order of the runs.
    """

    runs: tuple[Run, ...]
    lines: tuple[Line, ...]

    @property
    def varied(self) -> list[str]:
        """Names of the settings in which the lines differ."""
        names = dict.fromkeys(name for line in self.lines for name in line.setting)
        return [
            name for name in names if len({repr(line.setting.get(name)) for line in self.lines}) > 1
        ]

    def write(self, folder: Path) -> None:
        """Writes the files named above; each appears whole or not at all.

        Args:
            folder: Where they go; made if missing.
        """
        folder.mkdir(parents=True, exist_ok=True)
        more = tuple(name for name in self.varied if name not in TABLE_COLUMNS)
        rows = (row for line in self.lines for row in _rows(line, more))
        write_table(folder / TABLE_FILE, (*TABLE_COLUMNS, *more), rows)
        columns = (*PER_STEP_COLUMNS, "run")
        steps = ({**row, "run": run.folder.name} for run in self.runs for row in run.steps())
        write_table(
            folder / PER_STEP_FILE,
            columns,
            (tuple(row[name] for name in columns) for row in steps),
        )


def merge_runs(folders: Iterable[str | os.PathLike[str]]) -> Merged:
    """Reads the comparisons in some run folders and puts them beside each other.

    Args:
        folders: Run folders of `eval_agent.py` or `train_agent.py`, or folders of such.

    Raises:
        ValueError: A folder without a finished comparison, the same one twice, or runs of one
            setting that say different things of the same agent and seed.
    """
    runs = tuple(Run.read(each) for folder in folders for each in _expand(Path(folder)))
    if not runs:
        raise ValueError("no run folders given")
    places = [run.folder.resolve() for run in runs]
    if twice := sorted({str(each) for each in places if places.count(each) > 1}):
        raise ValueError(f"given twice: {', '.join(twice)}")
    entries: dict[tuple[str, str], list[_Entry]] = {}
    for run in runs:
        for entry in _entries(run):
            key = json.dumps(run.setting, sort_keys=True, default=str), entry.agent
            _add(entries.setdefault(key, []), entry)
    return Merged(runs, tuple(_line(each) for each in entries.values()))


def _expand(folder: Path) -> list[Path]:
    """A run folder itself, or those in a folder of them."""
    if (folder / SUMMARY_FILE).is_file() or not folder.is_dir():
        return [folder]
    inside = [path.parent for path in folder.glob(f"*/{SUMMARY_FILE}")]
    return sorted(inside, key=_natural) or [folder]


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts `run-2` before `run-10`."""
    words = path.name.replace("_", "-").split("-")
    return [(int(word), "") if word.isdecimal() else (-1, word) for word in words]


@dataclasses.dataclass(frozen=True, eq=False)
class _Entry:
    """One agent with one seed in one run."""

    run: Run
    agent: str
    source: str
    seed: int
    uses_chance: bool
    scene_ids: np.ndarray
    values: np.ndarray | None
    gflops: Mapping[str, np.ndarray]

    def is_repeated_by(self, other: _Entry) -> bool:
        """Whether another run says the same thing once more."""
        return self.source == other.source and (self.seed == other.seed or not self.uses_chance)

    def agrees_with(self, other: _Entry) -> bool:
        """Whether another run found the same, up to the digits that files hold."""
        if self.values is None or other.values is None:
            return self.values is other.values
        return np.allclose(self.values, other.values, rtol=1e-4, atol=1e-4)


def _entries(run: Run) -> Iterator[_Entry]:
    """What a run says of each agent and seed."""
    costs: dict[tuple[str, int], dict[str, list[float]]] = {}
    for row in run.steps():
        of_agent = costs.setdefault((row["agent"], int(row["seed"])), {})
        if row["metric"] == "coverage":  # every run has it
            for name in _COSTS:
                of_agent.setdefault(name, []).append(float(row[name]))
    scenes = _read_scenes(run)
    for (agent, seed), gflops in costs.items():
        described = run.summary["agents"][agent]
        ids, values = scenes[agent, seed]
        source = str(described["source"])
        if Path(source).name == run.folder.name:  # trained and compared by one command
            source = str(run.folder.resolve())
        uses_chance = bool(described.get("uses_chance", True))
        yield _Entry(
            run=run,
            agent=agent,
            source=source,
            seed=seed if uses_chance else _training_seed(source, seed),
            uses_chance=uses_chance,
            scene_ids=ids,
            values=values,
            gflops={name: np.array(each) for name, each in gflops.items()},
        )


def _training_seed(source: str, otherwise: int) -> int:
    """The seed that an agent was trained with, where its run folder is still there to say so."""
    try:
        record = json.loads((Path(source) / RUN_FILE).read_text("utf-8"))
        return int(record["configuration"]["seed"])
    except (OSError, ValueError, LookupError, TypeError):
        return otherwise


def _read_scenes(run: Run) -> dict[tuple[str, int], tuple[np.ndarray, np.ndarray | None]]:
    """Scenes and the main metric in each, `[N]` and `[N, T+1]`, by agent and seed."""
    found: dict[tuple[str, int], tuple[list[int], list[float]]] = {}
    path = run.folder / PER_SCENE_FILE
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = next(reader)
        name = run.summary["main_metric"]
        column = name if name in header else _KNOWN_COLUMNS.get(name or "")
        if name is not None and column not in header:
            raise ValueError(f"{path}: no column {name!r}, by which its agents are ranked")
        at = {each: header.index(each) for each in ("agent", "seed", "scene_id", "t")}
        value_at = None if column is None else header.index(column)
        for row in reader:
            ids, values = found.setdefault((row[at["agent"]], int(row[at["seed"]])), ([], []))
            if row[at["t"]] == "0":
                ids.append(int(row[at["scene_id"]]))
            if value_at is not None:
                values.append(float(row[value_at]))
    return {
        key: (np.array(ids), np.array(values).reshape(len(ids), -1) if values else None)
        for key, (ids, values) in found.items()
    }


def _add(entries: list[_Entry], entry: _Entry) -> None:
    """Adds what is new; agents without chance, or with a seed known already, repeat themselves."""
    for known in entries:
        if not np.array_equal(known.scene_ids, entry.scene_ids):
            raise ValueError(
                f"{known.run.folder} and {entry.run.folder} explored different scenes "
                f"({len(known.scene_ids)} and {len(entry.scene_ids)}) in the same setting; compare "
                "agents in the same scenes, with the same --scenes"
            )
        if known.is_repeated_by(entry):
            if not known.agrees_with(entry):
                raise ValueError(
                    f"{known.run.folder} and {entry.run.folder} say different things of agent "
                    f"{entry.agent!r}, seed {entry.seed}, in the same setting; leave one out"
                )
            return
    entries.append(entry)


def _line(entries: list[_Entry]) -> Line:
    first = entries[0]
    values = [entry.values for entry in entries if entry.values is not None]
    interval = means = None
    if values:
        together = np.stack(values)
        means = together.mean(axis=1)
        scenes = together.mean(axis=0)
        if first.run.is_proportion:
            interval = wilson_interval(scenes, per_scene=len(values))
        else:
            interval = bootstrap_interval(scenes)
    described = first.run.summary["agents"][first.agent]
    return Line(
        setting=first.run.setting,
        agent=first.agent,
        seeds=tuple(entry.seed for entry in entries),
        privileged=bool(described["privileged"]),
        differences=tuple(described.get("not_as_trained", ())),
        metric=first.run.metric,
        num_scenes=len(first.scene_ids),
        means=means,
        interval=interval,
        gflops={
            name: np.mean([entry.gflops[name] for entry in entries], axis=0) for name in _COSTS
        },
    )


def _rows(line: Line, more: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """A line's rows of `TABLE_FILE`."""
    setting = [line.setting.get(name, "") for name in SETTING_COLUMNS]
    name = "" if line.metric is None else line.metric.name
    deviations = line.over_seeds
    for t in range(line.num_glimpses + 1):
        measured: list[Any] = ["", "", "", "", ""]
        if line.interval is not None:
            found = line.interval
            ends = [found.low[t], found.high[t]] if found.exists else ["", ""]
            deviation = "" if deviations is None else deviations[t]
            measured = [found.mean[t], *ends, found.method if found.exists else "", deviation]
        seeds = " ".join(map(str, line.seeds))
        costs = [line.gflops[each][t] for each in _COSTS]
        values = (*measured, *costs, *(line.setting.get(each, "") for each in more))
        written = (settled(each) if isinstance(each, float) else each for each in values)
        yield (*setting, line.agent, seeds, t, line.num_scenes, name, *written)

"""Run folders put beside each other: nothing is counted twice, nothing unlike is averaged."""

import csv
import dataclasses
import gzip
import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console
from tiny import SETTINGS, MemoryScenes, raises_naming, tiny_encoder

from agents.evaluation.comparison import evaluate_agents
from agents.evaluation.config import EvaluationConfig
from agents.evaluation.statistics import wilson_interval
from agents.learning.ppo.config import PpoConfig
from agents.learning.ppo.learner import PpoLearner
from agents.learning.windows.agent import OBSERVABLES
from agents.reports.files import write_results
from agents.reports.merging import TABLE_COLUMNS, merge_runs
from agents.reports.tables import print_merged
from ave_env import ActiveExplorationVectorEnv

SCENES = MemoryScenes()
ENCODER = tiny_encoder()


def compare(folder, agents=("random", "raster"), seeds=(0,), num_scenes=None, **changes):
    settings = {"scenes": SCENES, "encoder": ENCODER, **SETTINGS, **changes}
    config = EvaluationConfig(
        num_envs=12, seeds=seeds, episodes=0, num_scenes=num_scenes, progress=False
    )
    comparison = evaluate_agents(agents, "AVE-Synthetic-v0", settings, config)
    write_results(comparison, folder)
    return comparison


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds apart, and both at once with another K and fewer glimpses."""
    root = tmp_path_factory.mktemp("runs")
    folders = {name: root / name for name in ("run-1", "run-2", "run-10")}
    comparisons = {
        "run-1": compare(folders["run-1"], seeds=(0,), split_block=1),
        "run-2": compare(folders["run-2"], seeds=(1,), split_block=1),
        "run-10": compare(folders["run-10"], seeds=(0, 1), split_block=2, num_glimpses=2),
    }
    return root, comparisons


def test_seeds_of_several_runs_are_one_line(runs, tmp_path):
    root, comparisons = runs
    merged = merge_runs([root])
    assert [run.folder.name for run in merged.runs] == ["run-1", "run-2", "run-10"]
    found = [(line.setting["split_block"], line.agent, line.seeds) for line in merged.lines]
    assert found == [
        (1, "random", (0, 1)),
        (1, "raster", (0,)),  # no chance: the second run says the same once more
        (2, "random", (0, 1)),
        (2, "raster", (0,)),
    ]
    assert merged.varied == ["split_block", "num_glimpses"]

    one, two = (
        comparisons[name].results[0].evaluations[0].columns["correct"].astype(float)
        for name in ("run-1", "run-2")
    )
    expected = wilson_interval((one + two) / 2, per_scene=2)
    line = merged.lines[0]
    np.testing.assert_allclose(line.interval.mean, expected.mean)
    np.testing.assert_allclose(line.interval.low, expected.low)
    spread = np.std([one.mean(axis=0), two.mean(axis=0)], axis=0, ddof=1)
    np.testing.assert_allclose(line.over_seeds, spread)
    # Both seeds in one run are the same thing.
    together = comparisons["run-10"].results[0]
    np.testing.assert_allclose(merged.lines[2].interval.high, together.over_scenes["accuracy"].high)
    np.testing.assert_allclose(merged.lines[2].gflops["gflops_total"], together.gflops())

    merged.write(tmp_path)
    table = read(tmp_path / "table.csv")
    assert tuple(table[0]) == TABLE_COLUMNS
    assert len(table) == 2 * 5 + 2 * 3
    row = table[4]
    assert (row["agent"], row["seeds"], row["t"], row["n"]) == ("random", "0 1", "4", "12")
    assert (row["environment"], row["encoder"]) == ("AVE-Synthetic-v0", "tiny")
    assert (row["split_block"], row["num_glimpses"], row["interval"]) == ("1", "4", "wilson")
    assert float(row["ci_hi"]) == pytest.approx(expected.high[4])
    assert float(row["sd_over_seeds"]) == pytest.approx(spread[4])
    steps = read(tmp_path / "per_step.csv")
    assert {each["run"] for each in steps} == {"run-1", "run-2", "run-10"}
    originals = [
        row for name in ("run-1", "run-2", "run-10") for row in read(root / name / "per_step.csv")
    ]
    assert [{**each, "run": None} for each in steps] == [
        {**each, "run": None} for each in originals
    ]


def test_the_table_has_a_column_for_what_differs(runs):
    console = Console(width=200, file=io.StringIO())
    print_merged(merge_runs([runs[0]]), console)
    text = console.file.getvalue()
    heading = next(line for line in text.splitlines() if "agent" in line)
    assert heading.split()[:3] == ["K", "T", "agent"]
    assert "Wilson" in text
    assert "Chance: 20.0 %" in text
    assert "2 seeds" in text


def test_an_agent_trained_with_several_seeds_is_a_mean_over_them(tmp_path):
    env = ActiveExplorationVectorEnv(
        2,
        scenes=SCENES,
        encoder=ENCODER,
        observe=OBSERVABLES,
        autoreset_mode="SAME_STEP",
        **SETTINGS,
    )
    for seed in (3, 5):
        folder = tmp_path / f"train-{seed}"
        folder.mkdir()
        PpoLearner(env, PpoConfig(batch_size=8), seed=seed).save(folder)
        record = {"configuration": {"seed": seed}}
        (folder / "run.json").write_text(json.dumps(record))
        compare(folder, agents=["raster", folder])
    merged = merge_runs(sorted(tmp_path.iterdir()))
    found = [(line.agent, line.seeds) for line in merged.lines]
    assert found == [("raster", (0,)), ("ppo", (3, 5))]


def test_errors_get_the_bootstrap_and_tasks_tables_of_their_own(tmp_path):
    compare(tmp_path / "a", task="reconstruction")
    compare(tmp_path / "b")
    merged = merge_runs([tmp_path])
    values = merged.lines[0]
    assert values.metric.name == "rmse"
    assert values.interval.method == "bootstrap"
    assert values.metric.better == "lower"
    console = Console(width=100, file=io.StringIO())
    print_merged(merged, console)
    text = console.file.getvalue()
    assert "RMSE (grey levels)" in text
    assert "accuracy (%)" in text


def test_folders_of_older_releases_are_read(runs, tmp_path):
    root, comparisons = runs
    old = tmp_path / "old"
    shutil.copytree(root / "run-1", old)
    summary = json.loads((old / "summary.json").read_text())
    del summary["metrics"]
    (old / "summary.json").write_text(json.dumps(summary))
    with gzip.open(old / "per_scene.csv.gz", "rt") as file:
        rows = list(csv.reader(file))
    kept = rows[0].index("accuracy")
    with gzip.open(old / "per_scene.csv.gz", "wt") as file:
        csv.writer(file).writerows(row[:kept] for row in rows)
    line = merge_runs([old]).lines[0]
    assert line.interval.method == "wilson"
    expected = comparisons["run-1"].results[0].over_scenes["accuracy"]
    np.testing.assert_allclose(line.interval.low, expected.low)


def test_what_cannot_be_merged_is_refused_by_name(runs, tmp_path):
    root, _ = runs
    with raises_naming(ValueError, ["nowhere", "no such folder"]):
        merge_runs([tmp_path / "nowhere"])
    with raises_naming(ValueError, [str(tmp_path), "summary.json"]):
        merge_runs([tmp_path])
    with raises_naming(ValueError, ["twice", "run-1"]):
        merge_runs([root / "run-1", root / "run-1"])
    compare(tmp_path / "fewer", num_scenes=6, split_block=1)
    with raises_naming(ValueError, ["fewer", "run-1", "different scenes"]):
        merge_runs([root / "run-1", tmp_path / "fewer"])


def test_runs_that_contradict_each_other_are_refused(runs, tmp_path):
    root, comparisons = runs
    result = comparisons["run-1"].results[1]
    columns = dict(result.evaluations[0].columns)
    columns["correct"] = ~columns["correct"]
    changed = dataclasses.replace(
        comparisons["run-1"],
        results=(
            dataclasses.replace(
                result, evaluations=(dataclasses.replace(result.evaluations[0], columns=columns),)
            ),
        ),
    )
    write_results(changed, tmp_path / "changed")
    with raises_naming(ValueError, ["changed", "run-1", "raster", "different things"]):
        merge_runs([root / "run-1", tmp_path / "changed"])


def test_the_command_writes_a_run_folder_and_prints_the_table(runs, tmp_path):
    root, _ = runs
    command = [sys.executable, "-m", "agents.commands.merge", str(root), "--output", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "out" / "merged-1"
    names = {path.name for path in folder.iterdir()}
    assert names == {"run.json", "times.json", "table.csv", "per_step.csv"}
    assert "run folder: out/merged-1" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100

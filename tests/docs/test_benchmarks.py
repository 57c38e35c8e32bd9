"""The scripts behind the tables of `docs/results.md` count what they say they count."""

from __future__ import annotations

import csv
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import raises_naming
from torchmetrics.functional.classification import binary_auroc

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))


def load(name):
    specification = importlib.util.spec_from_file_location(name, ROOT / f"benchmarks/{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


def run(script, *arguments):
    return subprocess.run(
        [sys.executable, ROOT / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_explains_itself(script):
    assert "options" in run(f"benchmarks/{script}.py", "--help")


def test_the_area_under_the_curve_is_torchmetrics():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, (20, 15)).astype(np.float32)  # with ties
    positive, useful = rng.random((2, 20, 15)) < 0.6
    areas = load("entropy_maps").area_under_roc(scores, positive, useful)
    assert np.isnan(load("entropy_maps").area_under_roc(scores, useful, useful)).all()
    for row, area in enumerate(areas):
        kept = useful[row]
        expected = binary_auroc(
            torch.from_numpy(scores[row, kept] / 6), torch.from_numpy(positive[row, kept])
        )
        assert area == pytest.approx(float(expected))


def test_seen_shares_are_those_of_a_count_of_pixels():
    factors = load("synthetic_factors")
    rng = np.random.default_rng(0)
    size, steps, side = (128, 256), 4, int(2 * factors.HALF_SIZE)
    first = rng.integers(0, [size[0] - side, size[1]], (6, 3, 2))  # top left pixel of a square
    centers = first + factors.HALF_SIZE
    corners = rng.integers(0, [7, 16], (6, steps + 1, 2)) * factors.PATCH
    boxes = np.concatenate([corners, corners + 2 * factors.PATCH], axis=-1)  # some cross the seam
    walk = factors.Walk(np.arange(6), np.zeros(6, int), np.zeros((6, steps + 1), int), boxes)
    shares = factors.seen_shares(walk, centers, size)
    for scene in range(6):
        seen = np.zeros(size, bool)
        for step in range(1, steps + 1):
            y0, x0, y1, x1 = boxes[scene, step]
            seen[y0:y1, np.arange(x0, x1) % size[1]] = True
            for band, (y, x) in enumerate(first[scene]):
                square = seen[y : y + side, np.arange(x, x + side) % size[1]]
                assert shares[scene, step, band] == pytest.approx(square.mean())


def test_every_result_and_every_column_is_explained():
    text = (ROOT / "results/README.md").read_text("utf-8")
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    explained = set(re.findall(r"`([^`]+)`", text))
    tables = sorted((ROOT / "results").glob("*.csv"))
    assert {path.name for path in tables} == {name for name in explained if name.endswith(".csv")}
    encoders = set()
    for path in tables:
        with path.open(newline="") as file:
            table = csv.DictReader(file)
            assert tuple(table.fieldnames) == load("collect_results").COLUMNS
            encoders |= {row["encoder"] for row in table}
    assert set(load("collect_results").COLUMNS) | encoders <= explained


def test_curves_of_a_table_join_the_seeds_of_one_agent(tmp_path):
    script = load("draw_curves")
    rows = script.read_rows(ROOT / "results/synthetic.csv", ["sweep-4", "oracle"])
    curves = {curve.style.label: curve for curve in script.curves_of(rows)}
    assert set(curves) == {
        *("random, 3 seeds", "checkerboard", "ame", "ame_normalised", "ppo, 3 seeds"),
        "oracle\n300 scenes",
    }
    ppo = [row for row in rows if row["agent"].startswith("ppo") and row["t"] == "4"]
    means = [float(row["mean"]) for row in ppo]
    assert len(set(means)) == 3
    curve = curves["ppo, 3 seeds"]
    assert curve.mean[4] == pytest.approx(np.mean(means))
    assert (curve.low[4], curve.high[4]) == (min(means), max(means))
    spent = [float(row["gflops_total"]) + float(row["gflops_policy_total"]) for row in ppo]
    assert curve.gflops[4] == pytest.approx(np.mean(spent))
    (row,) = [row for row in rows if row["agent"] == "checkerboard" and row["t"] == "8"]
    one = curves["checkerboard"]
    assert [one.low[8], one.high[8]] == [float(row["ci_lo"]), float(row["ci_hi"])]
    assert curves["oracle\n300 scenes"].style.dashed

    metric = script.metric_of(rows, 26)
    assert metric.chance == pytest.approx(1 / 26)
    assert script.metric_of(rows, None).chance is None
    run(
        "benchmarks/draw_curves.py",
        ROOT / "results/reconstruction.csv",
        tmp_path / "out.png",
        "--runs",
        "reconstruction-0",
        "reconstruction-1",
    )
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("runs", "words"),
    [(["nowhere"], ["nowhere", "sweep-4"]), (["sweep-4", "sweep-6"], ["split_block", "4, 6"])],
)
def test_runs_that_cannot_stand_in_one_figure_are_refused(runs, words):
    with raises_naming(SystemExit, words):
        load("draw_curves").read_rows(ROOT / "results/synthetic.csv", runs)

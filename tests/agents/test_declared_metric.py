"""A task with metrics of its own, declared in this file alone, is found wherever metrics are."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console
from tiny import SETTINGS, MemoryScenes, raises_naming, tiny_encoder, tiny_vector_env

from agents import make_agent
from agents.evaluation.comparison import evaluate_agents
from agents.evaluation.config import EvaluationConfig
from agents.evaluation.walk import evaluate
from agents.reports import figures
from agents.reports.files import write_results
from agents.reports.tables import print_comparison
from ave_env.tasks.base import Task
from ave_env.tasks.metrics import Metric
from ave_env.tasks.registry import register_task


def largest_error(columns):
    return columns["brightness_error"].max(axis=0)


def darkness(columns):
    return -columns["brightness_error"]


@register_task
class Brightness(Task):
    """Say how bright the scene is."""

    name = "test-brightness"
    requires = ("reconstruction",)
    columns = ("brightness_error",)
    metrics = (
        Metric(
            name="brightness_error",
            label="error of brightness",
            heading="brightness\nerror",
            unit="per mille",
            better="lower",
            scale=1000,
            format=".3f",
            limits=(0, 500),
        ),
        Metric(
            name="worst_error",
            label="worst error",
            unit="per mille",
            better="lower",
            scale=1000,
            format=".4f",
            aggregate=largest_error,
        ),
        Metric(name="darkness", label="darkness", format=".3f", value=darkness),
    )

    def score(self, belief, truth):
        """Minus the error, in shares of white."""
        means = (np.mean(each, axis=(1, 2, 3)) for each in (belief["reconstruction"], truth.images))
        return -np.abs(np.subtract(*means)) / 255

    def measure(self, belief, truth):
        """The error."""
        return {"brightness_error": -self.score(belief, truth)}


@pytest.fixture(scope="module")
def comparison():
    settings = {"scenes": MemoryScenes(), "encoder": tiny_encoder(), **SETTINGS}
    config = EvaluationConfig(num_envs=5, episodes=1, progress=False)
    settings["task"] = Brightness.name
    return evaluate_agents(["raster", "center_out"], "AVE-Synthetic-v0", settings, config)


def test_info_holds_the_metric_of_each_step():
    env = tiny_vector_env(3, task=Brightness.name)
    _, info = env.reset(seed=0)
    before, total = info["brightness_error"], 0.0
    for action in range(2):
        _, rewards, _, _, info = env.step(np.full(3, action))
        total = total + rewards
    np.testing.assert_allclose(total, before - info["brightness_error"])
    np.testing.assert_allclose(info["darkness"], -info["brightness_error"])


def test_files_and_report_hold_the_metrics(comparison, tmp_path):
    write_results(comparison, tmp_path)
    rows = list(csv.DictReader((tmp_path / "per_step.csv").open()))
    names = ["brightness_error", "darkness", "coverage", "worst_error"]
    assert list(dict.fromkeys(row["metric"] for row in rows)) == names
    values = comparison.results[0].evaluations[0].columns["brightness_error"]
    means = {(row["agent"], row["metric"], row["t"]): float(row["mean"]) for row in rows}
    assert means["raster", "brightness_error", "4"] == pytest.approx(values[:, 4].mean())
    assert means["raster", "worst_error", "4"] == pytest.approx(values[:, 4].max())

    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["main_metric"] == "brightness_error"
    final = summary["agents"]["raster"]["final"]
    assert final["brightness_error"]["mean"] == pytest.approx(values[:, 4].mean())
    assert final["worst_error"] == {"mean": pytest.approx(values[:, 4].max())}

    page = (tmp_path / "report.html").read_text()
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', page, re.S)[1])
    shown = {each["name"]: each for each in data["metrics"]}
    assert shown.keys() == set(names)
    assert shown["brightness_error"]["title"] == "error of brightness (per mille)"
    texts, curves = data["agents"][0]["texts"], data["agents"][0]["curves"]
    assert texts["brightness_error"][4].startswith(f"{1000 * values[:, 4].mean():.3f} (")
    assert texts["worst_error"][4] == f"{1000 * values[:, 4].max():.4f}"
    assert len(curves["brightness_error"]) == 3
    np.testing.assert_allclose(curves["worst_error"], [values.max(axis=0)], rtol=1e-3)


def test_the_best_agent_is_the_one_with_the_least_error(comparison):
    ends = [one.over_scenes["brightness_error"].mean[-1] for one in comparison.ranked()]
    assert ends == sorted(ends)
    gained = comparison.results[0].evaluations[0].returns()
    values = comparison.results[0].evaluations[0].columns["brightness_error"]
    np.testing.assert_allclose(gained, values[:, 0] - values[:, -1])


def test_tables_show_the_metrics_as_declared(comparison):
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_comparison(comparison, console)
    text = console.export_text()
    first = comparison.results[0]
    assert f"{1000 * first.over_scenes['brightness_error'].mean[4]:.3f}" in text
    assert f"{1000 * first.aggregates['worst_error'][0, 4]:.4f}" in text
    assert "error of brightness in per mille (lower is better)" in text
    assert "darkness" in text


def test_curves_have_its_title_and_limits(comparison, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "_save", lambda figure, path: drawn.append(figure))
    figures.draw_curves(comparison, tmp_path / "curves.png")
    (figure,) = drawn
    assert isinstance(figure, Figure)
    assert figure.axes[0].get_ylabel() == "error of brightness (per mille), lower is better"
    assert figure.axes[0].get_ylim() == (0, 500)


def test_a_task_that_calls_a_column_as_the_environment_does_is_refused(monkeypatch):
    env = tiny_vector_env(3, task=Brightness.name, autoreset_mode="DISABLED")
    monkeypatch.setattr(Brightness, "columns", ("brightness_error", "tokens"))
    with raises_naming(ValueError, [Brightness.name, "tokens"]):
        evaluate(make_agent("raster", env), env, progress=False)

"""The figures say what they show: scales, axes, chance, and which way is better."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import SETTINGS, MemoryScenes, tiny_encoder

from agents.evaluation.comparison import evaluate_agents
from agents.evaluation.config import EvaluationConfig
from agents.evaluation.gaze import gaze_of
from agents.reports import figures


def compare(agents, *, seamless=False, **settings):
    scenes = MemoryScenes()
    scenes.seamless = seamless
    settings = {"scenes": scenes, "encoder": tiny_encoder(), **SETTINGS, **settings}
    config = EvaluationConfig(num_envs=6, episodes=0, progress=False)
    return evaluate_agents(agents, "AVE-Synthetic-v0", settings, config)


@pytest.fixture
def drawn(monkeypatch):
    found = []
    monkeypatch.setattr(figures, "_save", lambda figure, path: found.append(figure))
    return found


def texts(labels):
    return [label.get_text() for label in labels]


@pytest.mark.parametrize("seamless", [True, False])
def test_every_map_of_the_gaze_has_a_scale_of_its_own_and_named_axes(drawn, tmp_path, seamless):
    comparison = compare(["random"], seamless=seamless)
    result = comparison.results[0]
    figures.draw_gaze(comparison, result, tmp_path / "gaze.png")
    whole, _bar, *maps = drawn[0].get_axes()
    shares = gaze_of(comparison, result).by_glimpse
    for axes, share in zip(maps, shares, strict=True):
        (image,) = axes.get_images()
        assert image.norm.vmin == 0
        assert image.norm.vmax == share.max()
        assert f"up to {share.max():.1%}" in axes.get_title(loc="left")
    (image,) = whole.get_images()
    assert (image.norm.vmin, image.norm.vmax) == (0, 1)
    if seamless:
        assert (whole.get_ylabel(), whole.get_xlabel()) == ("elevation", "azimuth")
        assert texts(whole.get_xticklabels()) == ["-180°", "-90°", "0°", "90°", "180°"]
        assert texts(maps[0].get_yticklabels()) == ["90°", "0°", "-90°"]
    else:
        assert (whole.get_ylabel(), whole.get_xlabel()) == ("y (pixels)", "x (pixels)")
        assert texts(whole.get_xticklabels()) == ["0", "48", "96"]
        assert texts(whole.get_yticklabels()) == ["0", "32", "64"]
    # The first row of patches is drawn at the top, and none is stretched.
    assert image.get_extent()[3] == whole.get_yticks()[0]
    rows, columns = image.get_array().shape
    box = whole.get_aspect() * abs(np.subtract(*image.get_extent()[2:]))
    assert box / abs(np.subtract(*image.get_extent()[:2])) == pytest.approx(rows / columns)


def test_curves_show_chance_and_the_bound_and_say_which_way_is_better(drawn, tmp_path):
    figures.draw_curves(compare(["raster", "oracle"]), tmp_path / "curves.png")
    figures.draw_curves(compare(["raster"], task="reconstruction"), tmp_path / "curves.png")
    accuracy, error = drawn
    for axes in accuracy.axes:
        lines = {line.get_label(): line for line in axes.get_lines()}
        assert lines["oracle (upper bound)"].get_linestyle() == "--"
        (chance,) = (line for line in lines.values() if line.get_linestyle() == ":")
        assert list(chance.get_ydata()) == [20, 20]  # of five classes
    assert "chance (20.0)" in texts(accuracy.legends[0].get_texts())
    assert accuracy.axes[0].get_ylabel() == "accuracy (%), higher is better"
    assert error.axes[0].get_ylabel() == "RMSE (grey levels), lower is better"
    assert not any(line.get_linestyle() == ":" for line in error.axes[0].get_lines())

"""The picture of spectra and variances: what layers smooth away, and where they do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from encoders.support.files import replacing
from observation.picture import COLOURS
from observation.settings import MODELS


def draw_spectra(rows: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """Draws means over seeds, a line for every model that has maps.

    Left: log amplitude at the highest frequency that a map holds, relative to frequency zero, after
    every layer. Right: variance over positions. Layers are shares of a model's depth; maps become
    smaller on the way where a model has stages (a ring where one begins).
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    for model in MODELS:
        own = [row for row in rows if row["model"] == model]
        if not own:
            continue
        layers = sorted({row["layer"] for row in own})
        depth = np.linspace(0, 1, len(layers))
        by_layer = [[row for row in own if row["layer"] == layer] for layer in layers]
        heights = [few[0]["height"] for few in by_layer]
        begins = [n for n in range(1, len(heights)) if heights[n] != heights[n - 1]]
        values = {
            left: [_highest(few) for few in by_layer],
            right: [_mean(few, "variance") for few in by_layer],
        }
        for axis, each in values.items():
            axis.plot(depth, each, color=COLOURS[model], marker=".", label=model)
            axis.plot(
                depth[begins], np.take(each, begins), "o", color=COLOURS[model], fillstyle="none"
            )
    left.set_ylabel("log amplitude at the highest frequency")
    right.set_ylabel("variance over positions")
    right.set_yscale("log")
    for axis in (left, right):
        axis.set_xlabel("share of the layers")
        axis.grid(alpha=0.3)
    right.legend(frameon=False)
    figure.suptitle(title, fontsize=10)
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=110)
    plt.close(figure)


def _highest(rows: Sequence[Mapping[str, Any]]) -> float:
    """Log amplitude at the highest frequency; NaN of maps that hold none but zero."""
    highest = max(row["frequency"] for row in rows)
    if not highest:
        return math.nan
    return _mean([row for row in rows if row["frequency"] == highest], "log_amplitude")


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))

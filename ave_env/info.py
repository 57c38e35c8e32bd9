"""What `info` holds, and Gymnasium's layouts of it for one environment and for many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ave_env.episodes import FLOP_PARTS, Episodes
from ave_env.sensors.base import FiniteSensor, Sensor


def fields(episodes: Episodes, sensor: Sensor, logits: np.ndarray | None) -> dict[str, np.ndarray]:
    """What every environment says of every row, whatever its task: new arrays `[N, ...]`.

    Args:
        episodes: The state of all rows.
        sensor: What a glimpse is.
        logits: The belief about classes, `[N, C]`; None where there is none.
    """
    unknown = np.full(len(episodes.labels), -1)
    prediction = unknown if logits is None else logits.argmax(axis=1)
    found: dict[str, np.ndarray] = {
        "scene_id": episodes.scene_ids.copy(),
        "label": episodes.labels.copy(),
        "step": episodes.steps.copy(),
        "glimpse_box": episodes.boxes.copy(),
        "coverage": episodes.num_seen / (sensor.grid[0] * sensor.grid[1]),
        "tokens": episodes.tokens.copy(),
    }
    if isinstance(sensor, FiniteSensor):
        found["action_mask"] = sensor.reveals(episodes.visited)
    found["flops"] = episodes.flops.sum(axis=0)
    found["flops_total"] = episodes.flops_total.copy()
    for part, flops in zip(FLOP_PARTS, episodes.flops.copy(), strict=True):
        found[f"flops_{part}"] = flops
    found["flops_without_recycling"] = episodes.flops_without_recycling.copy()
    found["prediction"] = prediction
    found["is_success"] = episodes.ended & (prediction == episodes.labels)
    return found


def with_masks(fields: Mapping[str, np.ndarray], rows: np.ndarray | None = None) -> dict[str, Any]:
    """Adds to every key the mask `_key` of the rows it holds for.

    Args:
        fields: Arrays with one row per environment, which the result takes over.
        rows: bool `[N]`, rows that have this information; the others are set to zero. None = all.
    """
    num_rows = len(next(iter(fields.values())))
    masks = np.ones((len(fields), num_rows), np.bool_)
    if rows is not None:
        masks[:] = rows
        for values in fields.values():
            values[~rows] = 0
    info: dict[str, Any] = {}
    for mask, (key, values) in zip(masks, fields.items(), strict=True):
        info[key] = values
        info[f"_{key}"] = mask
    return info


def final(
    observation: Mapping[str, np.ndarray], fields: Mapping[str, np.ndarray], rows: np.ndarray
) -> dict[str, Any]:
    """What a step that ends and restarts rows says about their ends.

    Args:
        observation: Last observation of every row; the result holds views of it.
        fields: Last information of every row.
        rows: bool `[N]`, rows that ended.

    Returns:
        `final_obs` (an array of one observation or None per row), `final_info` and their masks.
    """
    observations = np.full(len(rows), None, dtype=object)
    for row in np.flatnonzero(rows):
        observations[row] = {key: values[row] for key, values in observation.items()}
    return {
        "final_obs": observations,
        "_final_obs": rows.copy(),
        "final_info": with_masks(fields, rows),
        "_final_info": rows.copy(),
    }


def of_single(info: Mapping[str, Any]) -> dict[str, Any]:
    """The information of a vector environment's only row: Python scalars and arrays."""
    return {
        key: values.item() if values.ndim == 1 else values[0]
        for key, values in info.items()
        if not key.startswith("_")
    }

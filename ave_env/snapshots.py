"""From the state of an episode to what its picture shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ave_env.episodes import Episodes
from ave_env.rendering import Snapshot
from ave_env.scenes import Scenes
from ave_env.tasks.classification import log_softmax
from ave_env.tasks.reconstruction import root_mean_squared_error

if TYPE_CHECKING:
    from ave_env.observer import Observer


def take_snapshot(
    episodes: Episodes,
    row: int,
    *,
    belief: Mapping[str, np.ndarray],
    observer: Observer | None,
    scenes: Scenes,
) -> Snapshot:
    """Collects what a picture of one row shows.

    Args:
        episodes: The state of all rows.
        row: Which of them.
        belief: Parts of the belief of all rows, by name.
        observer: The encoder behind the belief, if any.
        scenes: Where the scene comes from.
    """
    steps, num_glimpses = int(episodes.steps[row]), episodes.num_glimpses
    optional: dict[str, Any] = {}
    if observer is not None:
        optional = {
            "flops_total": int(episodes.flops_total[row]),
            "flops_step": int(episodes.flops[:, row].sum()),
            "flops_without_recycling": int(episodes.flops_without_recycling_total[row]),
            "flops_limit": observer.flops_limit(num_glimpses),
            "trained_head": observer.trained_head,
        }
        optional |= {name: maps[row].copy() for name, maps in observer.reduced.items()}
    one = slice(row, row + 1)
    if "entropy" in belief:
        optional["entropy"] = belief["entropy"][row].copy()
    if "reconstruction" in belief:
        optional["reconstruction"] = belief["reconstruction"][row].copy()
        errors = root_mean_squared_error(belief["reconstruction"][one], episodes.images[one])
        optional["rmse"] = float(errors[0])
    if "logits" in belief:
        optional["probabilities"] = np.exp(log_softmax(belief["logits"][one]))[0].astype(np.float32)
    return Snapshot(
        scene=episodes.images[row].copy(),
        visited=episodes.visited[row].copy(),
        boxes=episodes.path[row, :steps].copy(),
        num_glimpses=num_glimpses,
        class_names=tuple(scenes.display_names),
        label=int(episodes.labels[row]),
        title=f"{scenes.name}, {scenes.split}, scene {episodes.scene_ids[row]}",
        reward=float(episodes.rewards[row]) if steps and observer is not None else None,
        **optional,
    )

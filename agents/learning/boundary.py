"""Where an environment stands between two stretches, when every episode has just begun."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ave_env.vector import ActiveExplorationVectorEnv


def environment_state(env: ActiveExplorationVectorEnv) -> dict[str, Any]:
    """Scenes and generators of all rows, as tensors and plain data for `torch.save`."""
    return {
        "scene_ids": torch.from_numpy(env.scene_ids.copy()),
        "row_generators": [generator.bit_generator.state for generator in env.np_random],
    }


def restore_environment(
    env: ActiveExplorationVectorEnv, state: dict[str, Any], source: str
) -> dict[str, np.ndarray]:
    """Begins the same episodes again, and draws the same scenes after them.

    Args:
        env: As many rows as before.
        state: What `environment_state` returned, maybe among other things.
        source: Where it was read, for the error.

    Returns:
        What the rows see.

    Raises:
        ValueError: Another number of rows.
    """
    rows = len(state["scene_ids"])
    if rows != env.num_envs:
        raise ValueError(
            f"{source}: saved with {rows} rows, the environment has {env.num_envs}; "
            f"pass --n-envs {rows}"
        )
    observation, _ = env.reset(options={"scene_id": state["scene_ids"].numpy()})
    for generator, saved in zip(env.np_random, state["row_generators"], strict=True):
        generator.bit_generator.state = saved
    return observation

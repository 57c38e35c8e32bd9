"""The table of environment ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym

if TYPE_CHECKING:
    from ave_env.configuration import Configuration

ENTRY_POINT = "ave_env.env:ActiveExplorationEnv"
VECTOR_ENTRY_POINT = "ave_env.vector:ActiveExplorationVectorEnv"

# What an id says that `Configuration` does not already default to; lists, because EnvSpec is JSON.
ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "AVE-Synthetic-v0": {"scenes": "synthetic"},
    "AVE-SUN360-v0": {"scenes": "sun360"},
    "AVE-ImageNet-v0": {"scenes": "imagenet", "image_size": [224, 224], "num_glimpses": 14},
    "AVE-ImageFolder-v0": {"scenes": "imagefolder"},
    "AVE-Panoramas-v0": {"scenes": "panoramas", "task": "reconstruction", "observe": ["latent"]},
}


def register_envs() -> None:
    """Adds the ids to Gymnasium's registry; calling it again changes nothing."""
    for env_id, kwargs in ENVIRONMENTS.items():
        if env_id not in gym.registry:
            gym.register(
                env_id,
                entry_point=ENTRY_POINT,
                vector_entry_point=VECTOR_ENTRY_POINT,
                kwargs=kwargs,
            )


def configure(env_id: str, **overrides: Any) -> Configuration:
    """The configuration an id stands for, without making the environment.

    Args:
        env_id: A registered id.
        **overrides: Keyword arguments as for `gymnasium.make`; None leaves the id's own value.

    Raises:
        gymnasium.error.Error: An unknown id.
        ValueError: An id of another package.
    """
    from ave_env.configuration import Configuration

    spec = gym.spec(env_id)
    if spec.entry_point != ENTRY_POINT:
        raise ValueError(f"{env_id!r} is not one of {', '.join(ENVIRONMENTS)}")
    given = {name: value for name, value in overrides.items() if value is not None}
    return Configuration.from_keywords({**spec.kwargs, **given})

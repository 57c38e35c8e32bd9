"""The loop that every exploration is: reset, look, ask the agent, step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from agents.base import Agent, Observation
from ave_env.vector import ActiveExplorationVectorEnv


def explore(
    agent: Agent,
    env: ActiveExplorationVectorEnv,
    scene_ids: np.ndarray,
    *,
    deterministic: bool = True,
    taken: list[np.ndarray] | None = None,
) -> Iterator[tuple[int, Observation, dict[str, Any]]]:
    """Lets an agent explore some scenes at once, one episode each, glimpse by glimpse.

    The next glimpse is chosen when the next item is asked for: whoever asks for no more after t
    glimpses spends nothing on another one.

    Args:
        agent: Made for `env`.
        env: With autoreset DISABLED.
        scene_ids: Numbers of at most `env.num_envs` scenes, int64 `[n]`, at least one. Rows beyond
            explore the same scenes again.
        deterministic: Take the agent's best actions instead of sampling.
        taken: Receives the actions of every glimpse, `[num_envs, ...]`, in the order of t.

    Yields:
        The number of glimpses t = 0..T taken so far, and the observation and information after it.
    """
    rows = np.resize(scene_ids, env.num_envs)
    observation, info = env.reset(options={"scene_id": rows})
    yield 0, observation, info
    state, begins = None, np.ones(env.num_envs, np.bool_)
    for t in range(1, env.num_glimpses + 1):
        actions, state = agent.predict(observation, state, begins, deterministic=deterministic)
        if taken is not None:
            taken.append(actions)
        observation, _, _, _, info = env.step(actions)
        begins = np.zeros_like(begins)
        yield t, observation, info

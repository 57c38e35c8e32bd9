"""The loop that every exploration is: reset, look, ask the agent, step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from agents.base import Agent, Observation
from ave_env.episodes import FLOP_PARTS
from ave_env.vector import ActiveExplorationVectorEnv

_OF_ONE_STEP = ("flops", *(f"flops_{part}" for part in FLOP_PARTS), "flops_without_recycling")


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
        What has seen everything and stops then (`stop_when_all_seen`) stays as it is up to T.
    """
    rows = np.resize(scene_ids, env.num_envs)
    observation, info = env.reset(options={"scene_id": rows})
    yield 0, observation, info
    state, begins = None, np.ones(env.num_envs, np.bool_)
    ended = False
    for t in range(1, env.num_glimpses + 1):
        if not ended:
            actions, state = agent.predict(observation, state, begins, deterministic=deterministic)
            if taken is not None:
                taken.append(actions)
            observation, _, terminations, _, info = env.step(actions)
            begins, ended = np.zeros_like(begins), bool(terminations.all())
        else:  # what does not happen costs nothing
            info = {**info, **{name: 0 * info[name] for name in info if name in _OF_ONE_STEP}}
        yield t, observation, info

"""Agents by name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gymnasium as gym

from agents.attention_entropy import AttentionEntropyAgent, NormalisedAttentionEntropyAgent
from agents.base import Agent
from agents.fixed import CenterOutAgent, CheckerboardAgent, RandomAgent, RasterAgent
from agents.oracle import OracleAgent
from agents.ppo import AGENT_FILE, PpoAgent

_AGENTS: dict[str, type[Agent]] = {
    agent.name: agent
    for agent in (
        RandomAgent,
        CheckerboardAgent,
        RasterAgent,
        CenterOutAgent,
        AttentionEntropyAgent,
        NormalisedAttentionEntropyAgent,
        OracleAgent,
    )
}


def list_agents() -> list[str]:
    """Names that need no file."""
    return list(_AGENTS)


def agent_class(name: str | os.PathLike[str]) -> type[Agent]:
    """The class behind a name or a run folder.

    Raises:
        ValueError: Neither a known name nor the run folder of a trained agent.
    """
    if str(name) in _AGENTS:
        return _AGENTS[str(name)]
    if Path(name, AGENT_FILE).is_file():
        return PpoAgent
    if str(name) == PpoAgent.name:
        raise ValueError(
            "agent 'ppo' is a trained one: give the run folder that train_agent.py made"
        )
    raise ValueError(
        f"no agent {str(name)!r}: expected one of {', '.join(_AGENTS)}, or a run folder with "
        f"{AGENT_FILE}"
    )


def make_agent(
    name: str | os.PathLike[str], env: gym.Env | gym.vector.VectorEnv, **kwargs: Any
) -> Agent:
    """Makes an agent for an environment.

    Args:
        name: One of `list_agents()`, the run folder of a trained agent, or "ppo" with `folder=`.
        env: The environment it will act in.
        **kwargs: Arguments of the agent, e.g. `seed`.

    Raises:
        ValueError: An unknown name, or an environment that lacks what the agent looks at.
    """
    if str(name) == PpoAgent.name and "folder" in kwargs:
        return PpoAgent(env, **kwargs)
    kind = agent_class(name)
    if issubclass(kind, PpoAgent):
        return kind(env, folder=name, **kwargs)
    return kind(env, **kwargs)


def required_observables(names: Iterable[str | os.PathLike[str]]) -> tuple[str, ...]:
    """What an environment must observe for all of some agents."""
    return tuple(dict.fromkeys(key for name in names for key in agent_class(name).required))

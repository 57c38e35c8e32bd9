"""Agents by name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gymnasium as gym

from agents.base import Agent
from agents.learning.ppo.learner import AGENT_FILE, PpoAgent
from agents.policies.attention_entropy import AttentionEntropyAgent, NormalisedAttentionEntropyAgent
from agents.policies.fixed import CenterOutAgent, CheckerboardAgent, RandomAgent, RasterAgent
from agents.policies.oracle import OracleAgent

_SHIPPED = Path(__file__).parent / "pretrained" / PpoAgent.name

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
    """Names of the agents that were not trained, and so are not bound to one encoder."""
    return list(_AGENTS)


def trained_folder(name: str | os.PathLike[str]) -> Path | None:
    """Where a trained agent is: the shipped one for "ppo", otherwise a run folder.

    Returns:
        A folder with `agent.json`; None where `name` is no trained agent.
    """
    folder = _SHIPPED if str(name) == PpoAgent.name else Path(name)
    return folder if (folder / AGENT_FILE).is_file() else None


def agent_class(name: str | os.PathLike[str]) -> type[Agent]:
    """The class behind a name or a run folder.

    Raises:
        ValueError: Neither a known name nor the run folder of a trained agent.
    """
    if str(name) in _AGENTS:
        return _AGENTS[str(name)]
    if trained_folder(name) is not None:
        return PpoAgent
    raise ValueError(
        f"no agent {str(name)!r}: expected one of {', '.join(_AGENTS)}, {PpoAgent.name}, or a run "
        f"folder with {AGENT_FILE}"
    )


def make_agent(
    name: str | os.PathLike[str], env: gym.Env | gym.vector.VectorEnv, **kwargs: Any
) -> Agent:
    """Makes an agent for an environment.

    Args:
        name: One of `list_agents()`, the run folder of a trained agent, or "ppo": the agent of
            `folder=`, without which it is the shipped one (for `tore-nano`, see
            `agents/pretrained/ppo/README.md`).
        env: The environment it will act in.
        **kwargs: Arguments of the agent, e.g. `seed`.

    Raises:
        ValueError: An unknown name, or an environment that lacks what the agent looks at.
    """
    if (folder := trained_folder(name)) is not None:
        return PpoAgent(env, **{"folder": folder, **kwargs})
    return agent_class(name)(env, **kwargs)


def required_observables(names: Iterable[str | os.PathLike[str]]) -> tuple[str, ...]:
    """What an environment must observe for all of some agents."""
    return tuple(dict.fromkeys(key for name in names for key in agent_class(name).required))

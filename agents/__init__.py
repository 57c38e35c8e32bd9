"""Who chooses the next glimpse: fixed orders, attention-map entropy, PPO, an oracle.

Names are imported on first use, so that command lines can be parsed without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.base import Agent
    from agents.registry import list_agents, make_agent, required_observables
    from agents.sb3 import GlimpseVecEnv

_HOMES = {
    "Agent": "base",
    "GlimpseVecEnv": "sb3",
    "list_agents": "registry",
    "make_agent": "registry",
    "required_observables": "registry",
}

__all__ = ["Agent", "GlimpseVecEnv", "list_agents", "make_agent", "required_observables"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'agents' has no attribute {name!r}")
    return getattr(importlib.import_module(f"agents.{_HOMES[name]}"), name)

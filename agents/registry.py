"""The tables of agents and of learners: names only, nothing is imported before it is used.

An *agent* entry is a class that chooses glimpses without having learnt to; a *learner* entry is a
class that learns to, and reads back what it wrote: the run folder of a trained agent names its
learner in `agent.json`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.learning.record import AGENT_FILE, read_agent
from encoders.support.registry import Registry

if TYPE_CHECKING:
    import gymnasium as gym

    from agents.base import Agent
    from agents.learning.learner import Learner


_SHIPPED = Path(__file__).parent / "pretrained"

AGENTS: Registry[type[Agent]] = Registry(
    "agent",
    "agents.agents",
    {
        "random": "agents.policies.fixed:RandomAgent",
        "checkerboard": "agents.policies.fixed:CheckerboardAgent",
        "raster": "agents.policies.fixed:RasterAgent",
        "center_out": "agents.policies.fixed:CenterOutAgent",
        "ame": "agents.policies.attention_entropy:AttentionEntropyAgent",
        "ame_normalised": "agents.policies.attention_entropy:NormalisedAttentionEntropyAgent",
        "oracle": "agents.policies.oracle:OracleAgent",
    },
)
LEARNERS: Registry[type[Learner]] = Registry(
    "learner", "agents.learners", {"ppo": "agents.learning.ppo.learner:PpoLearner"}
)

register_agent = AGENTS.register
register_learner = LEARNERS.register


def list_agents() -> list[str]:
    """Names of the agents that were not trained, and so are not bound to one encoder."""
    return AGENTS.names()


def trained_folder(name: str | os.PathLike[str]) -> Path | None:
    """Where a trained agent is: the shipped one of a learner's name, otherwise a run folder.

    Returns:
        A folder with `agent.json`; None where `name` is no trained agent.
    """
    folder = _SHIPPED / str(name) if str(name) in LEARNERS else Path(name)
    return folder if (folder / AGENT_FILE).is_file() else None


def learner_of(folder: str | os.PathLike[str]) -> type[Learner]:
    """The learner that wrote a run folder, and reads it back.

    Raises:
        FileNotFoundError: The folder holds no agent.
        ValueError: Its learner is not known here.
    """
    description = read_agent(folder)
    try:
        return LEARNERS.resolve(str(description["agent"]))
    except ValueError as error:
        raise ValueError(f"{Path(folder) / AGENT_FILE}: {error}") from error


def agent_class(name: str | os.PathLike[str] | type[Agent]) -> type[Agent]:
    """The class behind a name, a run folder, or itself.

    Raises:
        ValueError: Neither a known name nor the run folder of a trained agent.
    """
    if isinstance(name, type):
        return name
    if (folder := trained_folder(name)) is not None:
        return learner_of(folder).agent_class
    if AGENTS.knows(str(name)):
        return AGENTS.resolve(str(name))
    known = [*AGENTS, *LEARNERS]
    close = difflib.get_close_matches(str(name), known, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise ValueError(
        f"no agent {str(name)!r}{hint}: expected one of {', '.join(known)}, the place of one's own "
        f"as package.module:name, or a run folder with {AGENT_FILE}"
    )


def make_agent(
    name: str | os.PathLike[str] | type[Agent],
    env: gym.Env | gym.vector.VectorEnv,
    **kwargs: Any,
) -> Agent:
    """Makes an agent for an environment.

    Args:
        name: One of `list_agents()`, `package.module:name`, a class of agents, the run folder of a
            trained agent, or a learner's name, e.g. "ppo": the agent of `folder=`, without which it
            is the shipped one (for `tore-nano`, see `agents/pretrained/ppo/README.md`).
        env: The environment it will act in.
        **kwargs: Arguments of the agent, e.g. `seed`.

    Raises:
        ValueError: An unknown name, or an environment that lacks what the agent looks at.
    """
    if not isinstance(name, type) and str(name) in LEARNERS and "folder" in kwargs:
        return LEARNERS.resolve(str(name)).load(kwargs.pop("folder"), env, **kwargs)
    if not isinstance(name, type) and (folder := trained_folder(name)) is not None:
        return learner_of(folder).load(folder, env, **kwargs)
    return agent_class(name)(env, **kwargs)


def required_observables(
    names: Iterable[str | os.PathLike[str] | type[Agent]],
) -> tuple[str, ...]:
    """What an environment must observe for all of some agents."""
    return tuple(dict.fromkeys(key for name in names for key in agent_class(name).required))

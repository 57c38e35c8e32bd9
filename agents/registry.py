"""The tables of agents and of learners: names only, nothing is imported before it is used.

An *agent* entry is a class that chooses glimpses without having learnt to; a *learner* entry is a
class that learns to, and reads back what it wrote: the run folder of a trained agent names its
learner in `agent.json`.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from agents.learning.record import AGENT_FILE, read_agent
from encoders.support.registry import Registry
from encoders.support.validation import did_you_mean

if TYPE_CHECKING:
    import gymnasium as gym

    from agents.base import Agent
    from agents.learning.learner import Learner


# What stands for an agent: a name, a place, a run folder, a class, or an agent that was made.
AgentSource: TypeAlias = Union[str, os.PathLike[str], "type[Agent]", "Agent"]

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
        "regions": "agents.policies.regions:RegionsAgent",
        "oracle": "agents.policies.oracle:OracleAgent",
        "oracle_unlabelled": "agents.policies.oracle:UnlabelledOracleAgent",
    },
)
LEARNERS: Registry[type[Learner]] = Registry(
    "learner",
    "agents.learners",
    {
        "ppo": "agents.learning.ppo.learner:PpoLearner",
        "guided": "agents.learning.guided.learner:GuidedLearner",
    },
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


def agent_class(name: AgentSource) -> type[Agent]:
    """The class behind a name, a run folder or an agent, or itself.

    Raises:
        TypeError: Something that is no agent.
        ValueError: Neither a known name nor the run folder of a trained agent.
    """
    if not isinstance(name, str | os.PathLike):
        kind = name if isinstance(name, type) else type(name)
        return _checked_class(kind, name)
    if (folder := trained_folder(name)) is not None:
        return learner_of(folder).agent_class
    if AGENTS.knows(str(name)):
        return _checked_class(AGENTS.resolve(str(name)), name)
    raise ValueError(_why_unknown(str(name)))


def make_agent(
    name: AgentSource,
    env: gym.Env | gym.vector.VectorEnv,
    *,
    allow_other_encoder: bool = False,
    **kwargs: Any,
) -> Agent:
    """Makes an agent for an environment.

    Args:
        name: One of `list_agents()`, `package.module:name`, a class of agents, the run folder of a
            trained agent, or a learner's name, e.g. "ppo": the agent of `folder=`, without which it
            is the shipped one (for `tore-nano`, see `agents/pretrained/ppo/README.md`). Of an agent
            that was made for another environment, the same for this one.
        env: The environment it will act in.
        allow_other_encoder: Let a trained agent act with another encoder, or other options of it
            (TORE's K), than it was trained with, where its weights fit; its `differences` tell.
        **kwargs: Arguments of the agent, e.g. `seed`.

    Raises:
        TypeError: Something that is no agent.
        ValueError: An unknown name, or an environment that lacks what the agent looks at.
    """
    if isinstance(name, str | os.PathLike):
        folder = trained_folder(name)
        if str(name) in LEARNERS and "folder" in kwargs:
            learner, folder = LEARNERS.resolve(str(name)), kwargs.pop("folder")
        elif folder is not None:
            learner = learner_of(folder)
        if folder is not None:
            # A learner that takes any encoder has nothing to allow.
            takes = inspect.signature(learner.load).parameters
            if allow_other_encoder and "allow_other_encoder" in takes:
                kwargs["allow_other_encoder"] = True
            return learner.load(folder, env, **kwargs)
    kind = agent_class(name)
    if not isinstance(name, str | os.PathLike | type):
        return name.for_env(env, **{"seed": 0, **kwargs})
    return kind(env, **kwargs)


def _checked_class(kind: Any, source: Any) -> type[Agent]:
    """The class, if it is one of agents; says what is missing of one that is not."""
    lacking = [each for each in ("name", "required", "choose") if not hasattr(kind, each)]
    if lacking or not isinstance(kind, type):
        raise TypeError(
            f"{source!r} is no agent: expected a name, a subclass of agents.Agent with a name and "
            "choose(observation, deterministic), or one that was made"
        )
    return kind


def _why_unknown(name: str) -> str:
    """What is wrong with a name of which nothing is known: a folder, or a misspelt name."""
    known = [*AGENTS, *LEARNERS]
    path = Path(name)
    if path.is_dir():
        held = (
            "it holds an encoder: pass it with --encoder"
            if _holds_encoder(path)
            else ("expected the run folder of a trained agent")
        )
        return f"no agent in the folder {name}: no {AGENT_FILE}; {held}"
    if path.is_file():
        return f"{name} is a file; expected the run folder of a trained agent, with {AGENT_FILE}"
    if len(path.parts) > 1 or name.startswith((".", "~")):
        return f"no such folder: {name}; expected the run folder of a trained agent"
    return (
        f"no agent {name!r}{did_you_mean(name, known)}: expected one of {', '.join(known)}, the "
        f"place of one's own as package.module:name, or a run folder with {AGENT_FILE}"
    )


def _holds_encoder(folder: Path) -> bool:
    return (folder / "config.json").is_file() and (folder / "model.safetensors").is_file()


def required_observables(names: Iterable[AgentSource]) -> tuple[str, ...]:
    """What an environment must observe for all of some agents."""
    return tuple(dict.fromkeys(key for name in names for key in agent_class(name).required))

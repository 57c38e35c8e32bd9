"""What the agents of a comparison are called, and where they come from."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from agents.hub import at_hand
from agents.registry import AgentSource, agent_class


def label_agents(
    agents: Mapping[str, AgentSource] | Iterable[AgentSource],
) -> dict[str, AgentSource]:
    """Agents by the labels that results show: the shortest names that tell them apart.

    Args:
        agents: Names, run folders, repositories of the hub (`user/name`), classes or agents that
            were made; the labels of a mapping are left as they are.

    Returns:
        By label what `agents.make_agent` takes: of an agent on the hub the folder it is in now.

    Raises:
        TypeError: Something that is no agent, or one alone.
        ValueError: No agents, the same one twice, or an unknown name.
    """
    if isinstance(agents, str | os.PathLike):
        raise TypeError(f"agents={agents!r}; expected several, e.g. [{str(agents)!r}]")
    if isinstance(agents, Mapping):
        return {label: at_hand(source) for label, source in agents.items()}
    sources = list(agents)
    if not sources:
        raise ValueError("no agents given")
    for at, source in enumerate(sources):
        if any(_is_same(source, other) for other in sources[:at]):
            raise ValueError(f"an agent is given twice: {' '.join(map(place_of, sources))}")
    # The shortest names that tell them apart: several trained agents go by their folders.
    found = [at_hand(source) for source in sources]
    labels = [agent_class(source).name for source in found]
    for longer in (lambda path: path.name, lambda path: "-".join(path.parts[-3:])):
        labels = [
            longer(Path(source))
            if labels.count(label) > 1 and isinstance(source, str | os.PathLike)
            else label
            for label, source in zip(labels, sources, strict=True)
        ]
    # Agents of one class that differ in what nobody but their maker knows are numbered.
    repeated = {label: itertools.count(1) for label in labels if labels.count(label) > 1}
    labels = [
        f"{label}-{next(repeated[label])}" if label in repeated else label for label in labels
    ]
    if len(set(labels)) != len(labels):
        raise ValueError(
            f"agents of the same name: {' '.join(labels)}; pass a mapping of names to agents"
        )
    return dict(zip(labels, found, strict=True))


def _is_same(one: AgentSource, other: AgentSource) -> bool:
    if isinstance(one, str | os.PathLike) and isinstance(other, str | os.PathLike):
        return os.fspath(one) == os.fspath(other)
    return one is other


def place_of(source: AgentSource) -> str:
    """What says where an agent comes from: its name, folder, or module:name."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    kind = source if isinstance(source, type) else type(source)
    return f"{kind.__module__}:{kind.__qualname__}"

"""`agent.json`: what a trained agent is; imports neither torch nor NumPy."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ave_env.configuration import Configuration

AGENT_FILE = "agent.json"

# What of an environment is chosen anew by everybody who uses a trained agent, and what `agent.json`
# holds beside it.
_NOT_THE_AGENTS = {
    *("split", "seed", "scenes", "observe"),
    *("cache_bytes", "device", "precision", "threads"),
}
_NOTED_ELSEWHERE = {"encoder_options", "split_block"}


def read_agent(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The description in `agent.json`.

    Its `agent` is the name of the learner that reads the folder back, `environment` what it was
    trained in. The others are the learner's own.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A file that is no such description.
    """
    path = Path(folder) / AGENT_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder}: no {AGENT_FILE}; expected the run folder of a trained agent"
        )
    try:
        description = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: no JSON: {error}") from error
    if not isinstance(description, dict) or "agent" not in description:
        raise ValueError(f"{path}: names no 'agent'; expected the description of a trained one")
    return description


def describe_environment(
    configuration: Configuration, scenes_name: str, env_id: str | None = None
) -> dict[str, Any]:
    """All that an agent needs to know of the environment it was trained in, of plain JSON types.

    Paths are written so that they hold from any folder.

    Args:
        configuration: Of the environment.
        scenes_name: What its scenes are called.
        env_id: Its id, where it has one.

    Returns:
        Keyword arguments of the environment by name, with "scenes" and, where known, "id".
    """
    names = (field.name for field in dataclasses.fields(configuration))
    noted = [name for name in names if name not in _NOT_THE_AGENTS | _NOTED_ELSEWHERE]
    values = {name: getattr(configuration, name) for name in noted}
    for name in ("data_root", "list_file", "encoder"):
        values[name] = _absolute(values[name])
    described = {"scenes": scenes_name, **values}
    if env_id is not None:
        described["id"] = env_id
    plain: dict[str, Any] = json.loads(json.dumps(described, default=str))
    return plain


def _absolute(source: Any) -> str | None:
    """A name as it is, a path so that it holds from any folder; None for what has neither."""
    if not isinstance(source, str | os.PathLike):
        return None
    return str(Path(source).resolve()) if Path(source).exists() else str(source)


def trained_options(description: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the encoder's family that an agent was trained with."""
    if "encoder_options" in description:
        return dict(description["encoder_options"])
    return {"split_block": description["split_block"]}  # as the first agents were described

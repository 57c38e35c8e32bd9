"""`agent.json`: what a trained agent is; imports neither torch nor NumPy."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

AGENT_FILE = "agent.json"


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


def trained_options(description: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the encoder's family that an agent was trained with."""
    if "encoder_options" in description:
        return dict(description["encoder_options"])
    return {"split_block": description["split_block"]}  # as the first agents were described

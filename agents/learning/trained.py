"""Agents that come from a folder, and go to others: saved elsewhere, pushed to the hub."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Self

import gymnasium as gym

from agents.base import Agent
from agents.learning.record import AGENT_FILE, read_agent
from encoders.support.files import write_text

CARD_FILE = "README.md"
_LIBRARY = "active-visual-exploration"


class TrainedAgent(Agent):
    """An agent that a learner has made and saved.

    Args:
        env: An environment like the one it was trained in.
        folder: With `agent.json` and the weights.
        seed: Of the agent's own choices.

    Attributes:
        env: The environment it was made for.
        files: What its folder holds of it, `agent.json` first.
        folder: Where it came from.
        description: What `agent.json` says.

    Raises:
        FileNotFoundError: The folder holds no agent.
    """

    files: ClassVar[tuple[str, ...]] = (AGENT_FILE,)

    def __init__(
        self,
        env: gym.Env | gym.vector.VectorEnv,
        folder: str | os.PathLike[str],
        seed: int = 0,
    ) -> None:
        super().__init__(env, seed)
        self.env = env
        self.folder = Path(folder)
        self.description = read_agent(folder)

    def for_env(self, env: gym.Env | gym.vector.VectorEnv, seed: int) -> Self:
        """The same agent in another environment."""
        agent = super().for_env(env, seed)
        agent.env = env
        return agent

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        env: gym.Env | gym.vector.VectorEnv | None = None,
        *,
        seed: int = 0,
        **download: Any,
    ) -> Self:
        """Opens an agent of this class; see `agents.load_agent`.

        Raises:
            ValueError: There is no such agent, or it is of another class.
        """
        from agents.hub import load_agent

        agent = load_agent(source, env, seed=seed, **download)
        if not isinstance(agent, cls):
            raise ValueError(f"{source}: a {type(agent).__name__}, not a {cls.__name__}")
        return agent

    def save_pretrained(
        self, folder: str | os.PathLike[str], *, encoder: str | None = None
    ) -> Path:
        """Writes the agent, without the rest of its run folder, for others to use.

        Paths of this machine are left out of `agent.json`; a model card is written beside it.

        Args:
            folder: Where the files go; made if missing.
            encoder: What others call the encoder, where theirs is not the name noted in training.

        Returns:
            The folder.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        for name in self.files:
            if name != AGENT_FILE:
                shutil.copyfile(self.folder / name, target / name)
        description = _without_paths(self.description)
        if encoder is not None:
            description["environment"]["encoder"] = encoder
        # In the order it was written in: a person reads it.
        write_text(target / AGENT_FILE, json.dumps(description, indent=2) + "\n")
        if not (target / CARD_FILE).exists():
            write_text(target / CARD_FILE, _card(description))
        return target

    def push_to_hub(
        self,
        repo_id: str,
        *,
        encoder: str | None = None,
        private: bool = False,
        revision: str | None = None,
        commit_message: str = "Upload the agent",
        token: str | bool | None = None,
    ) -> str:
        """Uploads what `save_pretrained` writes to the Hugging Face Hub.

        Args:
            repo_id: `user/name`; made if missing.
            encoder: As for `save_pretrained`.
            private: Whether a new repository is for its owner alone.
            revision: Branch to commit to; None = the main one.
            commit_message: Of the commit.
            token: Of the account; None = the one of `huggingface-cli login`.

        Returns:
            Address of the commit.

        Raises:
            ValueError: The hub does not take it, e.g. for want of a token.
        """
        from encoders.hub import upload_folder

        with tempfile.TemporaryDirectory() as folder:
            return upload_folder(
                self.save_pretrained(folder, encoder=encoder),
                repo_id,
                private=private,
                revision=revision,
                commit_message=commit_message,
                token=token,
            )


def _without_paths(description: dict[str, Any]) -> dict[str, Any]:
    """A copy that says nothing of the machine it was trained on."""
    environment = dict(description["environment"])
    for name in ("data_root", "list_file", "encoder"):
        value = environment.get(name)
        if value is not None and (Path(value).is_absolute() or Path(value).exists()):
            environment[name] = None
    cleaned = {**description, "environment": environment}
    if (origin := cleaned.get("init_from")) is not None:
        cleaned["init_from"] = {**origin, "agent": Path(origin["agent"]).name}
    return cleaned


def _card(description: dict[str, Any]) -> str:
    """A model card: what the agent is and how to use it."""
    environment = description["environment"]
    rows = "\n".join(
        f"| {name} | `{json.dumps(value)}` |"
        for name, value in environment.items()
        if value not in (None, {})
    )
    return f"""---
library_name: {_LIBRARY}
tags:
- reinforcement-learning
- active-visual-exploration
---

# A glimpse policy

Trained by `{description["agent"]}` to choose where to look next, with the encoder
`{description.get("encoder")}` (weights `{description.get("encoder_hash", "")[:12]}`), in:

| | |
| --- | --- |
{rows}

```python
import agents

agent = agents.load_agent("user/name")  # this repository; agent.env is made as in training
```
"""

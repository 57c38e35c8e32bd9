"""Trained agents by name: shipped, in a folder, or on the Hugging Face Hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.learning.record import AGENT_FILE, read_agent, trained_options
from agents.registry import AGENTS, LEARNERS, AgentSource, learner_of, trained_folder
from encoders.registry import REPOSITORY_NAME
from encoders.support.validation import did_you_mean

if TYPE_CHECKING:
    import gymnasium as gym

    from agents.base import Agent


def is_repository(name: str | os.PathLike[str]) -> bool:
    """Whether a name may be of a repository on the hub: `user/name`, and no path that exists."""
    return REPOSITORY_NAME.fullmatch(str(name)) is not None and not Path(name).exists()


def at_hand(source: AgentSource) -> AgentSource:
    """What an agent on the hub was downloaded to, for its name; everything else as it is.

    Args:
        source: What `agents.make_agent` takes, or a repository of the hub as `user/name`.

    Raises:
        ValueError: There is no such repository, or it is out of reach.
    """
    if isinstance(source, str | os.PathLike) and is_repository(source):
        return fetch_agent(source)
    return source


def fetch_agent(
    source: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> Path:
    """The folder of a trained agent, downloaded where it is on the hub.

    Args:
        source: Name of a shipped agent, a run folder, or a repository of the hub as `user/name`.
        revision: Branch, tag or commit of the repository.
        cache_dir: Where the hub keeps what it has downloaded.
        force_download: Download again what is there already.
        local_files_only: Take what was downloaded before, and ask nobody.
        token: For private repositories; None = the one of `huggingface-cli login`.

    Raises:
        ValueError: There is no such agent.
    """
    if (folder := trained_folder(source)) is not None:
        return folder
    if not is_repository(source):
        known = [*AGENTS, *LEARNERS]
        raise ValueError(
            f"{str(source)!r} is no trained agent{did_you_mean(source, known)}; expected a run "
            f"folder with {AGENT_FILE}, a repository of the hub as user/name, or a shipped agent"
        )
    from encoders.hub import download_folder

    folder = download_folder(
        str(source),
        revision=revision,
        cache_dir=cache_dir,
        force_download=force_download,
        local_files_only=local_files_only,
        token=token,
    )
    if not (folder / AGENT_FILE).is_file():
        raise ValueError(f"{source}: a repository of the hub without {AGENT_FILE}, so no agent")
    return folder


def load_agent(
    source: str | os.PathLike[str],
    env: gym.Env | gym.vector.VectorEnv | None = None,
    *,
    seed: int = 0,
    **download: Any,
) -> Agent:
    """Opens a trained agent.

    Args:
        source: As for `fetch_agent`.
        env: The environment it will act in; None = one like that it was trained in, over the test
            split, to be found as the `env` of a `TrainedAgent`.
        seed: Of the agent's own choices, where it has any.
        **download: Further arguments of `fetch_agent`.

    Raises:
        ValueError: There is no such agent, or the environment is not like the one it was trained
            in.
    """
    folder = fetch_agent(source, **download)
    if env is None:
        env = training_environment(folder)
    return learner_of(folder).load(folder, env, seed)


def training_environment(source: str | os.PathLike[str], **changes: Any) -> gym.Env:
    """Makes an environment like the one an agent was trained in, over the test split.

    Args:
        source: Folder of the agent, or a shipped one's name.
        **changes: Keyword arguments that shall be others.

    Raises:
        ValueError: The agent does not say what it was trained in, or its encoder is not here.
    """
    import gymnasium as gym

    import ave_env  # noqa: F401 - registers the ids
    from encoders.registry import check_encoder_name

    folder = fetch_agent(source)
    description = read_agent(folder)
    noted = dict(description["environment"])
    env_id = noted.pop("id", None)
    if env_id is None:
        raise ValueError(
            f"{folder}: {AGENT_FILE} names no environment id; make the environment yourself, and "
            "pass it as env"
        )
    noted.pop("scenes", None)  # the id's own
    options = trained_options(description)
    given = {"split": "test", **noted, "encoder_options": options, **changes}
    keywords = {name: value for name, value in given.items() if value is not None}
    encoder = keywords.get("encoder")
    try:
        if encoder is None:
            raise ValueError("its encoder has no name")
        if isinstance(encoder, str):
            check_encoder_name(encoder)
    except ValueError as error:
        raise ValueError(
            f"{folder}: trained with encoder {description.get('encoder')!r} (weights "
            f"{description.get('encoder_hash', '')[:12]}), which is not here ({error}); make the "
            "environment with that encoder, and pass it as env"
        ) from error
    required = learner_of(folder).agent_class.required
    return gym.make(env_id, **{"observe": required, **keywords})

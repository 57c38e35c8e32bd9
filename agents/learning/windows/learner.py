"""What learners of window policies have in common: what they refuse, save and begin with."""

from __future__ import annotations

import abc
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import torch

from agents.learning.boundary import restore_environment
from agents.learning.fit import check_encoder
from agents.learning.learner import Learner
from agents.learning.record import AGENT_FILE, describe_environment, read_agent
from agents.learning.windows.agent import POLICY_FILE, WindowAgent, load_policy
from agents.learning.windows.config import WindowLearnerConfig
from agents.learning.windows.policy import WindowPolicy, WindowPolicyConfig
from agents.registry import learner_of
from ave_env.sensors.grid import GridSensor
from ave_env.vector import ActiveExplorationVectorEnv
from encoders.parts import part_hashes
from encoders.storage import weights_hash
from encoders.support.files import replacing
from encoders.support.notices import warn
from encoders.support.tensors import save_module

STATE_FILE = "training_state.pt"

_CHOSEN_WIDTHS = ("width", "overview", "surroundings")  # as hyper-parameters `policy_...`


class WindowLearner(Learner):
    """A learner that makes a `WindowAgent`; the encoder is left as it is.

    Its stretches are whole episodes of all rows, and between two of them a run is resumed.

    Args:
        env: Vector environment, autoreset SAME_STEP, with a grid sensor, observing what
            `WindowAgent` requires.
        config: Hyper-parameters, a `config_class`.
        made_with: See `Learner`.

    Raises:
        ValueError: Another sensor than the grid's, or episodes that may stop early.
    """

    agent_class: ClassVar[type[WindowAgent]]

    def __init__(
        self,
        env: ActiveExplorationVectorEnv,
        config: WindowLearnerConfig,
        made_with: Mapping[str, Any] | None,
    ) -> None:
        if not isinstance(env.sensor, GridSensor):
            raise ValueError(
                f"{self.name} chooses among the windows of the sensor 'grid', and the environment "
                f"has the sensor {env.sensor.name!r}"
            )
        if env.configuration.stop_when_all_seen:
            raise ValueError(
                f"{self.name} learns from rollouts of whole episodes of one length: leave "
                "stop_when_all_seen out, and take no more glimpses than show something new"
            )
        self.env = env
        self.policy_config = WindowPolicyConfig(
            width=config.policy_width,
            overview=config.policy_overview,
            surroundings=config.policy_surroundings,
            glimpse_size=env.sensor.glimpse_size,
            wrap_azimuth=env.sensor.wrap_azimuth,
            seamless=env.scenes.seamless,
        )
        self._made_with = dict(made_with or {})
        self._init_from: dict[str, Any] | None = None
        self._boundary: dict[str, Any] | None = None

    @property
    @abc.abstractmethod
    def policy(self) -> WindowPolicy:
        """The policy that learns."""

    @abc.abstractmethod
    def _state(self) -> dict[str, Any]:
        """What `_restore` needs, as tensors and plain data, between two stretches."""

    @abc.abstractmethod
    def _restore(self, state: dict[str, Any], observation: dict[str, Any]) -> None:
        """Goes on from a state, where every row of the environment has just begun an episode."""

    def save(self, folder: Path) -> None:
        """Writes the agent: `agent.json` and `policy.safetensors`."""
        configuration = self.env.configuration
        description = {
            "agent": self.recorded_name(),
            "policy": dataclasses.asdict(self.policy_config),
            "timesteps": self.num_timesteps,
            **self._encoder_record,
            "environment": {
                **describe_environment(configuration, self.env.scenes.name),
                **self._made_with,
            },
            **self._learning_record(),
        }
        if self._init_from is not None:
            description["init_from"] = self._init_from
        with replacing(folder / POLICY_FILE) as weights:
            save_module(self.policy, weights)
            with replacing(folder / AGENT_FILE) as text:
                text.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        env: gym.Env | gym.vector.VectorEnv,
        seed: int = 0,
        *,
        allow_other_encoder: bool = False,
    ) -> WindowAgent:
        """Reads an agent that `save` wrote."""
        return cls.agent_class(env, folder, seed, allow_other_encoder=allow_other_encoder)

    def save_state(self, folder: Path) -> None:
        """Writes what `load_state` needs to continue from the last stretch that was learnt from."""
        with replacing(folder / STATE_FILE) as partial:
            torch.save(self._boundary or self._state(), partial)

    def load_state(self, folder: Path) -> None:
        """Continues a run: same weights, optimiser, scenes and random numbers as without a stop.

        Raises:
            FileNotFoundError: No training state in the folder.
            ValueError: A state of another encoder or number of rows.
        """
        path = folder / STATE_FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder}: no {STATE_FILE} to resume from; a run that was stopped before its "
                "first rollout has nothing to continue: start a new one"
            )
        description = read_agent(folder)
        check_encoder(description, self.env.observer, str(folder), self.agent_class.required)
        state = torch.load(path, weights_only=True)
        # Stretches are whole episodes, so that between two of them every row has just begun one.
        observation = restore_environment(self.env, state, str(path))
        try:
            self._restore(state, observation)
        except (KeyError, RuntimeError) as error:  # of a run with another policy network
            raise ValueError(
                f"{path}: the state of a run with another policy or of another release; a run is "
                f"resumed by the release that began it: start a new one, or from its weights with "
                f"--init-from {folder}"
            ) from error
        self._init_from = description.get("init_from")

    def init_from(self, folder: Path) -> None:
        """Starts from the policy of a trained agent, with a new optimiser and schedule.

        The agent may be of any learner of window policies.

        Raises:
            FileNotFoundError: The folder holds no agent.
            ValueError: The agent of a learner of other policies, or a policy of another shape.
        """
        description = read_agent(folder)
        if not issubclass(learner_of(folder), WindowLearner):
            raise ValueError(
                f"{folder}: an agent of the learner {description['agent']!r}, and "
                f"{self.recorded_name()!r} cannot start from its weights"
            )
        defaults = dataclasses.asdict(WindowPolicyConfig())
        for name, given in dataclasses.asdict(self.policy_config).items():
            if (trained := description["policy"].get(name, defaults[name])) != given:
                option = f"policy_{name}" if name in _CHOSEN_WIDTHS else name
                raise ValueError(
                    f"{folder}: its policy has {option}={trained}, the new one {option}={given}; "
                    f"to start from it choose {option}={trained}"
                )
        try:
            load_policy(self.policy, folder)
        except ValueError as error:
            trained_in = description["environment"]
            raise ValueError(
                f"{error}; it was trained with encoder {description['encoder']!r}, scenes "
                f"{trained_in['scenes']!r}, image_size={tuple(trained_in['image_size'])} and "
                f"patch_size={trained_in['patch_size']}, and fits only where grid, classes and "
                "width of the encoder are the same"
            ) from error
        if description["encoder_hash"] != self._encoder_record["encoder_hash"]:
            warn(
                f"{folder}: trained with encoder {description['encoder']!r} of other weights than "
                "the one here; the beliefs it has learnt to read may look different",
            )
        digest = hashlib.sha256((folder / POLICY_FILE).read_bytes()).hexdigest()
        self._init_from = {
            "agent": str(folder.resolve()),
            "policy_sha256": digest,
            "timesteps": description["timesteps"],
        }

    def _boundaries(self, between: Callable[[], None] | None) -> Callable[[], None]:
        """What to call before every stretch: keeps the state, then does what a caller wants done.

        Those are the only points that a run can be resumed from.
        """

        def reach() -> None:
            self._boundary = self._state()
            if between is not None:
                between()

        return reach

    def _learning_record(self) -> dict[str, Any]:
        """What `agent.json` says of how it has learnt, beside what all agents say."""
        return {}

    @functools.cached_property
    def _encoder_record(self) -> dict[str, Any]:
        """What tells the encoder from others: it is the same all through a run."""
        observer = self.env.observer
        assert observer is not None  # without one there is nothing to observe
        return {
            "encoder": observer.encoder.config.name,
            "encoder_hash": weights_hash(observer.encoder),
            "encoder_parts": part_hashes(observer.encoder, self.agent_class.required),
            "encoder_options": observer.options,
        }

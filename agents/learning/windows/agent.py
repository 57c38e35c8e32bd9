"""A learnt glimpse policy that chooses among windows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import gymnasium as gym
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model

from agents.base import Observation
from agents.learning.fit import check_encoder
from agents.learning.record import AGENT_FILE
from agents.learning.trained import TrainedAgent
from agents.learning.windows.policy import POLICY_KEYS, WindowPolicy, WindowPolicyConfig
from ave_env.sensors.grid import GridSensor

POLICY_FILE = "policy.safetensors"
OBSERVABLES = ("cells", "latent", "logits")


class WindowAgent(TrainedAgent):
    """A trained glimpse policy; subclasses name the learner that makes it.

    Args:
        env: An environment like the one it was trained in.
        folder: Run folder with `agent.json` and `policy.safetensors`.
        seed: Of sampled actions.
        allow_other_encoder: Do not refuse another encoder, or other options of it, where its
            weights fit all the same; `differences` says then what is other.

    Raises:
        FileNotFoundError: The folder holds no agent.
        ValueError: Another encoder, options of it or windows than in training, or weights that do
            not fit the policy.
    """

    required = OBSERVABLES
    sensors = (GridSensor,)
    files = (AGENT_FILE, POLICY_FILE)

    def __init__(
        self,
        env: gym.Env | gym.vector.VectorEnv,
        folder: str | os.PathLike[str],
        seed: int = 0,
        *,
        allow_other_encoder: bool = False,
    ) -> None:
        super().__init__(env, folder, seed)
        base: Any = env.unwrapped
        description = self.description
        self.allow_other_encoder = allow_other_encoder
        self._check_like_training(base)
        space = getattr(base, "single_observation_space", None) or base.observation_space
        with torch.random.fork_rng(devices=[]):  # an agent may be made in the middle of training
            self.policy = WindowPolicy(
                gym.spaces.Dict({key: space[key] for key in POLICY_KEYS}),
                base.sensor.action_space,
                lambda _: 0.0,
                WindowPolicyConfig(**description["policy"]),
            )
        try:
            load_policy(self.policy, Path(folder))
        except ValueError as error:
            if not self.differences:
                raise
            raise ValueError(
                f"{folder}: cannot act with {'; '.join(self.differences)}: its policy reads "
                "beliefs of another size (grid, number of classes or width of the encoder)"
            ) from error
        self.policy.set_training_mode(False)
        self.flops_per_action = self.policy.flops_per_action

    def for_env(self, env: gym.Env | gym.vector.VectorEnv, seed: int) -> Self:
        """The same policy in another environment like that of the training."""
        agent = super().for_env(env, seed)
        agent._check_like_training(env.unwrapped)
        return agent

    def _check_like_training(self, base: Any) -> None:
        self.differences = check_encoder(
            self.description,
            base.observer,
            str(self.folder),
            self.required,
            allow_other_encoder=self.allow_other_encoder,
        )
        check_sensor(self.description, base.sensor, str(self.folder))

    @torch.no_grad()
    def choose(self, observation: Observation, deterministic: bool) -> np.ndarray:
        """The window of highest logit, or one drawn from the policy."""
        tensors = {
            key: torch.from_numpy(np.ascontiguousarray(observation[key])) for key in POLICY_KEYS
        }
        categorical: Any = self.policy.get_distribution(tensors).distribution
        logits = categorical.logits.numpy()
        if not deterministic:
            logits = logits + self.random.gumbel(size=logits.shape)
        return logits.argmax(axis=1)


def load_policy(policy: torch.nn.Module, folder: Path) -> None:
    """Copies weights that were saved in a folder into a policy.

    Raises:
        ValueError: Weights of another shape, or a file that holds none.
    """
    path = folder / POLICY_FILE
    try:
        with safe_open(path, "pt") as saved:
            given = {name: tuple(saved.get_slice(name).get_shape()) for name in saved.keys()}  # noqa: SIM118
        own = {name: tuple(tensor.shape) for name, tensor in policy.state_dict().items()}
        if others := [name for name in given if given[name] != own.get(name, given[name])]:
            first = others[0]
            more = f", and {len(others) - 1} more" if len(others) > 1 else ""
            raise RuntimeError(f"{first} has shape {given[first]}, not {own[first]}{more}")
        load_model(policy, path)
    except (RuntimeError, SafetensorError) as error:  # of another release or encoder; damaged
        reason = " ".join(str(error).split())
        raise ValueError(f"{folder}: {POLICY_FILE} does not fit: {reason}") from error


def check_sensor(description: Mapping[str, Any], sensor: GridSensor, source: str) -> None:
    """Refuses a sensor whose windows are not those an agent was trained to choose from.

    Raises:
        ValueError: Windows of another size, or that go on at the left edge where they did not.
    """
    for name in ("glimpse_size", "wrap_azimuth"):
        trained, given = description["policy"][name], getattr(sensor, name)
        if trained != given:
            raise ValueError(
                f"{source}: trained with {name}={trained}, the environment has {name}={given}"
            )

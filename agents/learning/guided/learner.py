"""Guided learning over glimpses: learning, saving, going on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3.common.logger import Logger, configure

from agents.learning.boundary import environment_state
from agents.learning.guided.agent import GuidedAgent
from agents.learning.guided.config import GuidedConfig
from agents.learning.guided.imitation import Imitation
from agents.learning.guided.teachers import find_teacher
from agents.learning.windows.learner import WindowLearner
from agents.learning.windows.policy import POLICY_KEYS, WindowPolicy, WindowPolicyConfig
from ave_env.vector import ActiveExplorationVectorEnv


class GuidedLearner(WindowLearner):
    """Learns a glimpse policy from those who see the whole scene in training.

    Args:
        env: Vector environment, autoreset SAME_STEP, with a grid sensor, observing what
            `GuidedAgent` requires.
        config: Hyper-parameters.
        seed: Of everything random.
        tensorboard_log: Folder of TensorBoard events, or None.
        made_with: See `Learner`.
        device: Of the policy network, which is small: the CPU is often as fast.

    Raises:
        ValueError: Another sensor than the grid's, or episodes that may stop early.
    """

    name = "guided"
    config_class = GuidedConfig
    agent_class = GuidedAgent

    def __init__(
        self,
        env: ActiveExplorationVectorEnv,
        config: GuidedConfig,
        *,
        seed: int = 0,
        tensorboard_log: str | None = None,
        made_with: Mapping[str, Any] | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__(env, config, made_with)
        self._policy = make_policy(env, self.policy_config, seed).to(device)
        self._imitation = Imitation(env, self._policy, find_teacher(env, config), config, seed)
        self._logger: Logger | None = None
        if tensorboard_log is not None:
            self._logger = configure(f"{tensorboard_log}/guided_1", ["tensorboard"])

    @property
    def policy(self) -> WindowPolicy:
        """The policy that learns."""
        return self._policy

    @property
    def num_timesteps(self) -> int:
        """Environment steps so far."""
        return self._imitation.num_timesteps

    def plan(self, total_timesteps: int) -> str:
        """Who guides the run."""
        return f"{total_timesteps:,} steps: {self._imitation.plan(total_timesteps)}"

    def learn(
        self,
        total_timesteps: int,
        between: Callable[[], None] | None = None,
        progress: bool = False,
    ) -> None:
        """Trains until a number of environment steps, rounded up to whole stretches.

        Args:
            total_timesteps: Steps of the whole run, those before a resume included.
            between: Called before every stretch.
            progress: Show a progress bar.
        """
        reach = self._boundaries(between)
        self._imitation.learn(total_timesteps, reach, self.log, progress)
        self._boundary = self._state()

    def log(self, values: Mapping[str, float]) -> None:
        """Sends numbers to TensorBoard at the current step."""
        if self._logger is None:
            return
        for name, value in values.items():
            self._logger.record(name, value)
        self._logger.dump(self._imitation.num_timesteps)

    def _learning_record(self) -> dict[str, Any]:
        return {"guidance": self._imitation.record()}

    def _state(self) -> dict[str, Any]:
        return {
            "policy": copy.deepcopy(self._policy.state_dict()),
            "imitation": copy.deepcopy(self._imitation.state()),
            **environment_state(self.env),
        }

    def _restore(self, state: dict[str, Any], observation: dict[str, Any]) -> None:
        self._policy.load_state_dict(state["policy"])
        self._imitation.restore(state["imitation"], observation)


def make_policy(
    env: ActiveExplorationVectorEnv, config: WindowPolicyConfig, seed: int
) -> WindowPolicy:
    """A policy with random weights for an environment; global generators stay as they were."""
    spaces = env.single_observation_space.spaces  # type: ignore[attr-defined]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return WindowPolicy(
            gym.spaces.Dict({key: spaces[key] for key in POLICY_KEYS}),
            env.single_action_space,  # type: ignore[arg-type]
            lambda _: 0.0,
            config,
        )

"""PPO over glimpses: a guided start, learning, saving, going on."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor

from agents.learning.boundary import environment_state
from agents.learning.callbacks import ExplorationCallback, ProgressCallback
from agents.learning.guided.config import GuidedConfig
from agents.learning.guided.imitation import Imitation
from agents.learning.guided.teachers import find_teacher
from agents.learning.ppo.agent import PpoAgent
from agents.learning.ppo.config import PpoConfig
from agents.learning.ppo.resumable import ResumablePpo
from agents.learning.vec_env import GlimpseVecEnv
from agents.learning.windows.config import falling
from agents.learning.windows.learner import WindowLearner
from agents.learning.windows.policy import POLICY_KEYS, WindowPolicy
from ave_env.vector import ActiveExplorationVectorEnv
from encoders.support.precision import resolve_precision


class PpoLearner(WindowLearner):
    """Learns a glimpse policy with Stable-Baselines3's PPO; the encoder is left as it is.

    The first part of a run (`PpoConfig.guided_share`) is guided learning
    (`agents.learning.guided`), which hands its policy and critic on to PPO.

    Args:
        env: Vector environment, autoreset SAME_STEP, with a grid sensor, observing what `PpoAgent`
            requires.
        config: Hyper-parameters.
        seed: Of everything random.
        tensorboard_log: Folder of TensorBoard events, or None.
        made_with: See `Learner`.
        device: Of the policy network, which is small: the CPU is often as fast.

    Raises:
        ValueError: Another sensor than the grid's, episodes that may stop early, or rollouts that
            leave a minibatch of one step.
    """

    name = "ppo"
    config_class = PpoConfig
    agent_class = PpoAgent

    def __init__(
        self,
        env: ActiveExplorationVectorEnv,
        config: PpoConfig,
        *,
        seed: int = 0,
        tensorboard_log: str | None = None,
        made_with: Mapping[str, Any] | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__(env, config, made_with)
        self.config = config
        steps = env.num_glimpses
        _check_minibatches(steps, env.num_envs, config.batch_size)
        self.model = ResumablePpo(
            WindowPolicy,
            VecMonitor(GlimpseVecEnv(env, POLICY_KEYS)),
            learning_rate=lambda remaining: falling(config.learning_rate, remaining),
            n_steps=steps,
            batch_size=min(config.batch_size, steps * env.num_envs),
            n_epochs=config.n_epochs,
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
            clip_range=config.clip_range,
            ent_coef=config.ent_coef,
            vf_coef=config.vf_coef,
            max_grad_norm=config.max_grad_norm,
            policy_kwargs={"config": dataclasses.asdict(self.policy_config)},
            tensorboard_log=tensorboard_log,
            seed=seed,
            device=device,
        )
        self.policy.update_dtype = resolve_precision(config.precision, self.policy.device)
        self._guidance: Imitation | None = None
        if config.guided_share:
            guided = GuidedConfig(
                gamma=config.gamma,
                precision=config.precision,
                batch_size=config.guided_batch_size,
            )
            teacher = find_teacher(env, guided)
            self._guidance = Imitation(env, self.policy, teacher, guided, seed)
        self._guided_until: int | None = None  # settled when the run begins

    @property
    def policy(self) -> WindowPolicy:
        """The policy that learns."""
        policy: Any = self.model.policy
        return policy

    @property
    def num_timesteps(self) -> int:
        """Environment steps so far."""
        guided = 0 if self._guidance is None else self._guidance.num_timesteps
        return max(self.model.num_timesteps, guided)

    def plan(self, total_timesteps: int) -> str | None:
        """Who guides the first part of the run, if anybody does."""
        if self._guidance is None and self._init_from is not None and self.config.guided_share:
            return "PPO from the first step, for the policy it begins with was learnt before"
        if self._guidance is None:
            return None
        guided = self._guided_steps(total_timesteps)
        return (
            f"the first {guided:,} of {total_timesteps:,} steps: {self._guidance.plan(guided)}; "
            "then PPO (--ppo.guided-share 0 for PPO alone)"
        )

    def learn(
        self,
        total_timesteps: int,
        between: Callable[[], None] | None = None,
        progress: bool = False,
    ) -> None:
        """Trains until a number of environment steps, rounded up to whole rollouts.

        Args:
            total_timesteps: Steps of the whole run, those before a resume included.
            between: Called before every rollout.
            progress: Show a progress bar.
        """
        if self._guidance is not None:
            self._learn_guided(self._guidance, total_timesteps, between, progress)
        callbacks: list[BaseCallback] = [
            ProgressCallback(total_timesteps, progress),
            ExplorationCallback(self.env),
            _BetweenRollouts(self._boundaries(between)),
        ]
        self.model.learn(
            max(total_timesteps - self.num_timesteps, 0),
            callback=callbacks,
            tb_log_name="ppo",
            reset_num_timesteps=False,
        )
        self._boundary = self._state()

    def init_from(self, folder: Path) -> None:
        """As ever; a run that begins with a policy that was learnt is not guided."""
        super().init_from(folder)
        self._guidance = None

    def log(self, values: Mapping[str, float]) -> None:
        """Sends numbers to TensorBoard at the current step."""
        for name, value in values.items():
            self.model.logger.record(name, value)
        self.model.logger.dump(self.num_timesteps)

    def _learn_guided(
        self,
        guidance: Imitation,
        total_timesteps: int,
        between: Callable[[], None] | None,
        progress: bool,
    ) -> None:
        """The first part of a run, up to where PPO takes over."""
        self._guided_until = self._guided_steps(total_timesteps)
        if guidance.num_timesteps >= self._guided_until:
            return
        self.model.begin_logging("ppo")
        guidance.learn(self._guided_until, self._boundaries(between), self.log, progress)
        assert guidance.observation is not None  # it has learnt
        begun = {key: guidance.observation[key] for key in POLICY_KEYS}
        self.model.go_on_from(guidance.num_timesteps, begun)

    def _guided_steps(self, total_timesteps: int) -> int:
        """Steps before PPO takes over; a run that is made longer stays guided no longer."""
        if self._guided_until is not None:
            return self._guided_until
        return int(total_timesteps * self.config.guided_share)

    def _learning_record(self) -> dict[str, Any]:
        return {} if self._guidance is None else {"guidance": self._guidance.record()}

    def _state(self) -> dict[str, Any]:
        guidance = None if self._guidance is None else copy.deepcopy(self._guidance.state())
        return {
            **self.model.training_state(),
            "guidance": guidance,
            "guided_until": self._guided_until,
            **environment_state(self.env),
        }

    def _restore(self, state: dict[str, Any], observation: dict[str, Any]) -> None:
        self.model.restore(state, {key: observation[key] for key in POLICY_KEYS})
        if self._guidance is None or state["guidance"] is None:
            self._guidance = None
            return
        self._guidance.restore(state["guidance"], observation)
        self._guided_until = state["guided_until"]


class _BetweenRollouts(BaseCallback):
    def __init__(self, reach: Callable[[], None]) -> None:
        super().__init__()
        self.reach = reach

    def _on_rollout_start(self) -> None:
        self.reach()

    def _on_step(self) -> bool:
        return True


def _check_minibatches(num_steps: int, num_envs: int, batch_size: int) -> None:
    """Refuses rollouts of which a single step would be learnt from by itself.

    Its advantage cannot be normalised: there is nothing to compare it with.
    """
    rollout = num_steps * num_envs
    if rollout == 1 or rollout % batch_size == 1:
        cut = "is a single step" if rollout == 1 else f"cut into batch_size={batch_size} leaves one"
        raise ValueError(
            f"a rollout of num_envs={num_envs} x num_glimpses={num_steps} {cut}, and PPO compares "
            "the advantages of at least 2 steps; choose other numbers"
        )

"""PPO over glimpses: learning, saving, going on."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor

from agents.learning.boundary import environment_state, restore_environment
from agents.learning.callbacks import ExplorationCallback, ProgressCallback
from agents.learning.fit import check_encoder
from agents.learning.learner import Learner
from agents.learning.ppo.agent import POLICY_FILE, PpoAgent, load_policy
from agents.learning.ppo.config import PpoConfig
from agents.learning.ppo.resumable import ResumablePpo
from agents.learning.ppo.window_policy import POLICY_KEYS, WindowPolicy, WindowPolicyConfig
from agents.learning.record import AGENT_FILE, describe_environment, read_agent
from agents.learning.vec_env import GlimpseVecEnv
from ave_env.sensors.grid import GridSensor
from ave_env.vector import ActiveExplorationVectorEnv
from encoders.parts import part_hashes
from encoders.storage import weights_hash
from encoders.support.files import replacing
from encoders.support.notices import warn
from encoders.support.tensors import save_module

STATE_FILE = "training_state.pt"


class PpoLearner(Learner):
    """Learns a glimpse policy with Stable-Baselines3's PPO; the encoder is left as it is.

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
        if not isinstance(env.sensor, GridSensor):
            raise ValueError(
                f"ppo chooses among the windows of the sensor 'grid', and the environment has the "
                f"sensor {env.sensor.name!r}"
            )
        if env.configuration.stop_when_all_seen:
            raise ValueError(
                "ppo learns from rollouts of whole episodes of one length: leave "
                "stop_when_all_seen out, and take no more glimpses than show something new"
            )
        self.env = env
        self.config = config
        self._made_with = dict(made_with or {})
        self._init_from: dict[str, Any] | None = None
        self._boundary: dict[str, Any] | None = None
        self.policy_config = WindowPolicyConfig(
            glimpse_size=env.sensor.glimpse_size,
            wrap_azimuth=env.sensor.wrap_azimuth,
            width=config.policy_width,
        )
        steps = env.num_glimpses
        _check_minibatches(steps, env.num_envs, config.batch_size)
        self.model = ResumablePpo(
            WindowPolicy,
            VecMonitor(GlimpseVecEnv(env, POLICY_KEYS)),
            learning_rate=lambda remaining: config.learning_rate * max(remaining, 0.02),
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

    @property
    def num_timesteps(self) -> int:
        """Environment steps so far."""
        return self.model.num_timesteps

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
        callbacks: list[BaseCallback] = [
            ProgressCallback(total_timesteps, progress),
            ExplorationCallback(self.env),
            _BetweenRollouts(self, between),
        ]
        self.model.learn(
            max(total_timesteps - self.num_timesteps, 0),
            callback=callbacks,
            tb_log_name="ppo",
            reset_num_timesteps=False,
        )
        self._boundary = self._state()

    def log(self, values: Mapping[str, float]) -> None:
        """Sends numbers to TensorBoard at the current step."""
        for name, value in values.items():
            self.model.logger.record(name, value)
        self.model.logger.dump(self.num_timesteps)

    def save_state(self, folder: Path) -> None:
        """Writes what `load_state` needs to continue from the last rollout that was learnt from."""
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
        # Rollouts are whole episodes, so that between two of them every row has just begun one.
        observation = restore_environment(self.env, state, str(path))
        self.model.restore(state, {key: observation[key] for key in POLICY_KEYS})
        self._init_from = description.get("init_from")

    def init_from(self, folder: Path) -> None:
        """Starts from the policy of a trained agent, with a new optimiser and schedule.

        Raises:
            FileNotFoundError: The folder holds no agent.
            ValueError: The agent of another learner, or a policy of another shape.
        """
        description = read_agent(folder)
        if description["agent"] != self.recorded_name():
            raise ValueError(
                f"{folder}: an agent of the learner {description['agent']!r}, and "
                f"{self.recorded_name()!r} cannot start from its weights"
            )
        for name, given in dataclasses.asdict(self.policy_config).items():
            if (trained := description["policy"][name]) != given:
                option = "policy_width" if name == "width" else name
                raise ValueError(
                    f"{folder}: its policy has {option}={trained}, the new one {option}={given}; "
                    f"to start from it choose {option}={trained}"
                )
        try:
            load_policy(self.model.policy, folder)
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
        }
        if self._init_from is not None:
            description["init_from"] = self._init_from
        with replacing(folder / POLICY_FILE) as weights:
            save_module(self.model.policy, weights)
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
    ) -> PpoAgent:
        """Reads an agent that `save` wrote."""
        return PpoAgent(env, folder, seed, allow_other_encoder=allow_other_encoder)

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

    def _state(self) -> dict[str, Any]:
        return {**self.model.training_state(), **environment_state(self.env)}

    def _reach_boundary(self) -> None:
        """Keeps the state between two rollouts, the only points a run can be resumed from."""
        self._boundary = self._state()


class _BetweenRollouts(BaseCallback):
    def __init__(self, learner: PpoLearner, between: Callable[[], None] | None) -> None:
        super().__init__()
        self.learner = learner
        self.between = between

    def _on_rollout_start(self) -> None:
        self.learner._reach_boundary()
        if self.between is not None:
            self.between()

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

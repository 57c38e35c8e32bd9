"""PPO over glimpses: learning, saving, loading."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from safetensors.torch import load_model, save_model
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from agents.base import Agent, Observation
from agents.learning.ppo.config import PpoConfig
from agents.learning.ppo.window_policy import POLICY_KEYS, WindowPolicy, WindowPolicyConfig
from agents.learning.vec_env import GlimpseVecEnv
from ave_env.vector import ActiveExplorationVectorEnv
from encoders.storage import weights_hash

AGENT_FILE = "agent.json"
POLICY_FILE = "policy.safetensors"
STATE_FILE = "training_state.pt"
OBSERVABLES = ("cells", "latent", "logits")


class PpoAgent(Agent):
    """A trained glimpse policy.

    Args:
        env: An environment like the one it was trained in.
        folder: Run folder with `agent.json` and `policy.safetensors`.
        seed: Of sampled actions.

    Raises:
        FileNotFoundError: The folder holds no agent.
        ValueError: Another encoder, split block or window than in training, or weights that do not
            fit the policy.
    """

    name = "ppo"
    required = OBSERVABLES

    def __init__(
        self, env: gym.Env | gym.vector.VectorEnv, folder: str | os.PathLike[str], seed: int = 0
    ) -> None:
        super().__init__(env, seed)
        base: Any = env.unwrapped
        description = read_agent(folder)
        check_encoder(description, base.observer, str(folder))
        check_sensor(description, base.sensor, str(folder))
        space = getattr(base, "single_observation_space", None) or base.observation_space
        actions = getattr(base, "single_action_space", None) or base.action_space
        with torch.random.fork_rng(devices=[]):  # an agent may be made in the middle of training
            self.policy = WindowPolicy(
                gym.spaces.Dict({key: space[key] for key in POLICY_KEYS}),
                actions,
                lambda _: 0.0,
                WindowPolicyConfig(**description["policy"]),
            )
        try:
            load_model(self.policy, Path(folder) / POLICY_FILE)
        except RuntimeError as error:  # of another release, whose policy had another shape
            reason = " ".join(str(error).split())
            raise ValueError(f"{folder}: {POLICY_FILE} does not fit: {reason}") from error
        self.policy.set_training_mode(False)
        self.flops_per_action = self.policy.flops_per_action

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


class PpoTrainer:
    """Learns a glimpse policy with Stable-Baselines3's PPO; the encoder is left as it is.

    Args:
        env: Vector environment, autoreset SAME_STEP, observing `OBSERVABLES`.
        config: Hyper-parameters.
        seed: Of everything random.
        tensorboard_log: Folder of TensorBoard events, or None.
        device: Of the policy network, which is small: the CPU is often as fast.
        made_with: What made the environment, JSON-able, kept with the agent so that its folder
            alone is enough to use it: "id", "encoder" and "data_root".
    """

    def __init__(
        self,
        env: ActiveExplorationVectorEnv,
        config: PpoConfig,
        seed: int = 0,
        tensorboard_log: str | None = None,
        device: str = "cpu",
        made_with: Mapping[str, str | None] | None = None,
    ) -> None:
        self.env = env
        self.config = config
        self._made_with = dict(made_with or {})
        self._boundary: dict[str, Any] | None = None
        self.policy_config = WindowPolicyConfig(
            glimpse_size=env.configuration.glimpse_size,
            wrap_azimuth=env.configuration.wrap_azimuth,
            width=config.policy_width,
        )
        steps = env.configuration.num_glimpses
        self.model = PPO(
            WindowPolicy,
            GlimpseVecEnv(env, POLICY_KEYS),
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

    def learn(self, total_timesteps: int, callbacks: list[BaseCallback] | None = None) -> None:
        """Trains until a number of environment steps, rounded up to whole rollouts.

        Args:
            total_timesteps: Steps of the whole run, those before a resume included.
            callbacks: Stable-Baselines3 callbacks.
        """
        self.model.learn(
            max(total_timesteps - self.num_timesteps, 0),
            callback=[_Boundary(self), *(callbacks or [])],
            tb_log_name="ppo",
            reset_num_timesteps=False,
        )
        self._boundary = self._state()

    def save_state(self, folder: Path) -> None:
        """Writes what `load_state` needs to continue from the last rollout that was learnt from."""
        partial = folder / f".{STATE_FILE}.writing"
        torch.save(self._boundary or self._state(), partial)
        os.replace(partial, folder / STATE_FILE)

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
        check_encoder(read_agent(folder), self.env.observer, str(folder))
        state = torch.load(path, weights_only=True)
        if len(state["scene_ids"]) != self.env.num_envs:
            raise ValueError(
                f"{path}: saved with {len(state['scene_ids'])} rows, the environment has "
                f"{self.env.num_envs}; pass --n-envs {len(state['scene_ids'])}"
            )
        model = self.model
        model.policy.load_state_dict(state["policy"])
        model.policy.optimizer.load_state_dict(state["optimizer"])
        model.num_timesteps, model._n_updates = state["timesteps"], state["updates"]
        # Rollouts are whole episodes, so that between two of them every row has just begun one.
        observation, _ = self.env.reset(options={"scene_id": state["scene_ids"].numpy()})
        model._last_obs = {key: observation[key] for key in POLICY_KEYS}
        model._last_episode_starts = np.ones(self.env.num_envs, dtype=bool)
        for generator, saved in zip(self.env.np_random, state["row_generators"], strict=True):
            generator.bit_generator.state = saved
        _set_global_generators(state["torch_generator"], state["numpy_generator"])

    def _state(self) -> dict[str, Any]:
        model = self.model
        return {
            "policy": copy.deepcopy(model.policy.state_dict()),
            "optimizer": copy.deepcopy(model.policy.optimizer.state_dict()),
            "timesteps": model.num_timesteps,
            "updates": model._n_updates,
            "scene_ids": torch.from_numpy(self.env.scene_ids.copy()),
            "row_generators": [generator.bit_generator.state for generator in self.env.np_random],
            "torch_generator": torch.get_rng_state(),
            "numpy_generator": _numpy_global_state(),
        }

    def save(self, folder: Path) -> None:
        """Writes the agent: `agent.json` and `policy.safetensors`."""
        observer, configuration = self.env.observer, self.env.configuration
        assert observer is not None
        description = {
            "agent": PpoAgent.name,
            "policy": dataclasses.asdict(self.policy_config),
            "timesteps": self.num_timesteps,
            "encoder": observer.encoder.config.name,
            "encoder_hash": weights_hash(observer.encoder),
            "split_block": observer.options["split_block"],
            "environment": {
                **self._made_with,
                "glimpse_size": configuration.glimpse_size,
                "image_size": list(configuration.image_size),
                "num_glimpses": configuration.num_glimpses,
                "patch_size": configuration.patch_size,
                "scenes": self.env.scenes.name,
                "task": configuration.task,
                "wrap_azimuth": configuration.wrap_azimuth,
            },
        }
        write_agent(folder, description, self.model.policy)


class _Boundary(BaseCallback):
    """Keeps the state between two rollouts, the only points a run can be resumed from."""

    def __init__(self, trainer: PpoTrainer) -> None:
        super().__init__()
        self.trainer = trainer

    def _on_rollout_start(self) -> None:
        self.trainer._boundary = self.trainer._state()

    def _on_step(self) -> bool:
        return True


def _numpy_global_state() -> dict[str, Any]:
    """NumPy's global generator, which SB3 shuffles minibatches with, in plain types."""
    state = np.random.get_state(legacy=False)  # noqa: NPY002
    return {
        "name": state["bit_generator"],
        "keys": torch.from_numpy(state["state"]["key"].astype(np.int64)),
        "position": state["state"]["pos"],
        "has_gauss": state["has_gauss"],
        "gauss": state["gauss"],
    }


def _set_global_generators(torch_state: torch.Tensor, numpy_state: dict[str, Any]) -> None:
    torch.set_rng_state(torch_state)
    keys = numpy_state["keys"].numpy().astype(np.uint32)
    rest = (numpy_state["position"], numpy_state["has_gauss"], numpy_state["gauss"])
    np.random.set_state((numpy_state["name"], keys, *rest))  # noqa: NPY002


def write_agent(folder: Path, description: dict[str, Any], policy: torch.nn.Module) -> None:
    """Writes an agent's two files, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as scratch:
        weights, text = Path(scratch, POLICY_FILE), Path(scratch, AGENT_FILE)
        save_model(policy, str(weights))
        text.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        os.replace(weights, folder / POLICY_FILE)
        os.replace(text, folder / AGENT_FILE)


def read_agent(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The description in `agent.json`.

    Raises:
        FileNotFoundError: No such file.
    """
    path = Path(folder) / AGENT_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder}: no {AGENT_FILE}; expected the run folder of a trained agent"
        )
    return json.loads(path.read_text("utf-8"))


def check_encoder(description: dict[str, Any], observer: Any, source: str) -> None:
    """Refuses an observer whose beliefs are not the ones an agent was trained on.

    Raises:
        ValueError: Another encoder or another split block.
    """
    given = weights_hash(observer.encoder)
    if given != description["encoder_hash"]:
        raise ValueError(
            f"{source}: trained with encoder {description['encoder']!r} "
            f"(weights {description['encoder_hash'][:12]}), not with "
            f"{observer.encoder.config.name!r} (weights {given[:12]})"
        )
    split_block = observer.options.get("split_block")
    if split_block != description["split_block"]:
        raise ValueError(
            f"{source}: trained with split_block={description['split_block']}, the environment "
            f"has split_block={split_block}"
        )


def check_sensor(description: dict[str, Any], sensor: Any, source: str) -> None:
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

"""Stable-Baselines3's PPO, whose training can be taken down and taken up again bit for bit."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.utils import configure_logger


class ResumablePpo(PPO):
    """PPO that hands out its state between two rollouts, and goes on from it.

    All of the state but what belongs to the environment: weights, optimiser, counters, and the
    global generators that Stable-Baselines3 draws actions and minibatches with.
    """

    def training_state(self) -> dict[str, Any]:
        """Copies of tensors and plain data, for `torch.save`."""
        return {
            "policy": copy.deepcopy(self.policy.state_dict()),
            "optimizer": copy.deepcopy(self.policy.optimizer.state_dict()),
            "timesteps": self.num_timesteps,
            "updates": self._n_updates,
            "torch_generator": torch.get_rng_state(),
            "numpy_generator": _numpy_global_state(),
        }

    def restore(self, state: dict[str, Any], observation: dict[str, np.ndarray]) -> None:
        """Goes on from a state, where every row of the environment has just begun an episode.

        Args:
            state: What `training_state` returned.
            observation: What the rows see, `[N, ...]` by name.
        """
        self.policy.load_state_dict(state["policy"])
        self.policy.optimizer.load_state_dict(state["optimizer"])
        self._n_updates = state["updates"]
        self.go_on_from(state["timesteps"], observation)
        _set_global_generators(state["torch_generator"], state["numpy_generator"])

    def go_on_from(self, num_timesteps: int, observation: dict[str, np.ndarray]) -> None:
        """Counts on from steps that others took, where every row has just begun an episode.

        Args:
            num_timesteps: Steps so far.
            observation: What the rows see, `[N, ...]` by name.
        """
        self.num_timesteps = num_timesteps
        self._last_obs = observation
        self._last_episode_starts = np.ones(self.n_envs, dtype=bool)

    def begin_logging(self, name: str) -> None:
        """Makes the logger before `learn` does, which then keeps it.

        Args:
            name: Of the folder of events.
        """
        if not hasattr(self, "_logger"):
            self.set_logger(configure_logger(0, self.tensorboard_log, name, False))


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

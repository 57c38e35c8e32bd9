"""Stable-Baselines3's `VecEnv` over the batched environment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from ave_env.resets import OPTIONS, check_names
from ave_env.spaces import ObservationSpace
from ave_env.vector import ActiveExplorationVectorEnv


class GlimpseVecEnv(VecEnv):
    """The vector environment as SB3 expects it; the encoder still runs once per step for all rows.

    Returns and lengths of episodes are added to `info` by SB3's own `VecMonitor` around it.

    Args:
        env: With autoreset mode SAME_STEP, as SB3 works.
        keys: Parts of the observation to hand on; None = all. What a policy does not look at need
            not be stored in its rollout buffer.

    Raises:
        ValueError: Another autoreset mode, or a key that the observations lack.
    """

    def __init__(self, env: ActiveExplorationVectorEnv, keys: Iterable[str] | None = None) -> None:
        if env.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"autoreset_mode is {env.autoreset_mode.name}; SB3 needs "
                "make_vec(..., autoreset_mode='SAME_STEP')"
            )
        observed = env.single_observation_space
        assert isinstance(observed, gym.spaces.Dict)
        spaces = observed.spaces
        self.keys = tuple(spaces if keys is None else keys)
        if missing := [key for key in self.keys if key not in spaces]:
            raise ValueError(f"observations have no {missing}; they have {list(spaces)}")
        self.env = env
        self._actions = np.zeros(env.action_space.shape or (env.num_envs,), env.action_space.dtype)
        handed_on = ObservationSpace({key: spaces[key] for key in self.keys})
        super().__init__(env.num_envs, handed_on, env.single_action_space)

    def reset(self) -> dict[str, np.ndarray]:
        """Begins an episode in every row; seeds and options set before are used once.

        Raises:
            TypeError: An option of the wrong type.
            ValueError: An unknown option, or a value out of range.
        """
        seeds = None if all(seed is None for seed in self._seeds) else self._seeds
        options = self._options
        self._reset_seeds()
        self._reset_options()
        observation, _ = self.env.reset(seed=seeds, options=_by_name(options))
        return self._chosen(observation)

    def step_async(self, actions: np.ndarray) -> None:
        """Remembers the actions for `step_wait`."""
        self._actions = np.asarray(actions)

    def step_wait(
        self,
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Steps all rows; an ended row is reset and its info holds `terminal_observation`."""
        observation, rewards, dones, _, information = self.env.step(self._actions)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if dones.any():
            self._describe_ended(infos, information, np.flatnonzero(dones))
        return self._chosen(observation), rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The environment's attribute, once per row asked for."""
        return [getattr(self.env, attr_name)] * len(self._rows(indices))

    def has_attr(self, attr_name: str) -> bool:
        """Whether the environment has an attribute."""
        return hasattr(self.env, attr_name)

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Sets an attribute of the one environment behind all rows."""
        if len(self._rows(indices)) != self.num_envs:
            raise ValueError(f"{attr_name!r} is shared by all rows and cannot be set for some")
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """Calls a method that returns one value per row, such as `action_masks`."""
        values = getattr(self.env, method_name)(*args, **kwargs)
        rows = self._rows(indices)
        return [None if values is None else values[row] for row in rows]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Whether single rows are wrapped: they are not, for there is one environment for all."""
        return [False] * len(self._rows(indices))

    def get_images(self) -> Sequence[np.ndarray | None]:
        """One frame per row, uint8 `[H', W', 3]`."""
        return self.env.render() or [None] * self.num_envs

    def _describe_ended(
        self, infos: list[dict[str, Any]], information: dict[str, Any], rows: np.ndarray
    ) -> None:
        final = information["final_info"]
        last = information["final_obs"]
        for row in rows:
            infos[row] = {
                "terminal_observation": {key: last[row][key] for key in self.keys},
                "TimeLimit.truncated": False,
                "is_success": bool(final["is_success"][row]),
                "flops_total": int(final["flops_total"][row]),
                "coverage": float(final["coverage"][row]),
            }

    def _chosen(self, observation: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {key: observation[key] for key in self.keys}

    def _rows(self, indices: VecEnvIndices) -> list[int]:
        return list(self._get_indices(indices))


def _by_name(options: Sequence[dict[str, Any] | None]) -> dict[str, list[Any]]:
    """The options of single rows as those of all rows, with None where a row has none."""
    every = [each or {} for each in options]
    for row, each in enumerate(every):
        try:
            check_names(each, OPTIONS)
        except (TypeError, ValueError) as error:
            raise type(error)(f"set_options, row {row}: {error}") from None
    given = [name for name in OPTIONS if any(name in each for each in every)]
    return {name: [each.get(name) for each in every] for name in given}

"""What every agent is: something that looks at observations and names the next glimpse."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from ave_env.sensors.grid import GridSensor

Observation = dict[str, np.ndarray]


class Agent(abc.ABC):
    """Chooses glimpses for a batch of rows; Stable-Baselines3's `PolicyPredictor`.

    Args:
        env: A single or vector active-exploration environment, or a wrapper of one.
        seed: Of the agent's own choices, where it has any.

    Attributes:
        name: What tables call it.
        required: Parts of the belief its observations must hold.
        privileged: Whether it is told what no observation shows, and so bounds other agents instead
            of competing with them.
        tasks: Names of the tasks it is made for; None = any.
        flops_per_action: Multiply-accumulates of choosing one glimpse, beyond the encoder's own.

    Raises:
        ValueError: The environment's observations lack something the agent needs.
    """

    name: ClassVar[str]
    required: ClassVar[tuple[str, ...]] = ()
    privileged: ClassVar[bool] = False
    tasks: ClassVar[tuple[str, ...] | None] = None
    flops_per_action: int = 0

    def __init__(self, env: gym.Env | gym.vector.VectorEnv, seed: int = 0) -> None:
        base: Any = env.unwrapped
        self.sensor: GridSensor = base.sensor
        self.random = np.random.default_rng(seed)
        space = getattr(base, "single_observation_space", None) or base.observation_space
        if missing := [key for key in self.required if key not in space.spaces]:
            raise ValueError(
                f"agent {self.name!r} needs {missing} in its observations; make the environment "
                f"with observe={(*self.required,)!r} (and an encoder with a decoder)"
            )

    def predict(
        self,
        observation: Observation,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Names the next glimpse of every row.

        Args:
            observation: Batched observations, or one observation without the batch axis.
            state: Handed back unchanged; agents read everything off the observation.
            episode_start: Not needed.
            deterministic: Take the best action instead of sampling, where the agent can do both.

        Returns:
            Actions int64 `[N]` (a 0-d array for a single observation), and `state`.
        """
        if observation["visited"].ndim == 2:
            batch = {key: np.asarray(value)[None] for key, value in observation.items()}
            return self.choose(batch, deterministic)[0], state
        return self.choose(observation, deterministic), state

    @abc.abstractmethod
    def choose(self, observation: Observation, deterministic: bool) -> np.ndarray:
        """Actions int64 `[N]` for observations with a batch axis."""

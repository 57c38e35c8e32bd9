"""What every agent is: something that looks at observations and names the next glimpse."""

from __future__ import annotations

import abc
import copy
from typing import Any, ClassVar, Self

import gymnasium as gym
import numpy as np

from ave_env.sensors.base import Sensor

Observation = dict[str, np.ndarray]


class Agent(abc.ABC):
    """Chooses glimpses for a batch of rows; Stable-Baselines3's `PolicyPredictor`.

    A class states what it can deal with; an environment that is something else is refused with a
    sentence. `agents.testing.check_agent` holds an agent to what is said here.

    Args:
        env: A single or vector active-exploration environment, or a wrapper of one.
        seed: Of the agent's own choices, where it has any.

    Attributes:
        name: What tables call it.
        required: Parts of the belief its observations must hold.
        sensors: Kinds of sensors it can choose for.
        action_spaces: Kinds of action spaces it can choose from.
        tasks: Names of the tasks it can act in; None = all.
        privileged: Whether it is told what no observation shows, and so bounds the others instead
            of competing with them.
        flops_per_action: Multiply-accumulates of choosing one glimpse, beyond the encoder's own.
        differences: In what the environment is not like the one it was trained in, in words, where
            that was allowed.

    Raises:
        ValueError: The environment lacks something the agent needs, or is not of its kind.
    """

    name: ClassVar[str]
    required: ClassVar[tuple[str, ...]] = ()
    sensors: ClassVar[tuple[type[Sensor], ...]] = (Sensor,)
    action_spaces: ClassVar[tuple[type[gym.Space], ...]] = (gym.spaces.Discrete,)
    tasks: ClassVar[tuple[str, ...] | None] = None
    privileged: ClassVar[bool] = False
    flops_per_action: int = 0
    differences: tuple[str, ...] = ()

    def __init__(self, env: gym.Env | gym.vector.VectorEnv, seed: int = 0) -> None:
        base: Any = env.unwrapped
        self._check(base)
        self.sensor: Any = base.sensor  # of the kinds in `sensors`
        self.random = np.random.default_rng(seed)

    def for_env(self, env: gym.Env | gym.vector.VectorEnv, seed: int) -> Self:
        """The same agent in another environment, with random numbers of its own.

        Args:
            env: Of the same sensor, with any number of rows.
            seed: Of the agent's own choices.

        Raises:
            ValueError: An environment of another sensor, or one that lacks what the agent needs.
        """
        base: Any = env.unwrapped
        self._check(base)
        if base.sensor != self.sensor:
            raise ValueError(
                f"agent {self.name!r} was made for {self.sensor}, and the environment has "
                f"{base.sensor}; make it for this environment, or pass its class"
            )
        agent = copy.copy(self)
        agent.sensor, agent.random = base.sensor, np.random.default_rng(seed)
        return agent

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
            Actions `[N, ...]` (int64 `[N]` for a finite sensor; without the batch axis for a single
            observation), and `state`.
        """
        if observation["visited"].ndim == 2:
            batch = {key: np.asarray(value)[None] for key, value in observation.items()}
            return self.choose(batch, deterministic)[0], state
        return self.choose(observation, deterministic), state

    @abc.abstractmethod
    def choose(self, observation: Observation, deterministic: bool) -> np.ndarray:
        """Actions `[N, ...]` for observations with a batch axis."""

    def _check(self, base: Any) -> None:
        """Refuses an environment that is not of the agent's kind."""
        space = getattr(base, "single_observation_space", None) or base.observation_space
        if missing := [key for key in self.required if key not in space.spaces]:
            raise ValueError(
                f"agent {self.name!r} needs {missing} in its observations; make the environment "
                f"with observe={(*self.required,)!r} (and an encoder that has them)"
            )
        if not isinstance(base.sensor, self.sensors):
            kinds = " or ".join(kind.__name__ for kind in self.sensors)
            raise ValueError(
                f"agent {self.name!r} chooses for a {kinds}, and the environment has the sensor "
                f"{base.sensor.name!r} ({type(base.sensor).__name__}); choose another agent"
            )
        if not isinstance(base.sensor.action_space, self.action_spaces):
            kinds = " or ".join(kind.__name__ for kind in self.action_spaces)
            raise ValueError(
                f"agent {self.name!r} chooses from {kinds} actions, and the sensor "
                f"{base.sensor.name!r} takes {base.sensor.action_space}; choose another agent"
            )
        if self.tasks is not None and base.task.name not in self.tasks:
            raise ValueError(
                f"agent {self.name!r} is made for the task {' or '.join(map(repr, self.tasks))}, "
                f"not for {base.task.name!r}; leave it out"
            )

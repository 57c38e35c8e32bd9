"""What every learner is: something that makes a trained agent in an environment."""

from __future__ import annotations

import abc
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym

from agents.base import Agent
from ave_env.vector import ActiveExplorationVectorEnv


class Learner(abc.ABC):
    """Learns where to look; the encoder is left as it is.

    A run is a number of environment steps, cut into stretches (for PPO, rollouts of whole
    episodes). Between two stretches the run can be saved, and continued later as if nothing had
    happened.

    Args:
        env: Vector environment over the train split, autoreset SAME_STEP, observing what
            `agent_class` requires.
        config: Hyper-parameters, a `config_class`.
        seed: Of everything random.
        tensorboard_log: Folder of TensorBoard events, or None.
        made_with: What made the environment, as `agents.learning.record.describe_environment`
            returns it: kept with the agent, so that its folder alone is enough to use it.

    Attributes:
        name: What `--policy` and `agent.json` call it.
        config_class: Its hyper-parameters, a frozen dataclass that can be made without arguments.
        agent_class: What it makes.
    """

    name: ClassVar[str]
    config_class: ClassVar[type]
    agent_class: ClassVar[type[Agent]]

    @abc.abstractmethod
    def __init__(
        self,
        env: ActiveExplorationVectorEnv,
        config: Any,
        *,
        seed: int = 0,
        tensorboard_log: str | None = None,
        made_with: Mapping[str, Any] | None = None,
    ) -> None: ...

    @classmethod
    def recorded_name(cls) -> str:
        """What `agent.json` calls this learner, so that any process finds it again.

        Its place, `module:name`, unless it is one of this package's own.
        """
        if cls.__module__.split(".")[0] == "agents":
            return cls.name
        return f"{cls.__module__}:{cls.__qualname__}"

    @property
    @abc.abstractmethod
    def num_timesteps(self) -> int:
        """Environment steps so far, those before a resume included."""

    @abc.abstractmethod
    def learn(
        self,
        total_timesteps: int,
        between: Callable[[], None] | None = None,
        progress: bool = False,
    ) -> None:
        """Trains until a number of environment steps, rounded up to whole stretches.

        Args:
            total_timesteps: Steps of the whole run, those before a resume included.
            between: Called before every stretch, when the run can be saved and the agent judged.
            progress: Show a progress bar.
        """

    def plan(self, total_timesteps: int) -> str | None:
        """What a user should know of a run before it begins, in one sentence; None for nothing.

        Args:
            total_timesteps: Steps of the whole run.
        """
        return None

    def init_from(self, folder: Path) -> None:
        """Starts from the weights of an agent that `save` wrote, in place of random ones.

        To be called before the first step. The agent that is saved says where it came from.

        Args:
            folder: Of the agent.

        Raises:
            ValueError: An agent that does not fit, or a learner that cannot do this.
        """
        raise ValueError(f"{folder}: {self.name!r} cannot start from another agent's weights")

    @abc.abstractmethod
    def log(self, values: Mapping[str, float]) -> None:
        """Sends numbers to TensorBoard at the current step."""

    @abc.abstractmethod
    def save(self, folder: Path) -> None:
        """Writes the agent as it is: `agent.json`, which names this learner, and its weights."""

    @abc.abstractmethod
    def save_state(self, folder: Path) -> None:
        """Writes what `load_state` needs to continue from the end of the last stretch."""

    @abc.abstractmethod
    def load_state(self, folder: Path) -> None:
        """Continues a run from what `save_state` wrote.

        Raises:
            FileNotFoundError: There is nothing to continue: the run ended before its first stretch.
            ValueError: The state of another run.
        """

    @classmethod
    @abc.abstractmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        env: gym.Env | gym.vector.VectorEnv,
        seed: int = 0,
    ) -> Agent:
        """Reads an agent that `save` wrote, to act in an environment.

        Where agents are refused another encoder than that of their training
        (`agents.learning.fit.check_encoder`), it takes a keyword argument `allow_other_encoder`.

        Raises:
            FileNotFoundError: The folder holds no agent.
            ValueError: The environment is not like the one it was trained in.
        """

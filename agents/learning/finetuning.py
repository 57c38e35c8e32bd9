"""Training an encoder on the glimpses that an agent takes, as AME does."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from agents.evaluation.exploring import explore
from agents.registry import agent_class, make_agent
from ave_env.configuration import Configuration
from ave_env.parts import Parts
from ave_env.sensors.base import FiniteSensor
from ave_env.vector import ActiveExplorationVectorEnv


class PolicyGlimpses:
    """Lets an agent explore the images of each training batch with the encoder as it is now.

    A glimpse source of `encoders.training.trainer.EncoderTrainer`. The number of glimpses is drawn
    uniformly from 0 to the environment's, so that every stage of an episode is trained; a share of
    the batches sees random positions instead, so that no patch position is forgotten.

    Args:
        policy: Name of an agent without parameters.
        configuration: Of the environment it explores.
        parts: Its parts; the encoder is the one being trained.
        random_share: Share of batches explored by the random agent.

    Raises:
        ValueError: A sensor that does not say beforehand what it reveals.
    """

    def __init__(
        self,
        policy: str,
        configuration: Configuration,
        parts: Parts,
        random_share: float = 0.25,
    ) -> None:
        if not isinstance(parts.sensor, FiniteSensor):
            raise ValueError(
                "an encoder is fine-tuned on glimpses of a sensor that knows what they reveal, "
                f"which {parts.sensor.name!r} does not; choose the sensor 'grid'"
            )
        self.policy = policy
        self.configuration = configuration
        self.parts = parts
        self.sensor = parts.sensor
        self.encoder: Any = parts.encoder
        self.random_share = random_share
        self._env: ActiveExplorationVectorEnv | None = None

    def __call__(
        self, indices: np.ndarray, rng: np.random.Generator, warming_up: bool = False
    ) -> np.ndarray:
        """Explores scenes `indices`; patch ids int64 `[B, T, n]`, -1 where seen before."""
        env = self._vector_env(len(indices))
        count = int(rng.integers(env.num_glimpses + 1))
        name = "random" if rng.random() < self.random_share else self.policy
        agent = make_agent(name, env, seed=int(rng.integers(2**31)))
        training = self.encoder.training
        self.encoder.eval()
        assert env.observer is not None  # the environment was made with an encoder
        env.observer.refresh_prior()
        actions: list[np.ndarray] = []
        visited: list[np.ndarray] = []
        for t, observation, _ in explore(agent, env, indices, taken=actions):
            visited.append(observation["visited"].reshape(len(indices), -1).astype(bool))
            if t == count:
                break
        self.encoder.train(training)
        rows = np.arange(len(indices))[:, None]
        glimpses = np.full((len(indices), count, self.sensor.patches_per_glimpse), -1, np.int64)
        for t, chosen in enumerate(actions):
            ids = self.sensor.patch_ids(chosen)
            glimpses[:, t] = np.where(visited[t][rows, ids], -1, ids)
        return glimpses

    def _vector_env(self, rows: int) -> ActiveExplorationVectorEnv:
        if self._env is None or self._env.num_envs != rows:
            observed = dataclasses.replace(
                self.configuration, observe=agent_class(self.policy).required
            )
            self._env = ActiveExplorationVectorEnv(
                rows, configuration=observed, parts=self.parts, autoreset_mode="DISABLED"
            )
        return self._env

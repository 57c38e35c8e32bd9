"""An agent: look where nobody has looked for the longest way around.

eval_agent.py --agents random farthest:FarthestAgent
"""

from __future__ import annotations

import gymnasium as gym
import numpy as np

from agents import Agent, register_agent
from ave_env.sensors.base import FiniteSensor


@register_agent
class FarthestAgent(Agent):
    """Takes the place whose centre is farthest from every patch seen so far.

    Distances are in patches and run round the scene where the sensor wraps. The first glimpse is
    the first place.
    """

    name = "farthest"
    sensors = (FiniteSensor,)

    def __init__(self, env: gym.Env | gym.vector.VectorEnv, seed: int = 0) -> None:
        super().__init__(env, seed)
        boxes = self.sensor.boxes(np.arange(self.sensor.num_actions)) / self.sensor.patch_size
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        rows, columns = self.sensor.grid
        patches = np.stack(np.divmod(np.arange(rows * columns), columns), axis=1) + 0.5
        down = np.abs(centers[:, None, 0] - patches[:, 0])
        across = np.abs(centers[:, None, 1] - patches[:, 1])
        if getattr(self.sensor, "wrap_azimuth", False):
            across = np.minimum(across % columns, -across % columns)
        self.distances = np.hypot(down, across)  # [places, patches]

    def choose(self, observation: dict[str, np.ndarray], deterministic: bool) -> np.ndarray:
        """Actions int64 `[N]`."""
        seen = observation["visited"].reshape(len(observation["visited"]), 1, -1) == 1
        nearest = np.where(seen, self.distances, np.inf).min(axis=2)
        useful = self.sensor.reveals(observation["visited"])
        return np.where(useful, nearest, -1.0).argmax(axis=1)

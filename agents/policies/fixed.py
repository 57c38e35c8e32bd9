"""Agents that do not look: chance and fixed orders."""

from __future__ import annotations

import abc
import copy

import gymnasium as gym
import numpy as np

from agents.base import Agent, Observation
from ave_env.sensors.base import FiniteSensor
from ave_env.sensors.grid import GridSensor


class RandomAgent(Agent):
    """Uniform over the positions that show something new, or over any other action space."""

    name = "random"
    action_spaces = (gym.Space,)

    def choose(self, observation: Observation, deterministic: bool) -> np.ndarray:
        """Draws a position; `deterministic` has no meaning for chance."""
        if not isinstance(self.sensor, FiniteSensor):
            space = copy.deepcopy(self.sensor.action_space)
            space.seed(int(self.random.integers(2**31)))
            return np.stack([space.sample() for _ in observation["visited"]])
        useful = self.sensor.reveals(observation["visited"])
        scores = self.random.random(useful.shape)
        # Where nothing is new every position is as good as another.
        return np.where(useful.any(axis=1, keepdims=True), scores * useful, scores).argmax(axis=1)


class FixedOrderAgent(Agent):
    """Takes the first position of a fixed order that shows something new."""

    sensors = (GridSensor,)

    def __init__(self, env: gym.Env | gym.vector.VectorEnv, seed: int = 0) -> None:
        super().__init__(env, seed)
        self.positions = self.order(self.sensor)

    @staticmethod
    @abc.abstractmethod
    def order(sensor: GridSensor) -> np.ndarray:
        """Every tile's action in the order of looking, int64 `[tiles]`."""

    def choose(self, observation: Observation, deterministic: bool) -> np.ndarray:
        """Takes the first useful position of the order."""
        useful = self.sensor.reveals(observation["visited"])[:, self.positions]
        return self.positions[useful.argmax(axis=1)]


class RasterAgent(FixedOrderAgent):
    """Reads the scene like a page: row by row, left to right, without overlap."""

    name = "raster"

    @staticmethod
    def order(sensor: GridSensor) -> np.ndarray:
        """Tiles in row-major order."""
        return _actions(sensor, *_tiles(sensor))


class CenterOutAgent(FixedOrderAgent):
    """Starts at the centre of the scene and works outwards."""

    name = "center_out"

    @staticmethod
    def order(sensor: GridSensor) -> np.ndarray:
        """Tiles by their distance from the centre, ties in row-major order."""
        rows, columns = _tiles(sensor)
        middle = [(side - sensor.glimpse_size) / 2 for side in sensor.grid]
        distance = np.hypot(rows - middle[0], columns - middle[1])
        return _actions(sensor, rows, columns)[np.argsort(distance, kind="stable")]


class CheckerboardAgent(FixedOrderAgent):
    """Spreads over the fields of one colour of a checkerboard, then over those of the other."""

    name = "checkerboard"

    @staticmethod
    def order(sensor: GridSensor) -> np.ndarray:
        """Dark fields first; of each colour always the field farthest from those taken.

        Distances run round the scene where the sensor wraps. Ties go to the first in row-major
        order.
        """
        rows, columns = _tiles(sensor)
        size = sensor.glimpse_size
        colour = (-(-rows // size) + -(-columns // size)) % 2
        taken: list[int] = []
        nearest = np.full(len(rows), np.inf)
        for shade in (0, 1):
            fields = np.flatnonzero(colour == shade)
            for _ in fields:
                left = np.setdiff1d(fields, taken)
                chosen = int(left[np.argmax(nearest[left])])
                taken.append(chosen)
                across = np.abs(columns - columns[chosen])
                if sensor.wrap_azimuth:
                    across = np.minimum(across, sensor.grid[1] - across)
                nearest = np.minimum(nearest, np.hypot(rows - rows[chosen], across))
        return _actions(sensor, rows, columns)[taken]


def _tiles(sensor: GridSensor) -> tuple[np.ndarray, np.ndarray]:
    """Top-left rows and columns of windows that cover the grid, the last ones pushed inside."""
    size = sensor.glimpse_size
    tops, lefts = (np.minimum(np.arange(0, side, size), side - size) for side in sensor.grid)
    rows, columns = np.meshgrid(tops, lefts, indexing="ij")
    return rows.ravel(), columns.ravel()


def _actions(sensor: GridSensor, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return (rows * sensor.positions[1] + columns).astype(np.int64)

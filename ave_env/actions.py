"""Batches of actions, checked against the space they should come from."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import Space, spaces

_KINDS = {  # which dtypes stand for members of a space
    spaces.Discrete: "iu",
    spaces.MultiDiscrete: "iu",
    spaces.MultiBinary: "iub",
    spaces.Box: "iuf",
}


class ActionCheck:
    """Checks one action per row before anything happens.

    Args:
        space: Space of one row's action.

    Raises:
        TypeError: A space whose members are no numbers or arrays.
    """

    def __init__(self, space: Space) -> None:
        if type(space) not in _KINDS:
            raise TypeError(
                f"a sensor with the action space {space}; environments take "
                f"{', '.join(kind.__name__ for kind in _KINDS)}"
            )
        self.space = space
        self.shape: tuple[int, ...] = space.shape or ()
        self.dtype = np.dtype(space.dtype)
        self._kinds = _KINDS[type(space)]
        if isinstance(space, spaces.Discrete):
            self._low, self._high = np.asarray(space.start), np.asarray(space.start + space.n - 1)
        elif isinstance(space, spaces.MultiDiscrete):
            self._low, self._high = space.start, space.start + space.nvec - 1
        elif isinstance(space, spaces.Box):
            self._low, self._high = space.low, space.high
        else:
            self._low, self._high = np.zeros(self.shape), np.ones(self.shape)

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and the highest member, inclusive; infinite where there is none."""
        return np.asarray(self._low), np.asarray(self._high)

    def batch(self, actions: Any, num_rows: int) -> np.ndarray:
        """One action per row as an array `[N, ...]` of the space's dtype.

        Raises:
            ValueError: Another shape, or a dtype that holds no such actions.
        """
        actions = np.asarray(actions)
        expected = (num_rows, *self.shape)
        if actions.shape != expected or actions.dtype.kind not in self._kinds:
            numbers = "numbers" if "f" in self._kinds else "integers"
            raise ValueError(
                f"actions have shape {actions.shape} and dtype {actions.dtype}; expected {numbers} "
                f"of shape {expected}"
            )
        return actions.astype(self.dtype, copy=False)

    def members(self, actions: np.ndarray, rows: slice | np.ndarray) -> None:
        """Checks that the actions of some rows are members of the space.

        Raises:
            ValueError: One that is out of range, with its row.
        """
        chosen = actions[rows]
        inside = (chosen >= self._low) & (chosen <= self._high)  # false also where it is not finite
        if inside.all():
            return
        wrong = ~inside.reshape(len(chosen), -1).all(axis=1)
        row = np.arange(len(actions))[rows][wrong][0]
        action = actions[row]
        expected = f"a member of {self.space}"
        if isinstance(self.space, spaces.Discrete):
            expected = f"{self._low} <= action < {self._high + 1}"
        raise ValueError(f"action {action} (row {row}) is out of range; expected {expected}")

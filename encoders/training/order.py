"""In which order scenes are learnt from."""

from __future__ import annotations

import numpy as np


class SceneOrder:
    """An endless stream of shuffled passes over a data set, readable from any position.

    Args:
        length: Items in the data set.
        seed: Of the shuffles.
    """

    def __init__(self, length: int, seed: int) -> None:
        self.length = length
        self.seed = seed
        self._pass = -1
        self._permutation = np.empty(0, np.int64)

    def batch(self, start: int, size: int) -> list[int]:
        """The `size` indices from position `start` on."""
        return [self._at(position) for position in range(start, start + size)]

    def _at(self, position: int) -> int:
        number, offset = divmod(position, self.length)
        if number != self._pass:
            self._pass = number
            self._permutation = np.random.default_rng([self.seed, number]).permutation(self.length)
        return int(self._permutation[offset])

"""Randomness of many episodes: one generator per row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.utils import seeding

_UNKNOWN_SEED = -1  # as Gymnasium reports a generator that was set from outside


class RowGenerators:
    """One random generator per row, each as a single environment has it.

    A generator without a seed is made from the system's entropy when it is first needed.

    Args:
        num_rows: N.
    """

    def __init__(self, num_rows: int) -> None:
        self._generators: list[np.random.Generator | None] = [None] * num_rows
        self._seeds = [_UNKNOWN_SEED] * num_rows

    def __getitem__(self, row: int) -> np.random.Generator:
        generator = self._generators[row]
        if generator is None:
            generator, self._seeds[row] = seeding.np_random()
            self._generators[row] = generator
        return generator

    def of(self, rows: np.ndarray) -> RowsOfGenerators:
        """The generators of some rows, each made when it is asked for.

        Args:
            rows: int64 `[R]`.
        """
        return RowsOfGenerators(self, rows)

    def all(self) -> tuple[np.random.Generator, ...]:
        """The generators of all rows."""
        return tuple(self[row] for row in range(len(self._generators)))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of all rows; -1 for a generator that was set from outside."""
        self.all()
        return tuple(self._seeds)

    def seed(self, seeds: Sequence[int | None], rows: np.ndarray) -> None:
        """Starts some rows' generators anew.

        Args:
            seeds: One for every row; None leaves a row's generator as it is.
            rows: bool `[N]`, rows to touch.
        """
        for row, seed in enumerate(seeds):
            if seed is not None and rows[row]:
                self._generators[row], self._seeds[row] = seeding.np_random(seed)

    def replace(self, generators: Sequence[np.random.Generator]) -> None:
        """Takes over generators from outside, one per row.

        Raises:
            ValueError: Another number of generators than rows.
        """
        if len(generators) != len(self._generators):
            raise ValueError(f"{len(generators)} generators for {len(self._generators)} rows")
        self._generators = list(generators)
        self._seeds = [_UNKNOWN_SEED] * len(generators)


class RowsOfGenerators(Sequence[np.random.Generator]):
    """Some rows of `RowGenerators`, which are looked up when they are used.

    Args:
        generators: Of all rows.
        rows: int64 `[R]`.
    """

    def __init__(self, generators: RowGenerators, rows: np.ndarray) -> None:
        self._generators = generators
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return RowsOfGenerators(self._generators, self._rows[index])
        return self._generators[int(self._rows[index])]


def parse_seeds(
    seed: int | Sequence[int | None] | np.ndarray | None, num_envs: int
) -> list[int | None]:
    """Spreads a seed over the rows: row i of a single seed gets `seed + i`.

    Raises:
        TypeError: Seeds that are no integers.
        ValueError: A list of another length than the rows.
    """
    if seed is None:
        return [None] * num_envs
    if _is_integer(seed):
        return [int(seed) + row for row in range(num_envs)]  # type: ignore[arg-type]
    if not isinstance(seed, Sequence | np.ndarray) or isinstance(seed, str):
        raise TypeError(f"seed={seed!r}; expected an integer, a list of {num_envs}, or None")
    if len(seed) != num_envs:
        raise ValueError(f"{len(seed)} seeds for {num_envs} environments; expected one for each")
    for row, value in enumerate(seed):
        if value is not None and not _is_integer(value):
            raise TypeError(f"seed {value!r} of row {row}; expected an integer or None")
    return [None if value is None else int(value) for value in seed]


def _is_integer(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)

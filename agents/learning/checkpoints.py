"""Validations and checkpoints of a learning run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from agents.learning.history import Validation, ValidationHistory
from agents.learning.learner import Learner

_SECONDS_BETWEEN_STATES = 10.0


class Checkpoints:
    """Validates the agent now and then, keeps the best, and saves what a resume needs.

    To be called between the stretches of a run. The state is saved before the first, after each
    validation and whenever some seconds have passed, so that a run that is killed loses no more
    than those.

    Args:
        learner: What learns.
        folder: Run folder; receives `evaluations.npz`, the best agent in `best/`, and the state.
        validate: Called after the agent was saved in the folder.
        every: Environment steps between two validations.
        history: Validations before a resume.
    """

    def __init__(
        self,
        learner: Learner,
        folder: Path,
        validate: Callable[[], Validation],
        every: int,
        history: ValidationHistory | None = None,
    ) -> None:
        self.learner = learner
        self.folder = folder
        self.validate = validate
        self.every = every
        self.history = history or ValidationHistory()
        self._saved_at = -np.inf
        self._schedule()

    def __call__(self) -> None:
        """Does what is due."""
        if self.learner.num_timesteps >= self._next:
            self.check()
            self._schedule()
        elif time.monotonic() - self._saved_at > _SECONDS_BETWEEN_STATES:
            self._save_state()

    def check(self) -> None:
        """Validates the agent as it is, unless that was done, and keeps it if it is the best."""
        steps = self.learner.num_timesteps
        self.learner.save(self.folder)
        if steps not in self.history.timesteps:
            validation = self.validate()
            best_before = self.history.best
            self.history.add(steps, validation)
            self.learner.log(
                {
                    "validation/score": validation.score,
                    "validation/return": float(validation.returns.mean()),
                }
            )
            if validation.score >= best_before:
                self.learner.save(self.folder / "best")
            self.history.save(self.folder)
        # Last, so that a run killed before validates again when it is resumed.
        self._save_state()

    def _save_state(self) -> None:
        self.learner.save_state(self.folder)
        self._saved_at = time.monotonic()

    def _schedule(self) -> None:
        # Multiples of the interval: the same ones whether or not the run was interrupted.
        self._next = (self.learner.num_timesteps // self.every + 1) * self.every

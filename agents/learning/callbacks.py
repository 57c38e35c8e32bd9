"""What is watched, logged and kept while PPO trains."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from tqdm.auto import tqdm

from agents.learning.history import Validation, ValidationHistory

if TYPE_CHECKING:
    from agents.learning.ppo.learner import PpoTrainer

_SECONDS_BETWEEN_STATES = 10.0


class ProgressCallback(BaseCallback):
    """A progress bar with the success rate and return of the last episodes.

    Args:
        total_timesteps: Length of the bar.
        enabled: Show it.
    """

    def __init__(self, total_timesteps: int, enabled: bool = True) -> None:
        super().__init__()
        self.total_timesteps = total_timesteps
        self.enabled = enabled
        self.bar: tqdm | None = None

    def _on_training_start(self) -> None:
        self.bar = tqdm(
            total=self.total_timesteps,
            initial=self.num_timesteps,
            disable=not self.enabled,
            unit="step",
            desc="ppo",
            smoothing=0.1,
        )

    def _on_step(self) -> bool:
        if self.bar is not None:
            self.bar.update(self.num_timesteps - self.bar.n)
        return True

    def _on_rollout_end(self) -> None:
        successes, episodes = self.model.ep_success_buffer, self.model.ep_info_buffer
        if self.bar is not None and successes and episodes:
            self.bar.set_postfix(
                success=f"{100 * np.mean(successes):.0f} %",
                reward=f"{np.mean([episode['r'] for episode in episodes]):.2f}",
            )

    def _on_training_end(self) -> None:
        if self.bar is not None:
            self.bar.close()


class ExplorationCallback(BaseCallback):
    """Logs how the policy explores: coverage, cost and spread of its glimpses.

    `exploration/coverage` is the share of the scene seen in an episode, `exploration/revisits` the
    share of looked-at patches that were known already, `exploration/position_entropy` the entropy
    in bits of the positions chosen in a rollout: a policy collapsed to one spot shows there first.
    """

    def _on_rollout_start(self) -> None:
        self._actions: list[np.ndarray] = []
        self._ended: list[dict] = []

    def _on_step(self) -> bool:
        self._actions.append(np.asarray(self.locals["actions"]))
        self._ended += [info for info in self.locals["infos"] if "coverage" in info]
        return True

    def _on_rollout_end(self) -> None:
        counts = np.bincount(np.concatenate(self._actions).ravel())
        shares = counts[counts > 0] / counts.sum()
        self.logger.record("exploration/position_entropy", float(-(shares * np.log2(shares)).sum()))
        if not self._ended:
            return
        coverage = float(np.mean([info["coverage"] for info in self._ended]))
        env = self.training_env.get_attr("configuration", indices=0)[0]
        grid = env.sensor.grid
        most = min(env.num_glimpses * env.glimpse_size**2 / (grid[0] * grid[1]), 1.0)
        self.logger.record("exploration/coverage", coverage)
        self.logger.record("exploration/revisits", 1 - coverage / most)
        flops = float(np.mean([info["flops_total"] for info in self._ended]))
        self.logger.record("exploration/gflops_per_episode", flops / 1e9)


class CheckpointCallback(BaseCallback):
    """Validates the policy now and then, keeps the best, and saves what a resume needs.

    The state is saved before the first rollout, after each validation and whenever some seconds
    have passed, so that a run that is killed loses no more than those.

    Args:
        trainer: Whose model is trained.
        folder: Run folder; receives `evaluations.npz`, the best agent in `best/`, and the state.
        validate: Called after the agent was saved in the folder.
        every: Environment steps between two validations.
        history: Validations before a resume.
    """

    def __init__(
        self,
        trainer: PpoTrainer,
        folder: Path,
        validate: Callable[[], Validation],
        every: int,
        history: ValidationHistory | None = None,
    ) -> None:
        super().__init__()
        self.trainer = trainer
        self.folder = folder
        self.validate = validate
        self.every = every
        self.history = history or ValidationHistory()
        self._saved_at = -np.inf

    def _on_training_start(self) -> None:
        self._schedule()

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= self._next:
            self.check()
            self._schedule()
        elif time.monotonic() - self._saved_at > _SECONDS_BETWEEN_STATES:
            self._save_state()

    def _on_step(self) -> bool:
        return True

    def check(self) -> None:
        """Validates the policy as it is, unless that was done, and keeps it if it is the best."""
        steps = self.trainer.num_timesteps
        self.trainer.save(self.folder)
        if steps not in self.history.timesteps:
            validation = self.validate()
            best_before = self.history.best
            self.history.add(steps, validation)
            self.logger.record("validation/score", validation.score)
            self.logger.record("validation/return", float(validation.returns.mean()))
            self.logger.dump(steps)  # at the end of a run nobody else would
            if validation.score >= best_before:
                self.trainer.save(self.folder / "best")
            self.history.save(self.folder)
        # Last, so that a run killed before validates again when it is resumed.
        self._save_state()

    def _save_state(self) -> None:
        self.trainer.save_state(self.folder)
        self._saved_at = time.monotonic()

    def _schedule(self) -> None:
        # Multiples of the interval: the same ones whether or not the run was interrupted.
        self._next = (self.trainer.num_timesteps // self.every + 1) * self.every

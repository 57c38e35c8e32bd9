"""What is watched and logged while an algorithm of Stable-Baselines3 trains."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from tqdm.auto import tqdm

from ave_env.vector import ActiveExplorationVectorEnv


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
    """Logs how the policy explores; see `describe_exploration`.

    Args:
        env: Where the glimpses are taken, with a finite sensor.
    """

    def __init__(self, env: ActiveExplorationVectorEnv) -> None:
        super().__init__()
        self.env = env

    def _on_rollout_start(self) -> None:
        self._actions: list[np.ndarray] = []
        self._ended: list[dict] = []

    def _on_step(self) -> bool:
        self._actions.append(np.asarray(self.locals["actions"]))
        self._ended += [info for info in self.locals["infos"] if "coverage" in info]
        return True

    def _on_rollout_end(self) -> None:
        coverage, flops = (
            np.array([info[name] for info in self._ended]) for name in ("coverage", "flops_total")
        )
        actions = np.concatenate(self._actions)
        for name, value in describe_exploration(self.env, actions, coverage, flops).items():
            self.logger.record(name, value)


def describe_exploration(
    env: ActiveExplorationVectorEnv, actions: np.ndarray, coverage: np.ndarray, flops: np.ndarray
) -> dict[str, float]:
    """How a policy explores: coverage, cost and spread of its glimpses.

    `exploration/coverage` is the share of the scene seen in an episode, `exploration/revisits` the
    share of looked-at patches that were known already, `exploration/position_entropy` the entropy
    in bits of the positions chosen in a rollout: a policy collapsed to one spot shows there first.

    Args:
        env: Where the glimpses were taken, with a finite sensor.
        actions: All that were taken, int64.
        coverage: Of the episodes that ended, float `[E]`; empty leaves out what is known of them.
        flops: Multiply-accumulates of these episodes, `[E]`.
    """
    counts = np.bincount(actions.ravel())
    shares = counts[counts > 0] / counts.sum()
    found = {"exploration/position_entropy": float(-(shares * np.log2(shares)).sum())}
    if not len(coverage):
        return found
    sensor: Any = env.sensor
    shown = env.num_glimpses * sensor.patches_per_glimpse
    most = min(shown / (sensor.grid[0] * sensor.grid[1]), 1.0)
    mean = float(coverage.mean())
    return found | {
        "exploration/coverage": mean,
        "exploration/revisits": 1 - mean / most,
        "exploration/gflops_per_episode": float(flops.mean()) / 1e9,
    }

"""Hyper-parameters of PPO; imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from agents.learning.windows.config import WindowLearnerConfig
from encoders.support.validation import Amount, Positive, Range, Share


@dataclasses.dataclass(frozen=True)
class PpoConfig(WindowLearnerConfig):
    """Hyper-parameters of PPO, under the names of Stable-Baselines3.

    Beside those of `WindowLearnerConfig`.

    Attributes:
        learning_rate: Of Adam at the start; falls linearly to 2 % of it.
        batch_size: Steps per gradient step of PPO; all those of a rollout where it has fewer.
        n_epochs: Passes over each rollout of one episode per row.
        gamma: Discount factor.
        gae_lambda: Trade-off of the advantage estimator.
        clip_range: Of the probability ratio.
        ent_coef: Weight of the entropy bonus.
        vf_coef: Weight of the value loss.
        max_grad_norm: Largest gradient norm.
        guided_share: Share of the steps, the first ones, in which the policy is guided by a teacher
            that sees the whole scene (`--policy guided` is nothing but that); 0 = PPO alone, as in
            runs that begin with an agent's weights.
        guided_batch_size: Steps per gradient step in the guided part.

    Raises:
        TypeError: A value of another type.
        ValueError: A number out of range.
    """

    learning_rate: Amount = 2.5e-3
    batch_size: Annotated[int, Range(2)] = 512  # advantages are normalised within a batch
    n_epochs: Positive = 3
    gamma: Share = 0.9
    gae_lambda: Share = 0.9
    clip_range: Amount = 0.2
    ent_coef: Amount = 0.008
    vf_coef: Amount = 0.5
    max_grad_norm: Amount = 0.5
    guided_share: Share = 0.9
    guided_batch_size: Positive = 64

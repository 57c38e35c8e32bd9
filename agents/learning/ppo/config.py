"""Hyper-parameters of PPO; imports no torch."""

from __future__ import annotations

import dataclasses
import math

from encoders.support.ranges import check_ranges


@dataclasses.dataclass(frozen=True)
class PpoConfig:
    """Hyper-parameters of PPO, under the names of Stable-Baselines3.

    Attributes:
        learning_rate: Of Adam at the start; falls linearly to 2 % of it.
        batch_size: Steps per gradient step.
        n_epochs: Passes over each rollout of one episode per row.
        gamma: Discount factor.
        gae_lambda: Trade-off of the advantage estimator.
        clip_range: Of the probability ratio.
        ent_coef: Weight of the entropy bonus.
        vf_coef: Weight of the value loss.
        max_grad_norm: Largest gradient norm.
        policy_width: Hidden channels of the policy network.

    Raises:
        ValueError: A number out of range.
    """

    learning_rate: float = 2.5e-3
    batch_size: int = 512
    n_epochs: int = 3
    gamma: float = 0.9
    gae_lambda: float = 0.9
    clip_range: float = 0.2
    ent_coef: float = 0.008
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5
    policy_width: int = 64

    def __post_init__(self) -> None:
        positive, any_share, not_negative = (1, math.inf), (0, 1), (0, math.inf)
        check_ranges(
            self,
            {
                "learning_rate": not_negative,
                "batch_size": (2, math.inf),  # advantages are normalised within a batch
                "n_epochs": positive,
                "gamma": any_share,
                "gae_lambda": any_share,
                "clip_range": not_negative,
                "ent_coef": not_negative,
                "vf_coef": not_negative,
                "max_grad_norm": not_negative,
                "policy_width": positive,
            },
        )

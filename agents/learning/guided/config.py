"""Hyper-parameters of guided learning; imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from agents.learning.windows.config import WindowLearnerConfig
from encoders.support.validation import Amount, Positive, Range, Share


@dataclasses.dataclass(frozen=True)
class GuidedConfig(WindowLearnerConfig):
    """Hyper-parameters of guided learning.

    Beside those of `WindowLearnerConfig`.

    Attributes:
        learning_rate: Of AdamW at the start; falls linearly to 2 % of it.
        weight_decay: Of AdamW.
        batch_size: Steps per gradient step; all those of a stretch where it has fewer.
        n_epochs: Passes over each stretch of one episode per row.
        sharpness: Power of a window's worth in the targets: 1 asks for windows in proportion to
            their worth, a large number for the best alone.
        greedy_share: Share of the rows that explore with the policy's best windows; the others draw
            from it.
        first_glimpse_share: Share of the steps after which one first window is left of those that
            were tried; 0 = the first glimpse is learnt like all others.
        look_ahead_share: Share of the steps, the last ones, in which targets come from looking
            ahead instead of the teacher. 1 needs no teacher.
        look_ahead_rows: Share of the rows that look ahead in each of those steps: those whose score
            is lowest. The others go on with the teacher.
        look_ahead_windows: Windows that are tried in each of these rows; two thirds are those the
            policy likes best.
        look_ahead_temperature: Gain of the task's score that makes a window e times as likely in
            the targets (classification: nats; reconstruction: grey levels).
        gamma: Discount factor of what the critic learns.
        vf_coef: Weight of the critic's loss.
        max_grad_norm: Largest gradient norm.

    Raises:
        TypeError: A value of another type.
        ValueError: A number out of range.
    """

    learning_rate: Amount = 2e-3
    weight_decay: Amount = 0.01
    batch_size: Positive = 64
    n_epochs: Positive = 1
    sharpness: Amount = 4.0
    greedy_share: Share = 0.5
    first_glimpse_share: Share = 0.6
    look_ahead_share: Share = 0.25
    look_ahead_rows: Share = 0.5
    look_ahead_windows: Positive = 12
    look_ahead_temperature: Annotated[float, Range(0, open=True)] = 0.5
    gamma: Share = 0.9
    vf_coef: Amount = 0.5
    max_grad_norm: Amount = 1.0

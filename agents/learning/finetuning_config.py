"""Hyper-parameters of fine-tuning an encoder on an agent's glimpses; imports no torch."""

from __future__ import annotations

import dataclasses

from encoders.support.choices import Precision
from encoders.support.validation import Amount, NotNegative, Positive, Share, check_fields
from encoders.training.config import TrainingConfig


@dataclasses.dataclass(frozen=True)
class FineTuningConfig:
    """Hyper-parameters of fine-tuning an encoder on an agent's glimpses.

    Those of `TrainingConfig` that are left to choose: which glimpses are seen, and how many, is up
    to the agent and the environment.

    Attributes:
        epochs: Passes of `epoch_size` images, each followed by a validation and a checkpoint.
        epoch_size: Images per epoch; None = the whole split.
        batch_size: Images per step.
        learning_rate: Peak of AdamW's rate; linear warm-up, then cosine to zero.
        weight_decay: Of matrices; vectors and position tables are not decayed.
        warmup: Share of all steps spent warming up.
        reconstruction_weight: Weight of the pixel loss beside the cross-entropy.
        label_smoothing: Of the cross-entropy.
        split_block: TORE's K while training; None draws it uniformly from 0..depth for every batch.
        curriculum: Share of all steps that begin the run with K = 0.
        num_workers: Processes that load images.
        validation_size: Scenes of the validation split to score after each epoch.

    Raises:
        TypeError: A value of another type.
        ValueError: A number out of range.
    """

    epochs: Positive = 2
    epoch_size: Positive | None = 16_384
    batch_size: Positive = 64
    learning_rate: Amount = 2e-4
    weight_decay: Amount = 0.05
    warmup: Share = 0.02
    reconstruction_weight: Amount = 0.1
    label_smoothing: Share = 0.0
    split_block: NotNegative | None = None
    curriculum: Share = 0.0
    num_workers: NotNegative = 0
    validation_size: Positive = 512

    def __post_init__(self) -> None:
        check_fields(self)

    def training(self, *, seed: int, precision: Precision, progress: bool) -> TrainingConfig:
        """All that a trainer needs to know.

        Args:
            seed: Of everything random.
            precision: Of matrix products; int8, which no training can use, is refused.
            progress: Show a progress bar.
        """
        own = dataclasses.asdict(self) | {"precision": precision}
        return TrainingConfig(**own, seed=seed, progress=progress)

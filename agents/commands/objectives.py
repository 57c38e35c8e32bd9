"""What encoders are trained for: the trainer of every objective, and the options that it leaves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.training.config import Objective, TrainingConfig
from encoders.training.distillation.config import DistillationConfig

if TYPE_CHECKING:
    from ave_env.scenes import Scenes
    from encoders.training.loop import TrainingLoop

DINO_TRAINING: Mapping[str, Any] = {"learning_rate": 5e-4, "weight_decay": 0.04, "warmup": 0.1}
"""Defaults of `--objective dino` where they differ from those of `TrainingConfig`."""

SMOKE_DISTILLATION = DistillationConfig(
    local_crops=2, head_hidden=32, head_bottleneck=16, head_outputs=64
)
"""A tiny projection head and few crops, for `--smoke`."""

_IDLE_WITH_DINO = (
    *("reconstruction_weight", "label_smoothing", "glimpse_size", "max_glimpses"),
    *("full_view_probability", "blind_probability", "curriculum", "reduction_warmup"),
    *("reduction_full", "sparse_branch", "ponder_weight", "distribution_weight"),
    *("teacher", "imitation_weight", "distillation_weight"),
    *("decoder_width", "decoder_depth", "decoder_num_heads"),
)


def refuse_idle(objective: Objective, given: Mapping[str, str]) -> None:
    """Refuses options that were typed and would do nothing.

    Args:
        objective: What is trained for.
        given: What was typed, by field.

    Raises:
        ValueError: Names the first of them.
    """
    for name, typed in given.items():
        if objective == "dino" and name in _IDLE_WITH_DINO:
            why = "self-distillation has neither glimpses nor heads nor reductions"
        elif objective != "dino" and name.startswith("dino."):
            why = f"it belongs to --objective dino, and this is --objective {objective}"
        else:
            continue
        raise ValueError(f"{typed} does nothing: {why}; leave it out")


def make_trainer(
    objective: Objective,
    encoder: Any,
    train_set: Scenes,
    validation_set: Scenes,
    folder: Path,
    *,
    training: TrainingConfig,
    distillation: DistillationConfig,
    resumed: bool,
    device: str,
    tensorboard_folder: Path | None,
) -> TrainingLoop:
    """What trains an encoder for an objective.

    Args:
        objective: What is trained for.
        encoder: The encoder, with the heads that the objective trains.
        train_set: Scenes to learn from.
        validation_set: Scenes to score on.
        folder: The run folder.
        training: Hyper-parameters.
        distillation: Those of `dino` alone.
        resumed: Whether the run folder holds a run to continue.
        device: "auto", "cpu" or "cuda".
        tensorboard_folder: Where events go; None = the run folder.

    Raises:
        ValueError: An encoder or hyper-parameters that do not fit the objective or each other.
    """
    common: dict[str, Any] = {"device": device, "tensorboard_folder": tensorboard_folder}
    parts = (encoder, train_set, validation_set, training, folder)
    if objective != "dino":
        from encoders.training.trainer import EncoderTrainer

        names = train_set.class_names if train_set.labelled else None
        return EncoderTrainer(*parts, class_names=names, **common)
    from encoders.training.distillation.trainer import DistillationTrainer

    if resumed and distillation.head_from is not None:  # its sizes are in the run itself
        distillation = dataclasses.replace(distillation, head_from=folder)
    trainer = DistillationTrainer(
        *parts,
        distillation,
        labelled=train_set.labelled,
        seamless=train_set.seamless,
        **common,
    )
    if not train_set.labelled and trainer.accelerator.is_main_process:
        print(
            "the scenes have no classes, so that validations have no nearest-neighbour accuracy; "
            "entropy, KL and spread say whether something is learnt"
        )
    return trainer

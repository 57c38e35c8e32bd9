"""Encoders that a study trains: with K and M sampled, or classically, all else alike."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from pathlib import Path
from typing import Any, Literal

from encoders.support.validation import Amount, NotNegative, Positive, Share, check_fields

Recipe = Literal["classic", "sampled"]
RECIPES: tuple[Recipe, ...] = ("classic", "sampled")

RECIPE_TITLES = {
    "classic": "whole images, K = 0",
    "sampled": "K and M sampled for every batch",
}


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """Hyper-parameters, the same for all encoders of a study.

    Attributes:
        epochs: Passes over `epoch_size` scenes.
        epoch_size: Scenes per epoch; None = the whole training split.
        train_batch_size: Scenes per step; each batch has one K and M.
        learning_rate: Peak of AdamW's rate; linear warm-up, then cosine to zero.
        weight_decay: Of matrices; vectors and position tables are not decayed.
        warmup: Share of all steps spent warming up.
        label_smoothing: Of the cross-entropy.
        num_workers: Processes that load images.
        validation_size: Scenes of the validation split to score after each epoch.
    """

    epochs: Positive = 10
    epoch_size: Positive | None = None
    train_batch_size: Positive = 64
    learning_rate: Amount = 1e-3
    weight_decay: Amount = 0.05
    warmup: Share = 0.05
    label_smoothing: Share = 0.0
    num_workers: NotNegative = 0
    validation_size: Positive = 256

    def __post_init__(self) -> None:
        check_fields(self)


def check_training_device(device: str) -> None:
    """Refuses a device that nothing is trained on.

    Raises:
        ValueError: It is not auto, cpu or cuda.
    """
    if device not in _DEVICES:
        raise ValueError(
            f"device={device!r}; expected {', '.join(_DEVICES)} in a study that trains encoders "
            "(which of several GPUs is up to CUDA_VISIBLE_DEVICES)"
        )


_DEVICES = ("auto", "cpu", "cuda")
SMOKE_TRAINING = TrainingOptions(epochs=1, epoch_size=32, train_batch_size=16, validation_size=16)


def train_encoder(
    encoder: Any,
    recipe: Recipe,
    folder: Path,
    options: Any,
    *,
    seed: int,
    glimpses: Any = None,
    reconstruction_weight: float = 0.0,
) -> Any:
    """Trains an encoder in a folder, or goes on with what is there.

    Args:
        encoder: Where training starts; changed in place.
        recipe: Whether K is drawn for every batch, or 0.
        folder: For the weights and what resuming needs.
        options: Of the study, with `training`.
        seed: Of everything random.
        glimpses: Which patches are seen; None = as the recipe says.
        reconstruction_weight: Weight of the pixel loss.

    Returns:
        The trained encoder, in evaluation mode.

    Raises:
        KeyboardInterrupt: It was interrupted, and has saved what there is.
    """
    from ave_env.registration import configure
    from encoders.training.config import TrainingConfig
    from encoders.training.divided_views import DividedViews, WholeViews
    from encoders.training.loop import STATE_FILE
    from encoders.training.trainer import EncoderTrainer

    training: TrainingOptions = options.training
    config = TrainingConfig(
        epochs=training.epochs,
        epoch_size=training.epoch_size,
        batch_size=training.train_batch_size,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        warmup=training.warmup,
        reconstruction_weight=reconstruction_weight,
        label_smoothing=training.label_smoothing,
        split_block=0 if recipe == "classic" else None,
        glimpse_size=1,  # of the trainer's own validation alone
        curriculum=0.0,
        precision=options.precision,
        seed=seed,
        num_workers=training.num_workers,
        validation_size=training.validation_size,
        progress=options.progress,
    )
    if glimpses is None:
        glimpses = WholeViews(encoder.grid) if recipe == "classic" else DividedViews(encoder.grid)
    train, validation = (
        configure(
            options.env,
            split=split,
            data_root=options.data_root,
            list_file=options.list_file,
            seamless=options.seamless,
            image_size=encoder.config.image_size,
            seed=options.scene_seed,
            cache_bytes=options.cache_bytes,
        ).open_scenes()
        for split in ("train", "val")
    )
    trainer = EncoderTrainer(
        encoder,
        train,
        validation,
        config,
        folder,
        glimpses=glimpses,
        class_names=train.class_names,
        device=options.device,
    )
    if (folder / STATE_FILE).is_file():
        trainer.resume()
    try:
        trainer.run()
    except BaseException:
        if not (folder / STATE_FILE).is_file():  # logs of what begins anew
            _discard(folder)
        raise
    if trainer.step < trainer.total_steps:
        raise KeyboardInterrupt
    return trainer.encoder.eval()


def _discard(folder: Path) -> None:
    """Removes a folder, and the one that it is in where that is empty then."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def training_gflops(encoder: Any, recipe: Recipe) -> float:
    """Billions of multiply-accumulates of an image's forward pass in training, on average.

    Args:
        encoder: Of the family "tore".
        recipe: Of K and M sampled, the mean over all K, M and orientations with their chances.
    """
    from encoders.analysis.divided import divided_flops
    from encoders.layers.divisions import Division
    from encoders.training.divided_views import DividedViews

    grid = encoder.grid
    if recipe == "classic":
        return divided_flops(encoder, Division(1).labels(grid), 0) / 1e9
    ways = DividedViews(grid).ways
    means = []
    for oriented in ways.values():
        each = [
            divided_flops(encoder, way.labels(grid), split)
            for way in oriented
            for split in range(encoder.depth + 1)
        ]
        means.append(sum(each) / len(each))
    return sum(means) / len(means) / 1e9

"""Training every model from scratch for the same processor time."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.storage import load_encoder, weights_hash
from encoders.support.files import write_json
from encoders.support.subsets import spread_evenly
from encoders.training.loop import STATE_FILE
from encoders.training.trainer import EncoderTrainer
from observation.settings import MODELS, Settings, build_model, count_parameters

_NOT_COUNTED = 2  # steps that begin a measurement
_SCENES_MEASURED = 256


class TimedTrainer(EncoderTrainer):
    """Notes what its steps take of the processor; loading scenes is no part of that.

    Attributes:
        seconds: Processor time of all steps so far, those before a resume included.
    """

    seconds = 0.0

    def _train_step(self, indices: Tensor, images: Tensor) -> dict[str, Tensor]:
        begun = time.thread_time()
        losses = super()._train_step(indices, images)
        self.seconds += time.thread_time() - begun
        return losses

    def advance(self) -> float:
        """One step; its seconds."""
        self.model.train()
        before = self.seconds
        for indices, images in self._batches(range(self.step, self.step + 1)):
            self._train_step(indices, images)
        self.step += 1
        return self.seconds - before

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "seconds": self.seconds}

    def _load_progress(self, state: dict[str, Any]) -> None:
        super()._load_progress(state)
        self.seconds = state["seconds"]


@dataclasses.dataclass(frozen=True, eq=False)
class FewScenes:
    """Scenes in memory.

    Attributes:
        images: uint8 `[N, H, W, 3]`.
        labels: int64 `[N]`.
        class_names: Of the labels.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]

    @classmethod
    def of(cls, scenes: Any, count: int) -> FewScenes:
        """So many scenes, spread evenly over a split."""
        rows = spread_evenly(count, len(scenes))
        images = np.stack([scenes.load(int(row)) for row in rows])
        return cls(images, scenes.labels[rows], tuple(scenes.class_names))

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int) -> np.ndarray:
        """uint8 `[H, W, 3]`."""
        return self.images[index]


def measure_speed(settings: Settings, scenes: Any) -> dict[str, float]:
    """Seconds of a training step of every model, the models taking turns at each step."""
    few = FewScenes.of(scenes, _SCENES_MEASURED)
    names = few.class_names
    config = settings.training(0, settings.measured_steps + _NOT_COUNTED, epochs=1)
    seconds: dict[str, list[float]] = {name: [] for name in MODELS}
    with tempfile.TemporaryDirectory() as folder:
        trainers = {
            name: TimedTrainer(
                build_model(name, settings, names, 0),
                few,
                few,
                config,
                Path(folder),
                class_names=names,
                device="cpu",
            )
            for name in MODELS
        }
        for step in range(config.epoch_size // config.batch_size):
            for name, trainer in trainers.items():
                taken = trainer.advance()
                if step >= _NOT_COUNTED or settings.measured_steps <= _NOT_COUNTED:
                    seconds[name].append(taken)
    return {name: statistics.mean(taken) for name, taken in seconds.items()}


def train(
    name: str,
    seed: int,
    settings: Settings,
    seconds_per_step: float,
    open_train: Callable[[], Any],
    folder: Path,
) -> Any:
    """Trains a model in a folder, or reads the one that was trained there; and what that took.

    The number of steps is such that the schedule of the learning rate ends in time.

    Returns:
        The encoder in evaluation mode, and a record.
    """
    done = folder / "training.json"
    if done.is_file():
        return load_encoder(folder), None
    steps = max(round(60 * settings.minutes / seconds_per_step), 1)
    scenes = open_train()
    names = tuple(scenes.class_names)
    trainer = TimedTrainer(
        build_model(name, settings, names, seed),
        scenes,
        settings.open_scenes("val"),
        settings.training(seed, steps),
        folder,
        class_names=names,
        device="cpu",
    )
    if (folder / STATE_FILE).is_file():
        trainer.resume()
    metrics = trainer.run()
    if trainer.step < trainer.total_steps:
        raise KeyboardInterrupt
    record = {
        "model": name,
        "seed": seed,
        "parameters": count_parameters(trainer.encoder),
        "weights_hash": weights_hash(trainer.encoder)[:12],
        "steps": trainer.step,
        "images": trainer.step * settings.batch_size,
        "seconds_planned": 60 * settings.minutes,
        "seconds": trainer.seconds,
        "seconds_per_step_measured": seconds_per_step,
        "precision": str(trainer.dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "validation": metrics,
    }
    write_json(done, record)
    return load_encoder(folder), record

"""The loop of encoder training: steps, validations, checkpoints, and continuing from them.

Every random choice of a step is a function of the seed and the step number, so that a resumed run
continues where it stopped and processes agree without talking.
"""

from __future__ import annotations

import abc
import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import accelerate
import numpy as np
import torch
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn
from torch.utils.data import Dataset
from torch.utils.tensorboard import SummaryWriter
from tqdm.auto import tqdm

from encoders.checkpoints.weight_files import CheckpointError
from encoders.layers.vit import set_fused_attention
from encoders.storage import load_encoder, load_strictly, save_encoder
from encoders.support.files import replacing, write_text
from encoders.support.interrupts import interrupts_wait
from encoders.support.precision import resolve_precision
from encoders.training.config import TrainingConfig
from encoders.training.loading import load_batches
from encoders.training.order import SceneOrder
from encoders.training.validation import LabelledImages

STATE_FILE = "training_state.pt"
_NOT_DECAYED = ("pos_embed", "_token", "unseen")
_STEPS_PER_NOTE = 20


class TrainingLoop(abc.ABC):
    """What is common to everything that encoders are trained for.

    Args:
        encoder: Trained in place; the one that is validated and saved.
        train: Images to learn from.
        validation: Images to score on.
        config: Hyper-parameters.
        folder: Where checkpoints and TensorBoard events go.
        class_names: Classes of the labels, which the encoder's class head counts as trained for
            from the first step on.
        device: "auto", "cpu" or "cuda".
        tensorboard_folder: Where events go; None = the run folder.
    """

    objective: ClassVar[str | None] = None
    """What `config.json` says that the encoder was trained for; None = nothing."""

    def __init__(
        self,
        encoder: Any,
        train: LabelledImages,
        validation: LabelledImages,
        config: TrainingConfig,
        folder: Path,
        class_names: tuple[str, ...] | None = None,
        device: str = "auto",
        tensorboard_folder: Path | None = None,
    ) -> None:
        self.config = config
        self.folder = folder
        self._class_names = class_names if encoder.config.num_classes else None
        self.train_images = train
        self.validation_images = validation
        self.accelerator = accelerate.Accelerator(
            cpu=device == "cpu",
            kwargs_handlers=[accelerate.DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        self.device = self.accelerator.device
        self.encoder = encoder.to(self.device)
        self.dtype = resolve_precision(config.precision, self.device)
        # Fused attention has a slow backward pass on CPUs.
        set_fused_attention(self.encoder, self.device.type == "cuda")
        learner = self._learner()
        optimizer = torch.optim.AdamW(self._parameter_groups(learner), lr=config.learning_rate)
        self.model, self.optimizer = self.accelerator.prepare(learner, optimizer)
        self.epoch_size = config.epoch_size or len(train)
        self.steps_per_epoch = max(self.epoch_size // config.batch_size, 1)
        self.step = 0
        self.history: list[dict[str, float]] = []
        self._tensorboard_folder = tensorboard_folder or folder

    @abc.abstractmethod
    def validate(self) -> dict[str, float]:
        """Scores the encoder as it is."""

    @abc.abstractmethod
    def table(self, history: Sequence[Mapping[str, float]], *, heading: bool = True) -> str:
        """What a person reads of validations.

        Args:
            history: Metrics with `step`, the oldest first; all with the same names.
            heading: Begin with what the columns are.
        """

    @abc.abstractmethod
    def _train_step(self, indices: Tensor, images: Any) -> dict[str, Tensor]:
        """One step of the optimiser; returns what to note of it, scalars."""

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.steps_per_epoch * self.config.epochs

    def run(self) -> dict[str, float]:
        """Trains to the end, or until Ctrl-C, which saves and returns.

        Returns:
            The last validation's metrics.
        """
        main = self.accelerator.is_main_process
        writer = SummaryWriter(str(self._tensorboard_folder)) if main else None
        bar = tqdm(
            total=self.total_steps,
            initial=self.step,
            disable=not (main and self.config.progress),
            unit="step",
            desc="training",
            smoothing=0.05,
        )
        rows = 0
        try:
            while self.step < self.total_steps:
                self._run_epoch(bar, writer)
                metrics = self.validate()
                self.history.append({"step": float(self.step), **metrics})
                if writer is not None:
                    for name, value in metrics.items():
                        writer.add_scalar(f"validation/{name}", value, self.step)
                    bar.write(self.table(self.history[-1:], heading=not rows))
                    rows += 1
                self.save()
        except KeyboardInterrupt:
            self.save()
            bar.write(f"interrupted; saved step {self.step} to {self.folder}")
        finally:
            bar.close()
            if writer is not None:
                writer.close()
        return self.history[-1] if self.history else {}

    def save(self) -> None:
        """Writes the encoder, and what `resume` needs, each whole or not at all."""
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return
        if self.step:
            config = self.encoder.config
            changes: dict[str, Any] = {
                "weights": "trained",
                "class_names": self._class_names or config.class_names,
            }
            if hasattr(config, "objective"):  # families with one objective do not name it
                changes["objective"] = self.objective
            self.encoder.config = dataclasses.replace(config, **changes)
        save_encoder(self.encoder, self.folder)
        with replacing(self.folder / STATE_FILE) as partial:
            torch.save(self._state(), partial)
        write_text(self.folder / "history.json", json.dumps(self.history, indent=2))

    def resume(self) -> None:
        """Continues from what `save` left in the folder.

        Raises:
            CheckpointError: Nothing to resume from.
        """
        path = check_resumable(self.folder)
        state = torch.load(path, map_location=self.device, weights_only=True)
        self._load_state(state)

    def _learner(self) -> nn.Module:
        """The module whose parameters are optimised."""
        return self.encoder

    def _parameter_groups(self, learner: nn.Module) -> list[dict[str, Any]]:
        """Parameters for the optimiser; vectors, position tables and tokens are not decayed."""
        tables = [name for name, _ in learner.named_parameters() if name.endswith(_NOT_DECAYED)]
        return param_groups_weight_decay(
            learner, self.config.weight_decay, no_weight_decay_list=tables
        )

    def _state(self) -> dict[str, Any]:
        """What `resume` needs beside the encoder's folder."""
        return {
            "step": self.step,
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "config": dataclasses.asdict(self.config),
        }

    def _load_state(self, state: dict[str, Any]) -> None:
        """Goes back to what `_state` returned when the encoder's folder was written."""
        saved = load_encoder(self.folder)
        load_strictly(self.encoder, saved.state_dict(), str(self.folder))
        self._load_progress(state)

    def _load_progress(self, state: dict[str, Any]) -> None:
        """Optimiser, step and history."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.history = state["history"]

    def _run_epoch(self, bar: tqdm, writer: SummaryWriter | None) -> None:
        self.model.train()
        stop = (self.step // self.steps_per_epoch + 1) * self.steps_per_epoch
        for indices, images in self._batches(range(self.step, stop)):
            with interrupts_wait():  # half a step could not be resumed
                losses = self._train_step(indices, images)
                self.step += 1
            bar.update()
            if self.step % _STEPS_PER_NOTE == 0:
                values = {name: float(loss) for name, loss in losses.items()}
                bar.set_postfix({name[:5]: f"{value:.3f}" for name, value in values.items()})
                if writer is not None:
                    for name, value in values.items():
                        writer.add_scalar(f"train/{name}", value, self.step)
                    writer.add_scalar("train/learning_rate", self._learning_rate(), self.step)

    def _batches(self, steps: range) -> Iterator[tuple[Tensor, Any]]:
        config, world = self.config, self.accelerator.num_processes
        own = slice(self.accelerator.process_index, None, world)
        order = SceneOrder(len(self.train_images), config.seed)
        indices = [order.batch(step * config.batch_size, config.batch_size)[own] for step in steps]
        loaded = load_batches(_Pixels(self.train_images), indices, config.num_workers)
        for batch, images in zip(indices, loaded, strict=True):
            yield torch.as_tensor(batch), images

    def _learning_rate(self) -> float:
        warmup = max(int(self.config.warmup * self.total_steps), 1)
        if self.step < warmup:
            return self.config.learning_rate * (self.step + 1) / warmup
        progress = (self.step - warmup) / max(self.total_steps - warmup, 1)
        return self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def check_resumable(folder: Path) -> Path:
    """The file in a run folder with what a run needs to go on.

    Raises:
        CheckpointError: There is none.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder}: no {STATE_FILE} to resume from; start a new run")
    return path


class _Pixels(Dataset):
    def __init__(self, images: LabelledImages) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        # A copy of what a cache keeps, which nobody may write to.
        return torch.from_numpy(np.require(self.images.load(int(index)), requirements="W"))

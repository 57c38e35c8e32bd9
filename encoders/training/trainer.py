"""Training of an encoder: the loop, its random choices, its checkpoints.

Every random choice of a step (scenes, glimpses, what its family draws) is a function of the seed
and the step number, so that a resumed run continues where it stopped and processes agree without
talking.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import torch
from timm.optim import param_groups_weight_decay
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from tqdm.auto import tqdm

from encoders.checkpoints.weight_files import CheckpointError
from encoders.layers.vit import set_fused_attention
from encoders.registry import training_of
from encoders.storage import load_encoder, load_strictly, save_encoder
from encoders.support.files import replacing, write_text
from encoders.support.precision import autocast, resolve_precision
from encoders.training.config import TrainingConfig
from encoders.training.family import FamilyTraining, Moment
from encoders.training.objective import belief_loss, glimpses_and_targets, objective_outputs
from encoders.training.order import SceneOrder
from encoders.training.sources import GlimpseSource, RandomGlimpses
from encoders.training.validation import LabelledImages, tabulate, validate

STATE_FILE = "training_state.pt"
_NOT_DECAYED = ("pos_embed", "_token", "unseen")
_CHANCES = 2**32


class EncoderTrainer:
    """The loop behind `train_encoder.py`.

    Args:
        encoder: Of a family that can be trained; trained in place.
        train: Images to learn from.
        validation: Images to score on.
        config: Hyper-parameters.
        folder: Where checkpoints and TensorBoard events go.
        glimpses: Which patches are seen; None = random windows.
        class_names: Classes of the labels, which the encoder's class head counts as trained for
            from the first step on.
        device: "auto", "cpu" or "cuda".
        tensorboard_folder: Where events go; None = the run folder.

    Raises:
        ValueError: Glimpses that are larger than the images; an encoder that cannot be trained, or
            hyper-parameters that its family does not have.
    """

    def __init__(
        self,
        encoder: Any,
        train: LabelledImages,
        validation: LabelledImages,
        config: TrainingConfig,
        folder: Path,
        glimpses: GlimpseSource | None = None,
        class_names: tuple[str, ...] | None = None,
        device: str = "auto",
        tensorboard_folder: Path | None = None,
    ) -> None:
        if config.glimpse_size > min(encoder.grid):
            rows, columns = encoder.grid
            raise ValueError(
                f"glimpse_size={config.glimpse_size} (patches per side) does not fit the "
                f"{rows}x{columns} patches of an image"
            )
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
        kind = training_of(encoder.family)
        self.family: FamilyTraining = kind(self.encoder, config)
        self.glimpses = glimpses or RandomGlimpses(config, encoder.grid, kind.rows_apart)
        self.dtype = resolve_precision(config.precision, self.device)
        # Fused attention has a slow backward pass on CPUs.
        set_fused_attention(self.encoder, self.device.type == "cuda")
        optimizer = torch.optim.AdamW(
            _parameter_groups(self.encoder, config.weight_decay), lr=config.learning_rate
        )
        self.model, self.optimizer = self.accelerator.prepare(self.encoder, optimizer)
        self.epoch_size = config.epoch_size or len(train)
        self.steps_per_epoch = max(self.epoch_size // config.batch_size, 1)
        self.step = 0
        self.history: list[dict[str, float]] = []
        self._tensorboard_folder = tensorboard_folder or folder

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
                    bar.write(tabulate(self.history[-1:], heading=not rows))
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

    def validate(self) -> dict[str, float]:
        """Scores the encoder as it is; see `encoders.training.validation.validate`."""
        return validate(
            self.encoder, self.validation_images, self.config, self.dtype, self.family.scored()
        )

    def save(self) -> None:
        """Writes the encoder, and what `resume` needs, each whole or not at all."""
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return
        if self.step:
            self.encoder.config = dataclasses.replace(
                self.encoder.config,
                weights="trained",
                class_names=self._class_names or self.encoder.config.class_names,
            )
        save_encoder(self.encoder, self.folder)
        state = {
            "step": self.step,
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "config": dataclasses.asdict(self.config),
        }
        with replacing(self.folder / STATE_FILE) as partial:
            torch.save(state, partial)
        write_text(self.folder / "history.json", json.dumps(self.history, indent=2))

    def resume(self) -> None:
        """Continues from what `save` left in the folder.

        Raises:
            CheckpointError: Nothing to resume from.
        """
        path = check_resumable(self.folder)
        state = torch.load(path, map_location=self.device, weights_only=True)
        saved = load_encoder(self.folder)
        load_strictly(self.encoder, saved.state_dict(), str(self.folder))
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.history = state["history"]

    def _run_epoch(self, bar: tqdm, writer: SummaryWriter | None) -> None:
        self.model.train()
        stop = (self.step // self.steps_per_epoch + 1) * self.steps_per_epoch
        for indices, images in self._batches(range(self.step, stop)):
            losses = self._train_step(indices, images)
            self.step += 1
            bar.update()
            if self.step % 20 == 0:
                values = {name: float(loss) for name, loss in losses.items()}
                bar.set_postfix({name[:5]: f"{value:.3f}" for name, value in values.items()})
                if writer is not None:
                    for name, value in values.items():
                        writer.add_scalar(f"train/{name}", value, self.step)
                    writer.add_scalar("train/learning_rate", self._learning_rate(), self.step)

    def _train_step(self, indices: Tensor, images: Tensor) -> dict[str, Tensor]:
        config = self.config
        rng = np.random.default_rng([config.seed, self.step, 1])
        moment = Moment(
            self.step,
            self.total_steps,
            warming_up=self.step < config.curriculum * self.total_steps,
            chance=int(rng.integers(_CHANCES)) / _CHANCES,
        )
        chosen = self.glimpses(indices.numpy(), rng, moment.warming_up)
        patch_ids = torch.from_numpy(np.ascontiguousarray(chosen))
        labels = torch.from_numpy(self.train_images.labels[indices.numpy()]).to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        with autocast(self.device, self.dtype):
            patches, targets = glimpses_and_targets(self.encoder, images, patch_ids)
            belief, own = self.family.believe(
                self.model, patches, patch_ids, objective_outputs(self.encoder), moment
            )
        losses = belief_loss(belief, targets, labels, patch_ids.flatten(1), config, own)
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(losses["total"])
        self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return {name: loss.detach() for name, loss in losses.items()}

    def _batches(self, steps: range) -> Iterator[tuple[Tensor, Tensor]]:
        config, world = self.config, self.accelerator.num_processes
        own = slice(self.accelerator.process_index, None, world)
        order = SceneOrder(len(self.train_images), config.seed)
        indices = [order.batch(step * config.batch_size, config.batch_size)[own] for step in steps]
        loader: DataLoader[Any] = DataLoader(
            _Pixels(self.train_images),
            batch_sampler=indices,
            num_workers=config.num_workers,
            prefetch_factor=4 if config.num_workers else None,
        )
        for batch, images in zip(indices, loader, strict=True):
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


def _parameter_groups(encoder: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Vectors, position tables and tokens are not decayed."""
    tables = [name for name, _ in encoder.named_parameters() if name.endswith(_NOT_DECAYED)]
    return param_groups_weight_decay(encoder, weight_decay, no_weight_decay_list=tables)

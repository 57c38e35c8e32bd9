"""Training of a TORE encoder: the loop, its random choices, its checkpoints.

Every random choice of a step (scenes, glimpses, split block) is a function of the seed and the step
number, so that a resumed run continues where it stopped and processes agree without talking.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import accelerate
import numpy as np
import torch
from timm.optim import param_groups_weight_decay
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from tqdm.auto import tqdm

from encoders.checkpoints.weight_files import CheckpointError
from encoders.families.tore.model import GlimpseEncoder
from encoders.layers.angular import risen_threshold, set_sparse_threshold
from encoders.layers.vit import set_fused_attention
from encoders.reduction.config import eased_share
from encoders.storage import load_encoder, load_strictly, save_encoder
from encoders.support.files import replacing, write_text
from encoders.support.precision import autocast, resolve_precision
from encoders.training.config import TrainingConfig
from encoders.training.glimpses import full_view, random_glimpses, random_tiles
from encoders.training.objective import glimpses_and_targets, objective_outputs, tore_loss
from encoders.training.order import SceneOrder
from encoders.training.validation import LabelledImages, tabulate, validate

STATE_FILE = "training_state.pt"
_NOT_DECAYED = ("pos_embed", "_token")


class GlimpseSource(Protocol):
    """Chooses which patches of each training image are seen."""

    def __call__(
        self, indices: np.ndarray, rng: np.random.Generator, warming_up: bool
    ) -> np.ndarray:
        """Chooses glimpses.

        Args:
            indices: Numbers of the images, int64 `[B]`.
            rng: Of this batch.
            warming_up: Whether the run is still getting the classifier off its plateau.

        Returns:
            Patch ids int64 `[B, T, n]`, -1 = padding.
        """


class RandomGlimpses:
    """The default glimpse source: random windows, random in number, the same number in a batch.

    Half of the batches draw windows anywhere, half draw them from a tiling.

    Args:
        config: Counts and probabilities.
        grid: Rows and columns of patches.
    """

    def __init__(self, config: TrainingConfig, grid: tuple[int, int]) -> None:
        self.config = config
        self.grid = grid

    def __call__(
        self, indices: np.ndarray, rng: np.random.Generator, warming_up: bool
    ) -> np.ndarray:
        """Patch ids int64 `[B, T, n]` for a batch of images; -1 where seen before."""
        config, size = self.config, self.config.glimpse_size
        if warming_up:
            count = int(rng.integers(config.max_glimpses // 2, 2 * config.max_glimpses + 1))
            return random_tiles(rng, len(indices), count, self.grid, size)
        draw = rng.random()
        if draw < config.full_view_probability:
            return full_view(len(indices), self.grid, size)
        if draw < config.full_view_probability + config.blind_probability:
            count = 0
        else:
            count = int(rng.integers(1, config.max_glimpses + 1))
        windows = random_tiles if rng.random() < 0.5 else random_glimpses
        return windows(rng, len(indices), count, self.grid, size)


class EncoderTrainer:
    """The loop behind `train_encoder.py`.

    Args:
        encoder: Trained in place.
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
        ValueError: Glimpses that are larger than the images.
    """

    def __init__(
        self,
        encoder: GlimpseEncoder,
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
        self.glimpses = glimpses or RandomGlimpses(config, encoder.grid)
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
        return validate(self.encoder, self.validation_images, self.config, self.dtype)

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
        drawn = int(rng.integers(self.encoder.depth + 1))
        warming_up = self.step < config.curriculum * self.total_steps
        split = 0 if warming_up else drawn
        if config.split_block is not None:
            split = config.split_block
        chosen = self.glimpses(indices.numpy(), rng, warming_up)
        patch_ids = torch.from_numpy(np.ascontiguousarray(chosen))
        labels = torch.from_numpy(self.train_images.labels[indices.numpy()]).to(self.device)
        set_sparse_threshold(self.encoder, self._sparse_threshold())
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        with autocast(self.device, self.dtype):
            patches, targets = glimpses_and_targets(self.encoder, images, patch_ids)
            belief = self.model(
                patches, patch_ids, split, objective_outputs(self.encoder), **self._reduction()
            )
        losses = tore_loss(belief, targets, labels, patch_ids.flatten(1), config)
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(losses["total"])
        self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return {name: loss.detach() for name, loss in losses.items()}

    def _sparse_threshold(self) -> float:
        """That of the sparse branch of angular attention at this step."""
        last = self.config.sparse_branch * self.total_steps
        return risen_threshold(self.step / last if last else 1.0)

    def _reduction(self) -> dict[str, Any]:
        """The encoder's reduction as strong as it is at this step; nothing where it has none."""
        reduction = self.encoder.plan.reduction
        if reduction.name == "none":
            return {}
        begin, full = self.config.reduction_warmup, self.config.reduction_full
        share = eased_share(self.step, begin * self.total_steps, full * self.total_steps)
        return {"reduction": reduction.eased(share)}

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


def _parameter_groups(encoder: GlimpseEncoder, weight_decay: float) -> list[dict[str, Any]]:
    """Vectors, position tables and tokens are not decayed."""
    tables = [name for name, _ in encoder.named_parameters() if name.endswith(_NOT_DECAYED)]
    return param_groups_weight_decay(encoder, weight_decay, no_weight_decay_list=tables)

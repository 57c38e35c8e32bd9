"""Training of a TORE encoder to name scenes and to paint what it has not seen of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from encoders.families.tore.model import GlimpseEncoder
from encoders.reduction.config import eased_share
from encoders.support.precision import autocast
from encoders.training.config import TrainingConfig
from encoders.training.glimpses import full_view, random_glimpses, random_tiles
from encoders.training.loop import TrainingLoop
from encoders.training.objective import glimpses_and_targets, objective_outputs, tore_loss
from encoders.training.validation import LabelledImages, tabulate, validate


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


class EncoderTrainer(TrainingLoop):
    """The training behind `train_encoder.py --objective tore`.

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
        super().__init__(
            encoder, train, validation, config, folder, class_names, device, tensorboard_folder
        )
        self.glimpses = glimpses or RandomGlimpses(config, encoder.grid)

    def validate(self) -> dict[str, float]:
        """Scores the encoder as it is; see `encoders.training.validation.validate`."""
        return validate(self.encoder, self.validation_images, self.config, self.dtype)

    def table(self, history: Sequence[Mapping[str, float]], *, heading: bool = True) -> str:
        """Accuracies and errors; see `encoders.training.validation.tabulate`."""
        return tabulate(history, heading=heading)

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

    def _reduction(self) -> dict[str, Any]:
        """The encoder's reduction as strong as it is at this step; nothing where it has none."""
        reduction = self.encoder.plan.reduction
        if reduction.name == "none":
            return {}
        begin, full = self.config.reduction_warmup, self.config.reduction_full
        share = eased_share(self.step, begin * self.total_steps, full * self.total_steps)
        return {"reduction": reduction.eased(share)}

"""Training of an encoder for the belief it forms from glimpses: classes, and pixels unseen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.registry import training_of
from encoders.support.precision import autocast
from encoders.training.config import TrainingConfig
from encoders.training.family import FamilyTraining, Moment
from encoders.training.loop import TrainingLoop
from encoders.training.objective import belief_loss, glimpses_and_targets, objective_outputs
from encoders.training.sources import GlimpseSource, RandomGlimpses
from encoders.training.validation import LabelledImages, tabulate, validate

_CHANCES = 2**32


class EncoderTrainer(TrainingLoop):
    """The training behind `train_encoder.py --objective belief`.

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
        super().__init__(
            encoder, train, validation, config, folder, class_names, device, tensorboard_folder
        )
        kind = training_of(encoder.family)
        self.family: FamilyTraining = kind(self.encoder, config)
        self.glimpses = glimpses or RandomGlimpses(config, encoder.grid, kind.rows_apart)

    def validate(self) -> dict[str, float]:
        """Scores the encoder as it is; see `encoders.training.validation.validate`."""
        return validate(
            self.encoder, self.validation_images, self.config, self.dtype, self.family.scored()
        )

    def table(self, history: Sequence[Mapping[str, float]], *, heading: bool = True) -> str:
        """Accuracies and errors; see `encoders.training.validation.tabulate`."""
        return tabulate(history, heading=heading)

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

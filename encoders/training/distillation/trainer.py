"""Self-distillation of an encoder: DINO, whose student may see its crops in parts."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torch.utils.tensorboard import SummaryWriter
from tqdm.auto import tqdm

from encoders.families.tore.model import GlimpseEncoder
from encoders.support.notices import warn
from encoders.support.precision import autocast
from encoders.training.config import TrainingConfig
from encoders.training.distillation.config import DistillationConfig
from encoders.training.distillation.crops import GLOBAL_CROPS, MultiCrop, crop_sizes
from encoders.training.distillation.head import ProjectionHead, load_head, save_head
from encoders.training.distillation.loss import (
    distillation_loss,
    feature_spread,
    updated_center,
)
from encoders.training.distillation.model import (
    CropEncoder,
    View,
    clip_each,
    draw_view,
    follow,
    parameter_groups,
)
from encoders.training.distillation.schedules import CosineSchedule, LinearSchedule
from encoders.training.distillation.validation import knn_metrics, signs_of_collapse, tabulate
from encoders.training.loading import load_batches
from encoders.training.loop import TrainingLoop
from encoders.training.order import SceneOrder
from encoders.training.validation import LabelledImages

_CROPS, _VIEWS = 3, 4  # what a generator is for, beside the seed and the position


class DistillationTrainer(TrainingLoop):
    """The training behind `train_encoder.py --objective dino`.

    The encoder that is given becomes the teacher, which is what is validated and saved; the student
    is a copy. Of the training state everything is in one file, so that whenever the process ends,
    what is resumed is one moment of it.

    Args:
        encoder: Trained in place, by following the student; without class head and decoder.
        train: Images to learn from; their labels are used for validations alone.
        validation: Images to score on.
        config: Hyper-parameters of all training; those of glimpses, classes, pixels and reductions
            are not used.
        folder: Where checkpoints and TensorBoard events go.
        distillation: Hyper-parameters of DINO.
        labelled: Whether the images have classes, without which there is no accuracy.
        seamless: Whether their left and right edges meet.
        device: "auto", "cpu" or "cuda".
        tensorboard_folder: Where events go; None = the run folder.

    Raises:
        ValueError: An encoder with heads or reductions; crops or parts that do not fit it.
        CheckpointError: A projection head that cannot be started from.
    """

    objective: ClassVar[str | None] = "dino"

    def __init__(
        self,
        encoder: GlimpseEncoder,
        train: LabelledImages,
        validation: LabelledImages,
        config: TrainingConfig,
        folder: Path,
        distillation: DistillationConfig,
        *,
        labelled: bool = True,
        seamless: bool = False,
        device: str = "auto",
        tensorboard_folder: Path | None = None,
    ) -> None:
        self.distillation = distillation
        self.labelled = labelled
        self._sizes = crop_sizes(distillation, encoder.config.image_size, encoder.config.patch_size)
        self.crops = MultiCrop(distillation, self._sizes, seamless)
        self._check(encoder, config)
        super().__init__(
            encoder,
            train,
            validation,
            config,
            folder,
            device=device,
            tensorboard_folder=tensorboard_folder,
        )
        self.center = torch.zeros(
            self.teacher.head.last_layer.weight_g.shape[0], device=self.device
        )
        self._sums: dict[str, Tensor] = {}
        self._noted = 0
        total, own = self.total_steps, distillation
        warmup = int(config.warmup * total)
        self._rates = CosineSchedule(config.learning_rate, own.learning_rate_end, total, warmup)
        self._decays = CosineSchedule(config.weight_decay, own.weight_decay_end, total)
        self._momenta = CosineSchedule(own.teacher_momentum, own.teacher_momentum_end, total)
        self._temperatures = LinearSchedule(
            own.teacher_temperature_start,
            own.teacher_temperature,
            round(own.teacher_temperature_warmup * config.epochs),
        )

    def validate(self) -> dict[str, float]:
        """Scores the teacher, and says what the epoch was like.

        Returns:
            `knn_top1` and `knn_top5` in [0, 1], where the scenes have classes; and the means over
            the steps of the epoch of `loss`, `kl`, `teacher_entropy`, `center_norm` and
            `feature_spread`.
        """
        metrics = {name: float(total) / self._noted for name, total in self._sums.items()}
        if self.labelled:
            metrics |= knn_metrics(
                self.encoder,
                self.train_images,
                self.validation_images,
                self.config.validation_size,
                self.distillation,
                self.dtype,
            )
        if metrics.keys() >= {"teacher_entropy", "feature_spread"} and self._is_warm:
            for sign in signs_of_collapse(metrics, len(self.center)):
                warn(f"step {self.step}: {sign}")
        return metrics

    def table(self, history: Sequence[Mapping[str, float]], *, heading: bool = True) -> str:
        """Accuracy, and the signs of health; see `validation.tabulate`."""
        return tabulate(history, heading=heading)

    def save(self) -> None:
        """Writes the teacher, its projection head, and what `resume` needs."""
        if self.accelerator.is_main_process:
            save_head(self.teacher.head, self.folder)
        super().save()

    @property
    def _is_warm(self) -> bool:
        """Whether the learning rate has been at its peak; before, features are what they were."""
        return self.step > self._rates.warmup_steps

    def _check(self, encoder: GlimpseEncoder, config: TrainingConfig) -> None:
        name = encoder.config.name
        if encoder.config.num_classes or encoder.decoder is not None:
            raise ValueError(
                f"encoder {name!r} has a class head or a decoder, which self-distillation would "
                "leave as they are while the features change; take them off (without_heads)"
            )
        if encoder.backbone.attention != "softmax":
            raise ValueError(
                f"encoder {name!r} has {encoder.backbone.attention} attention, whose neighbours "
                "depend on the grid; self-distillation is for encoders of softmax attention"
            )
        if encoder.plan.options():
            raise ValueError(
                f"encoder {name!r} reduces tokens ({encoder.plan}), which self-distillation does "
                "not; pass reduction='none' and max_tokens=0, and reduce them later"
            )
        if self.distillation.divide_student:
            for grid in self._sizes.grids:
                draw_view(np.random.default_rng(0), grid, encoder.depth, self.distillation.parts)
            encoder.resolve_options({"split_block": config.split_block})
        elif config.split_block is not None:
            raise ValueError(
                f"split_block={config.split_block} does nothing with divide_student=False: images "
                "are seen whole; leave one of them out"
            )

    def _learner(self) -> nn.Module:
        config, width = self.distillation, self.encoder.width
        if config.head_from is not None:
            head = load_head(config.head_from, width, config.head_normalised)
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.config.seed)
                head = ProjectionHead(
                    width,
                    config.head_hidden,
                    config.head_bottleneck,
                    config.head_outputs,
                    config.head_normalised,
                )
        self.teacher = CropEncoder(self.encoder, head.to(self.device))
        self.student = copy.deepcopy(self.teacher)
        self.teacher.requires_grad_(False).eval()
        return self.student

    def _parameter_groups(self, learner: nn.Module) -> list[dict[str, Any]]:
        return parameter_groups(learner)

    def _run_epoch(self, bar: tqdm, writer: SummaryWriter | None) -> None:
        if self.step % self.steps_per_epoch == 0:
            self._sums, self._noted = {}, 0
        super()._run_epoch(bar, writer)

    def _train_step(self, indices: Tensor, images: Any) -> dict[str, Tensor]:
        own, step = self.distillation, self.step
        epoch = step // self.steps_per_epoch
        decayed, others = self.optimizer.param_groups
        decayed["lr"] = others["lr"] = self._learning_rate()
        decayed["weight_decay"] = self._decays.at(step)
        # From images with several crops to one crop of all images after the other.
        groups = [self.encoder.normalise(group.transpose(0, 1).flatten(0, 1)) for group in images]
        with torch.no_grad(), autocast(self.device, self.dtype):
            _, taught = self.teacher(groups[:1], [View()])
        with autocast(self.device, self.dtype):
            latents, learnt = self.model(groups, self._views())
        teacher = taught.float().unflatten(0, (GLOBAL_CROPS, -1))
        student = learnt.float().unflatten(0, (-1, len(indices)))
        terms = distillation_loss(
            student,
            teacher,
            self.center,
            own.student_temperature,
            self._temperatures.at(epoch),
        )
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(terms.loss)
        clip_each(self.student, own.clip_gradients)
        if epoch < own.freeze_last_layer:
            for parameter in self.student.head.last_layer.parameters():
                parameter.grad = None
        self.optimizer.step()
        follow(self.teacher, self.student, self._momenta.at(step))
        if own.centering:
            mean = self.accelerator.reduce(teacher.flatten(0, 1).mean(0), "mean")
            self.center = updated_center(self.center, mean, own.center_momentum)
        return self._note(
            {
                "loss": terms.loss.detach(),
                "kl": terms.divergence,
                "teacher_entropy": terms.entropy,
                "center_norm": self.center.norm(),
                "feature_spread": feature_spread(latents.detach()[: len(indices)]),
            }
        )

    def _note(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        for name, value in values.items():
            before = self._sums.get(name, 0.0)
            self._sums[name] = before + value.to(torch.float64)
        self._noted += 1
        return values

    def _views(self) -> list[View]:
        """How the student sees crops of each size in this step."""
        own = self.distillation
        if not own.divide_student:
            return [View() for _ in self._sizes.grids]
        return [
            draw_view(
                np.random.default_rng([self.config.seed, self.step, _VIEWS, number]),
                grid,
                self.encoder.depth,
                own.parts,
                self.config.split_block,
            )
            for number, grid in enumerate(self._sizes.grids)
        ]

    def _learning_rate(self) -> float:
        return self._rates.at(self.step)

    def _batches(self, steps: range) -> Iterator[tuple[Tensor, Any]]:
        config, world = self.config, self.accelerator.num_processes
        own = slice(self.accelerator.process_index, None, world)
        order = SceneOrder(len(self.train_images), config.seed)
        batches = []
        for step in steps:
            first = step * config.batch_size
            indices = order.batch(first, config.batch_size)
            batches.append(list(enumerate(indices, first))[own])
        crops = _Crops(self.train_images, self.crops, config.seed)
        loaded = load_batches(crops, batches, config.num_workers)
        for batch, groups in zip(batches, loaded, strict=True):
            yield torch.tensor([index for _, index in batch]), groups

    def _state(self) -> dict[str, Any]:
        return super()._state() | {
            "student": self.student.state_dict(),
            "teacher": self.teacher.state_dict(),
            "center": self.center,
            "sums": self._sums,
            "noted": self._noted,
        }

    def _load_state(self, state: dict[str, Any]) -> None:
        self.student.load_state_dict(state["student"])
        self.teacher.load_state_dict(state["teacher"])
        self.center = state["center"]
        self._sums, self._noted = state["sums"], state["noted"]
        self._load_progress(state)


class _Crops(Dataset):
    """Crops of images, by the position in the run and the number of the image."""

    def __init__(self, images: LabelledImages, crops: MultiCrop, seed: int) -> None:
        self.images = images
        self.crops = crops
        self.seed = seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: tuple[int, int]) -> list[Tensor]:
        position, index = place
        rng = np.random.default_rng([self.seed, position, _CROPS])
        # A copy of what a cache keeps, which nobody may write to.
        image = np.require(self.images.load(int(index)), requirements="W")
        return self.crops(image, rng)

"""Hyper-parameters of self-distillation; imports no torch."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from encoders.layers.divisions import PART_COUNTS
from encoders.support.validation import Amount, NotNegative, Positive, Range, Share, check_fields

Temperature = Annotated[float, Range(0, open=True)]
Area = Annotated[float, Range(0, 1, open=True)]


@dataclasses.dataclass(frozen=True)
class DistillationConfig:
    """What DINO has beside the hyper-parameters of all encoder training.

    The defaults are those of Caron et al., "Emerging Properties in Self-Supervised Vision
    Transformers", ICCV 2021, except for fewer local crops and a smaller projection head (theirs: 8
    crops; 2048, 256 and 65,536 channels), which suit encoders of the size of tore-nano.

    Attributes:
        local_crops: Small crops of every image beside the two large ones; the student alone sees
            them.
        local_size: Height and width of a small crop in pixels; None = three sevenths of the image,
            in whole patches (96 of 224 pixels).
        global_scale: Smallest and largest share of the scene's area in a large crop.
        local_scale: The same of a small crop.
        flip: Share of crops that are mirrored.
        color_jitter: Share of crops whose brightness, contrast, saturation and hue are changed.
        grayscale: Share of crops without colour.
        blur: Whether crops are blurred: all first large ones, a tenth of the second ones, half of
            the small ones.
        solarize: Share of second large crops whose bright pixels are inverted.
        head_hidden: Channels of the projection head's hidden layers.
        head_bottleneck: Channels of its last hidden layer, whose length is made one.
        head_outputs: Its outputs, over which student and teacher are distributions.
        head_normalised: Keep the lengths of the last layer's rows at one; the authors do, except
            for small models with much data.
        head_from: Start from this projection head: a run folder, or a file of weights with one,
            such as DINO's full checkpoints. Its sizes are the file's.
        student_temperature: Of the student's softmax.
        teacher_temperature: Of the teacher's, after its warm-up; the lower, the sharper.
        teacher_temperature_start: Of the teacher's in the first epoch.
        teacher_temperature_warmup: Share of the epochs in which it rises, linearly.
        centering: Whether the running mean of the teacher's outputs is taken off them.
        center_momentum: How much of that mean stays at each step.
        teacher_momentum: How much of the teacher stays at the first step; a cosine leads to
            `teacher_momentum_end`. 0 = the teacher is the student.
        teacher_momentum_end: How much of the teacher stays at the last step.
        weight_decay_end: Weight decay at the last step; a cosine leads from `weight_decay` to it.
        learning_rate_end: Learning rate at the last step.
        freeze_last_layer: Epochs in which the head's last layer stays as it is.
        clip_gradients: Longest gradient of any one tensor; 0 = as they are.
        divide_student: Let the student see its crops in parts, recycled at a drawn split block as
            TORE does; the teacher sees them whole. Drawn for every crop size of every batch.
        parts: Numbers of parts to draw from, each as likely; None = all that a crop can be divided
            into, of 1, 2, 3, 4, 6, 8, 9, 12 and 16.
        knn_neighbours: Neighbours that vote in a validation.
        knn_bank: Training scenes among which they are looked for.

    Raises:
        TypeError: A value of another type.
        ValueError: A number out of range, or a range that ends before it begins.
    """

    local_crops: NotNegative = 4
    local_size: tuple[Positive, Positive] | None = None
    global_scale: tuple[Area, Area] = (0.4, 1.0)
    local_scale: tuple[Area, Area] = (0.05, 0.4)
    flip: Share = 0.5
    color_jitter: Share = 0.8
    grayscale: Share = 0.2
    blur: bool = True
    solarize: Share = 0.2
    head_hidden: Positive = 512
    head_bottleneck: Positive = 128
    head_outputs: Annotated[int, Range(2)] = 4096
    head_normalised: bool = True
    head_from: Path | None = None
    student_temperature: Temperature = 0.1
    teacher_temperature: Temperature = 0.07
    teacher_temperature_start: Temperature = 0.04
    teacher_temperature_warmup: Share = 0.3
    centering: bool = True
    center_momentum: Share = 0.9
    teacher_momentum: Share = 0.996
    teacher_momentum_end: Share = 1.0
    weight_decay_end: Amount = 0.4
    learning_rate_end: Amount = 1e-6
    freeze_last_layer: NotNegative = 1
    clip_gradients: Amount = 3.0
    divide_student: bool = True
    parts: tuple[Positive, ...] | None = None
    knn_neighbours: Positive = 20
    knn_bank: Positive = 4096

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("global_scale", "local_scale"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}={low} {high} ends before it begins; swap the two")
        if self.parts is not None:
            allowed = ", ".join(map(str, PART_COUNTS))
            if not self.parts:
                raise ValueError(f"parts={self.parts}; expected at least one of {allowed}")
            for count in self.parts:
                if count not in PART_COUNTS:
                    raise ValueError(f"parts={self.parts}: {count} is none of {allowed}")
            if not self.divide_student:
                raise ValueError(
                    f"parts={self.parts} do nothing with divide_student=False; leave one of them "
                    "out"
                )

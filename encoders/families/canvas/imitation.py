"""How RIFormers are trained: alone, or in imitation of a teacher whose blocks have a token mixer.

Source: Wang et al., "RIFormer", CVPR 2023, section 3.3, "module imitation": in every block the
affine is to give what the teacher's mixer gives, and the block what the teacher's block gives; the
student starts from the teacher's weights but for the mixers, and learns from its predictions too.
Not taken over is the paper's third term, relations between the cells of a map.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.families.canvas.riformer import RIFormerBlock, blocks_of
from encoders.families.canvas.training import CanvasTraining
from encoders.protocol import Belief
from encoders.storage import load_encoder
from encoders.training.config import TrainingConfig
from encoders.training.family import Moment, Weighted

_SHARED = ("layers", "widths", "mlp_ratio", "norm", "embedding")  # sizes of student and teacher


class RIFormerTraining(CanvasTraining):
    """Training of a RIFormer, with `config.teacher` by module imitation.

    A student that was not trained before starts from the teacher's weights, mixers apart.

    Args:
        encoder: A `RIFormerEncoder`.
        config: Hyper-parameters; `teacher` is the folder of a RIFormer with mixers.

    Raises:
        ValueError: An encoder whose affines were folded, or a teacher that it cannot imitate.
    """

    family: ClassVar[str] = "riformer"
    rows_apart: ClassVar[bool] = False  # no norm looks at more than one image
    options: ClassVar[frozenset[str]] = frozenset(("teacher",))
    smoke_sizes: ClassVar[Mapping[str, Any]] = {"layers": [1, 1], "widths": [8, 12]}

    def __init__(self, encoder: Any, config: TrainingConfig) -> None:
        super().__init__(encoder, config)
        if encoder.config.body["folded"]:
            raise ValueError(
                f"encoder {encoder.config.name!r}: its affines were folded into its norms for "
                "inference; train the encoder that it was made from"
            )
        self.teacher: Any = None
        if config.teacher is not None:
            self.teacher = _open_teacher(encoder, Path(config.teacher))
            if encoder.config.weights == "random":
                _take_over(encoder, self.teacher)

    def believe(
        self,
        model: Any,
        patches: Tensor,
        patch_ids: Tensor,
        outputs: Collection[str],
        moment: Moment,
    ) -> tuple[Belief, dict[str, Weighted]]:
        """Runs the encoder, and the teacher on the same canvases; see `FamilyTraining.believe`."""
        if self.teacher is None:
            return super().believe(model, patches, patch_ids, outputs, moment)
        with torch.no_grad(), _recorded(self.teacher.body) as shown:
            expected = self.teacher(patches, patch_ids, outputs=("latent", *_logits(outputs)))
        with _recorded(self.encoder.body) as done:
            belief = model(patches, patch_ids, outputs=outputs)
        losses: dict[str, Weighted] = {
            "imitation": (self.config.imitation_weight, imitation_loss(done, shown))
        }
        if belief.logits is not None and expected.logits is not None:
            taught = F.log_softmax(expected.logits.float(), 1)
            learnt = F.log_softmax(belief.logits.float(), 1)
            loss = F.kl_div(learnt, taught, reduction="batchmean", log_target=True)
            losses["distillation"] = (self.config.distillation_weight, loss)
        return belief, losses


def imitation_loss(done: Collection[Tensor], shown: Collection[Tensor]) -> Tensor:
    """Mean over maps of the squared error, in units of the teacher's mean square.

    Args:
        done: The student's maps, of every block its mixer's and its own output.
        shown: The teacher's.
    """
    errors = []
    for mine, theirs in zip(done, shown, strict=True):
        theirs = theirs.float()
        spread = theirs.square().mean().clamp(min=1e-6)
        errors.append((mine.float() - theirs).square().mean() / spread)
    return torch.stack(errors).mean()


@contextlib.contextmanager
def _recorded(body: nn.Module) -> Iterator[list[Tensor]]:
    """Collects what the mixer of every block and the block itself give, in order."""
    maps: list[Tensor] = []

    def note(module: nn.Module, inputs: Any, output: Tensor) -> None:
        maps.append(output)

    with contextlib.ExitStack() as hooks:
        for block in blocks_of(body):
            for module in (block.mixer, block):
                assert module is not None  # nothing folded is trained or teaches
                hooks.callback(module.register_forward_hook(note).remove)
        yield maps


def _logits(outputs: Collection[str]) -> tuple[str, ...]:
    return ("logits",) if "logits" in outputs else ()


def _open_teacher(encoder: Any, folder: Path) -> Any:
    """A teacher on the device of its student, which stays as it is.

    Raises:
        ValueError: One that it cannot imitate.
    """
    teacher = load_encoder(folder)
    if teacher.family != encoder.family:
        raise ValueError(
            f"teacher {folder}: an encoder of the family {teacher.family!r}; expected a RIFormer "
            "with mixers (--family riformer --sizes mixer=pool)"
        )
    own, others = encoder.config, teacher.config
    sizes = {name: (own.body[name], others.body[name]) for name in _SHARED}
    for name in ("image_size", "patch_size", "num_classes"):
        sizes[name] = (getattr(own, name), getattr(others, name))
    if wrong := [
        f"{name}={theirs}, the student's {mine}"
        for name, (mine, theirs) in sizes.items()
        if mine != theirs
    ]:
        raise ValueError(
            f"teacher {folder}: {'; '.join(wrong)}; expected a teacher of the student's sizes"
        )
    if others.body["mixer"] == "affine":
        raise ValueError(
            f"teacher {folder}: its mixers are affines themselves, so that there is nothing to "
            "imitate; train one with --sizes mixer=pool or mixer=convolution"
        )
    return teacher.to(encoder.device).eval().requires_grad_(False)


def _take_over(encoder: Any, teacher: Any) -> None:
    """Copies all weights of a teacher into its student but those of the mixers."""
    blocks = [name for name, each in encoder.named_modules() if isinstance(each, RIFormerBlock)]
    mixers = tuple(f"{name}.mixer." for name in blocks)
    taken = {
        name: tensor for name, tensor in teacher.state_dict().items() if not name.startswith(mixers)
    }
    encoder.load_state_dict({**encoder.state_dict(), **taken})

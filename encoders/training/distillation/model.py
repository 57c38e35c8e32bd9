"""An encoder with a projection head, on crops of any size that may be seen in parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from encoders.families.tore.extract import extract_all
from encoders.families.tore.model import GlimpseEncoder
from encoders.layers.divisions import Division, divisions, part_ids, possible_parts
from encoders.layers.patches import patchify
from encoders.training.distillation.head import ProjectionHead

_BIAS = ".bias"


@dataclasses.dataclass(frozen=True)
class View:
    """How images of one size are seen.

    Attributes:
        split_block: TORE's K.
        division: The parts that are seen one after another; None = the whole at once.
    """

    split_block: int = 0
    division: Division | None = None


def draw_view(
    rng: np.random.Generator,
    grid: tuple[int, int],
    depth: int,
    parts: tuple[int, ...] | None = None,
    split_block: int | None = None,
) -> View:
    """Draws K, the number of parts and their orientation, as TORE is trained.

    Args:
        rng: Of the batch.
        grid: Rows and columns of patches.
        depth: Blocks; K is uniform in [0, depth].
        parts: Numbers of parts to draw from; None = all that the grid can be divided into.
        split_block: K, if it is not to be drawn.

    Raises:
        ValueError: The grid can be divided into none of them.
    """
    possible = possible_parts(grid)
    fitting = possible if parts is None else tuple(each for each in parts if each in possible)
    if not fitting:
        raise ValueError(
            f"a crop of {grid[0]}x{grid[1]} patches cannot be divided into any of {parts} parts; "
            f"choose of {', '.join(map(str, possible))}"
        )
    split = int(rng.integers(depth + 1)) if split_block is None else split_block
    count = fitting[int(rng.integers(len(fitting)))]
    ways = divisions(grid, (count,))
    return View(split, ways[int(rng.integers(len(ways)))])


def view_latents(encoder: GlimpseEncoder, images: Tensor, view: View) -> Tensor:
    """Latents of normalised images of any size, seen whole or in parts, with gradients.

    Positions are resampled to the images' grid as DINO does; no token is reduced.

    Args:
        encoder: The encoder.
        images: float `[N, 3, h, w]`, whole patches.
        view: How they are seen.

    Returns:
        `[N, D]`.
    """
    size = encoder.config.patch_size
    patches = patchify(images, size)
    grid = images.shape[2] // size, images.shape[3] // size
    vit = encoder.backbone.on_grid(grid)
    labels = np.zeros(grid, np.int64) if view.division is None else view.division.labels(grid)
    ids = torch.from_numpy(part_ids(labels))
    seen = patches[:, ids.clamp(min=0).to(patches.device)]
    tokens = extract_all(vit, seen, ids.expand(len(images), -1, -1), view.split_block)
    leading = vit.leading_tokens(("latent",))
    tokens, _ = vit.run_blocks(tokens, view.split_block, vit.depth, leading=leading)
    if leading is not None and view.split_block == vit.depth:
        tokens = tokens.first(leading)
    return vit.pool(tokens.values, tokens.mask)[1]


class CropEncoder(nn.Module):
    """What student and teacher are: an encoder, and a projection head behind its latent.

    Args:
        encoder: The encoder.
        head: The head.
    """

    def __init__(self, encoder: GlimpseEncoder, head: ProjectionHead) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, groups: Sequence[Tensor], views: Sequence[View]) -> tuple[Tensor, Tensor]:
        """Latents and outputs of crops; the head runs once for crops of all sizes.

        Args:
            groups: Normalised crops of one size each, float `[N_i, 3, h_i, w_i]`.
            views: How the crops of each size are seen.

        Returns:
            Latents `[N, D]` and the head's outputs `[N, outputs]`, in the order of the crops.
        """
        latents = torch.cat(
            [
                view_latents(self.encoder, images, view)
                for images, view in zip(groups, views, strict=True)
            ]
        )
        return latents, self.head(latents)


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Moves a teacher's weights towards the student's: `t = momentum * t + (1 - momentum) * s`.

    Args:
        teacher: Changed in place.
        student: A module of the same parameters.
        momentum: How much of the teacher stays.
    """
    for own, other in zip(teacher.parameters(), student.parameters(), strict=True):
        own.mul_(momentum).add_(other.detach(), alpha=1 - momentum)


def parameter_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Weights that are decayed, then biases and vectors that are not; frozen ones are left out.

    As DINO has it, class tokens and position tables, which are no vectors, are decayed.
    """
    named = [(name, each) for name, each in module.named_parameters() if each.requires_grad]
    decayed = [each for name, each in named if each.ndim > 1 and not name.endswith(_BIAS)]
    others = [each for name, each in named if each.ndim <= 1 or name.endswith(_BIAS)]
    return [{"params": decayed}, {"params": others, "weight_decay": 0.0}]


@torch.no_grad()
def clip_each(module: nn.Module, longest: float) -> None:
    """Shortens the gradient of every tensor by itself to a length, as DINO does; 0 = not at all."""
    if not longest:
        return
    for parameter in module.parameters():
        if parameter.grad is not None:
            length = parameter.grad.norm()
            parameter.grad.mul_((longest / (length + 1e-6)).clamp(max=1.0))

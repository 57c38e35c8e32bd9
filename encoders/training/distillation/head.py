"""DINO's projection head, and files that hold one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from encoders.checkpoints.weight_files import CheckpointError, read_weight_file
from encoders.support.files import replacing

HEAD_FILE = "projection_head.safetensors"
_LINEAR = (0, 2, 4)  # in `mlp`; between them are activations
_STD = 0.02


class WeightNormedLinear(nn.Module):
    """A linear layer without bias whose rows have directions and lengths of their own.

    Source: Salimans and Kingma, "Weight Normalization", NeurIPS 2016.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        unit_rows: Keep all lengths at one, and do not train them.
    """

    def __init__(self, inputs: int, outputs: int, unit_rows: bool) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(outputs, 1), requires_grad=not unit_rows)
        self.weight_v = nn.Parameter(torch.empty(outputs, inputs))
        nn.init.kaiming_uniform_(self.weight_v, a=5**0.5)  # as of torch's linear layers

    def forward(self, values: Tensor) -> Tensor:
        """`[..., inputs]` to `[..., outputs]`."""
        lengths = self.weight_v.norm(dim=1, keepdim=True)
        return F.linear(values, self.weight_v * (self.weight_g / lengths))


class ProjectionHead(nn.Module):
    """Three linear layers, features of length one, and a weight-normed last layer.

    Source: DINO (Caron et al., ICCV 2021), appendix C. The names of the parts are those of the
    published checkpoints.

    Args:
        inputs: Channels of the encoder's latent.
        hidden: Channels of the first two layers.
        bottleneck: Channels of the third, before features are made unit-length.
        outputs: Of the last layer.
        unit_rows: Keep the lengths of the last layer's rows at one.
    """

    def __init__(
        self, inputs: int, hidden: int, bottleneck: int, outputs: int, unit_rows: bool = True
    ) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(inputs, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        self.last_layer = WeightNormedLinear(bottleneck, outputs, unit_rows)
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=_STD)
                nn.init.zeros_(layer.bias)

    def forward(self, latents: Tensor) -> Tensor:
        """Outputs `[N, outputs]` of latents `[N, inputs]`."""
        return self.last_layer(F.normalize(self.mlp(latents), dim=-1))


def save_head(head: ProjectionHead, folder: Path) -> Path:
    """Writes a head into a folder; the file appears whole or not at all."""
    tensors = {name: tensor.contiguous().cpu() for name, tensor in head.state_dict().items()}
    with replacing(folder / HEAD_FILE) as partial:
        save_file(tensors, partial)
    return folder / HEAD_FILE


def load_head(place: str | os.PathLike[str], inputs: int, unit_rows: bool) -> ProjectionHead:
    """Reads a head that `save_head` wrote, or that a checkpoint of DINO holds.

    Of DINO's full checkpoints the teacher's head is taken.

    Args:
        place: A folder with such a file, or a file.
        inputs: Channels of the encoder's latent.
        unit_rows: As of `ProjectionHead`; lengths that are not one are kept, and trained, anyway.

    Raises:
        CheckpointError: There is no such file, it holds no head, or one for other latents.
    """
    path = Path(place)
    if path.is_dir():
        path /= HEAD_FILE
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no projection head; expected the folder of a run with --objective dino, or a "
            "full checkpoint of DINO"
        )
    weights = _head_weights(read_weight_file(path))
    expected = {f"mlp.{index}.{name}" for index in _LINEAR for name in ("weight", "bias")}
    expected |= {"last_layer.weight_g", "last_layer.weight_v"}
    if weights.keys() != expected:
        found = ", ".join(sorted(weights)[:3]) or "none of its tensors"
        raise CheckpointError(
            f"{path}: holds no projection head of three layers as DINO has it (found {found})"
        )
    hidden, found_inputs = weights["mlp.0.weight"].shape
    if found_inputs != inputs:
        raise CheckpointError(
            f"{path}: a projection head for latents of {found_inputs} channels, and the encoder's "
            f"have {inputs}; choose the head that was trained with the encoder"
        )
    outputs, bottleneck = weights["last_layer.weight_v"].shape
    unit = unit_rows and bool((weights["last_layer.weight_g"] == 1).all())
    head = ProjectionHead(inputs, hidden, bottleneck, outputs, unit)
    head.load_state_dict(weights)
    return head


def _head_weights(content: Mapping[str, object]) -> dict[str, Tensor]:
    """The tensors of a head by their names within it; empty where there are none."""
    inner = content.get("teacher")
    tensors = inner if isinstance(inner, Mapping) else content
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        short = name.removeprefix("module.")
        own = short.removeprefix("head.")
        if isinstance(value, Tensor) and own.startswith(("mlp.", "last_layer.")):
            found[own] = value.float()
    return found

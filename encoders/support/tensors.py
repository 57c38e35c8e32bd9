"""Modules written as safetensors, the same bytes each time."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file
from torch import nn


def save_module(module: nn.Module, path: Path) -> None:
    """Writes a module's weights; `safetensors.torch.load_model` reads them.

    A tensor that the module holds under several names is written under the first of them in
    alphabetical order. `safetensors.torch.save_model` also notes the other names, in the order of a
    set, so that no two processes would write the same file.

    Args:
        module: Whose weights.
        path: File to write.
    """
    tensors = {}
    written = set()
    for name, tensor in sorted(module.state_dict().items()):
        place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        if place not in written or not tensor.numel():
            tensors[name] = tensor.contiguous().cpu()
            written.add(place)
    save_file(tensors, path)

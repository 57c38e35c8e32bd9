"""Encoders in folders: `config.json` and `model.safetensors`, the one format that is written.

What others publish is read by `encoders.checkpoints`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from encoders.checkpoints.tensors import check_tensors
from encoders.checkpoints.weight_files import CheckpointError, read_json, read_weight_file
from encoders.registry import FAMILIES
from encoders.support.files import replacing

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

_MARKS = {"family", "format_version"}  # what tells our config.json from those of others
_DEFAULT_FAMILY = "tore"  # of folders written before there were others


def save_encoder(encoder: Any, folder: str | os.PathLike[str]) -> Path:
    """Writes an encoder; each file appears whole or not at all.

    Args:
        encoder: The encoder, of any family that is registered.
        folder: Where `config.json` and `model.safetensors` go; made if missing.

    Returns:
        The folder.
    """
    target = Path(folder)
    tensors = {name: tensor.contiguous().cpu() for name, tensor in encoder.state_dict().items()}
    config = {"family": encoder.family, **encoder.config.to_dict()}
    with replacing(target / WEIGHTS_FILE) as weights:
        save_file(tensors, weights)
        with replacing(target / CONFIG_FILE) as text:
            text.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return target


def load_encoder(folder: str | os.PathLike[str]) -> Any:
    """Reads what `save_encoder` wrote, on the CPU and in evaluation mode.

    Raises:
        CheckpointError: A file is missing or damaged, its family is not known here, or its weights
            do not fit its configuration.
    """
    source = Path(folder)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (source / name).is_file():
            raise CheckpointError(
                f"{source}: no {name}; expected a folder with {CONFIG_FILE} and {WEIGHTS_FILE}"
            )
    values = read_json(source / CONFIG_FILE)
    try:
        build = FAMILIES.resolve(values.pop("family", _DEFAULT_FAMILY))
        encoder = build(values)
    except ValueError as error:
        raise CheckpointError(f"{source / CONFIG_FILE}: {error}") from error
    tensors = read_weight_file(source / WEIGHTS_FILE)
    dtypes = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    if len(dtypes) == 1:
        encoder.to(dtypes.pop())
    load_strictly(encoder, tensors, str(source / WEIGHTS_FILE))
    return encoder


def find_encoder_folder(path: str | os.PathLike[str]) -> Path | None:
    """The folder that `save_encoder` wrote, given it or its weights; None for anything else."""
    folder = Path(path).parent if Path(path).name == WEIGHTS_FILE else Path(path)
    config = folder / CONFIG_FILE
    if config.is_file() and not _MARKS.isdisjoint(read_json(config)):
        return folder
    return None


def weights_hash(encoder: Any) -> str:
    """SHA-256 over names, shapes and values of all weights: what makes two encoders the same."""
    return hash_tensors(encoder.state_dict())


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes, dtypes and values of tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        numbers = tensor.detach().cpu().contiguous().flatten()  # single numbers have no bytes
        digest.update(numbers.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load_strictly(encoder: Any, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copies weights into an encoder that must need all of them and nothing else.

    Raises:
        CheckpointError: Missing or unexpected names, other shapes, or values that are not finite.
    """
    check_tensors(encoder.state_dict(), tensors, source)
    encoder.load_state_dict(dict(tensors))

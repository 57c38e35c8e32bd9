"""Files of tensors, read without running anything that they contain."""

from __future__ import annotations

import argparse
import json
import pathlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

# Published checkpoints keep their command line and a few numbers beside the tensors. None of these
# types does more than hold data. Modules are spelt as in the file, which differs between versions.
# Any, because what `__reduce__` returns has no narrower type.
_HARMLESS: list[Any] = [
    argparse.Namespace,
    (pathlib.PosixPath, "pathlib.PosixPath"),
    (pathlib.PosixPath, "pathlib._local.PosixPath"),
    np.dtype,
    np.ndarray,
    *(type(np.dtype(code)) for code in "?bBhHiIlLqQefdSU"),
]
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _HARMLESS.append((np.float64(0).__reduce__()[0], f"{_module}.scalar"))
    _HARMLESS.append((np.zeros(0).__reduce__()[0], f"{_module}._reconstruct"))


class CheckpointError(ValueError):
    """A file of weights that cannot be used; the message names the file and what is wrong."""


def read_weight_file(path: Path) -> Any:  # `torch.save` writes anything
    """Reads a `.safetensors` file, or anything `torch.save` wrote, onto the CPU.

    Args:
        path: The file.

    Returns:
        Names and tensors; from `torch.save` also whatever plain data surrounds them.

    Raises:
        CheckpointError: The file is missing or damaged, or loading it would run code.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged pickles raise anything
        if refused := re.search(r"GLOBAL (\S+)", str(error)):
            raise CheckpointError(
                f"{path}: refused, because it holds {refused[1]!r}, which is neither a tensor nor "
                "plain data, and loading it could run code. If you trust who made the file, load "
                "it with torch.load(..., weights_only=False) and save its tensors as .safetensors"
            ) from error
        raise CheckpointError(
            f"{path}: damaged, or not a file of weights ({type(error).__name__}: {_reason(error)})"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        CheckpointError: The file cannot be read or holds something else.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected an object, found a {type(values).__name__}")
    return values


def _reason(error: Exception) -> str:
    # torch's advice to switch the safe loading off stands before what went wrong.
    message = str(error).split("WeightsUnpickler error:")[-1].strip()
    return message.split("\n")[0].split(" In PyTorch")[0][:200]

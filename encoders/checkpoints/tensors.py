"""Tensors that are given, and those a model has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from encoders.checkpoints.weight_files import CheckpointError


def check_tensors(
    expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], source: str
) -> None:
    """Compares tensors with those a model has.

    Args:
        expected: The model's.
        tensors: Those given.
        source: Where they come from, for the error.

    Raises:
        CheckpointError: Missing or unexpected names, other shapes, or values that are not finite.
    """
    problems = []
    if missing := sorted(set(expected) - set(tensors)):
        problems.append(f"missing {listed(missing)}")
    if unexpected := sorted(set(tensors) - set(expected)):
        problems.append(f"unexpected {listed(unexpected)}")
    for name in sorted(set(expected) & set(tensors)):
        given, wanted = tensors[name], expected[name]
        if given.shape != wanted.shape:
            problems.append(f"{name} has shape {tuple(given.shape)}, not {tuple(wanted.shape)}")
        elif not wanted.is_floating_point() and given.dtype == wanted.dtype:
            continue  # a counter, as batch norms have
        elif not given.is_floating_point():
            problems.append(f"{name} has dtype {given.dtype}, not a floating-point one")
        elif not bool(torch.isfinite(given).all()):
            problems.append(f"{name} holds NaN or infinity")
    if problems:
        raise CheckpointError(f"{source}: {'; '.join(problems)}")


def listed(names: Sequence[str], limit: int = 6) -> str:
    """Some names and how many more there are."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"

"""Rows of a batch, as states of encoders are told them."""

from __future__ import annotations

import torch
from torch import Tensor


def row_indices(rows: Tensor, count: int) -> Tensor:
    """The numbers of some rows, int64 `[R]` on the CPU.

    Args:
        rows: bool `[B]` or int64 `[R]`.
        count: B.

    Raises:
        ValueError: A mask for another number of rows.
    """
    rows = torch.as_tensor(rows).cpu()
    if rows.dtype != torch.bool:
        return rows
    if rows.shape != (count,):
        raise ValueError(f"a mask of shape {tuple(rows.shape)} for {count} rows")
    return rows.nonzero(as_tuple=True)[0]

"""Rows of one batch whose glimpses are split at different blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from encoders.families.tore.state import ToreState
from encoders.flops.count import PARTS, Cost, FlopCount
from encoders.protocol import OUTPUTS, Belief, Observed
from encoders.reduction.trace import merge_traces


def observe_by_split(
    observe: Callable[..., Observed],
    patches: Tensor,
    patch_ids: Tensor,
    state: ToreState,
    split_blocks: Tensor,
) -> Observed:
    """Runs the rows of each K together and puts the results back in order.

    Args:
        observe: Takes in a glimpse of rows of one K: patches, their ids, the state and K.
        patches: float `[B, n, 3, p, p]`.
        patch_ids: int64 `[B, n]` on the CPU.
        state: Cache of the B rows; updated in place.
        split_blocks: TORE's K of every row, int64 `[B]`.

    Raises:
        ValueError: Another number of K than of rows.
    """
    if split_blocks.shape != state.token_counts.shape:
        raise ValueError(f"split_block of shape {tuple(split_blocks.shape)} for {len(state)} rows")
    groups = []
    spent, anew = (np.zeros((len(PARTS), len(state)), np.int64) for _ in range(2))
    for split in split_blocks.unique().tolist():
        rows = (split_blocks.cpu() == split).nonzero(as_tuple=True)[0]
        group = rows.to(patches.device)
        observed = observe(patches[group], patch_ids[rows], state.select(rows), split)
        state.put(rows, observed.state)
        groups.append((group, observed.belief))
        spent[:, rows.numpy()] = observed.cost.spent.by_part()
        anew[:, rows.numpy()] = observed.cost.without_recycling.by_part()
    cost = Cost(FlopCount(*spent), FlopCount(*anew))
    return Observed(_merge_beliefs(groups, len(state)), state, cost)


def _merge_beliefs(groups: Sequence[tuple[Tensor, Belief]], count: int) -> Belief:
    """One belief of `count` rows from those of groups of them; shorter rows end in zeros."""
    merged = Belief()
    for name in OUTPUTS:
        values = [(rows, getattr(belief, name)) for rows, belief in groups]
        if values[0][1] is None:
            continue
        length = max(value.shape[1] for _, value in values)
        whole = values[0][1].new_zeros(count, length, *values[0][1].shape[2:])
        for rows, value in values:
            whole[rows, : value.shape[1]] = value
        setattr(merged, name, whole)
    traces = [(rows, belief.reduced) for rows, belief in groups if belief.reduced is not None]
    if traces:
        merged.reduced = merge_traces(traces, count)
    return merged

"""What became of every patch, for pictures and for A-ViT's losses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from encoders.reduction.avit import Halting
from encoders.reduction.base import ReductionPass


@dataclasses.dataclass(frozen=True, eq=False)
class ReductionTrace:
    """What became of the patches of B rows.

    Attributes:
        source: int64 `[B, G]`, which token stands for each patch after the last block: patches of
            one number were merged. 0 = never seen, -1 = seen and dropped. None = nobody knows,
            for the last block computed the class token alone.
        depth: int64 `[B, G]`, blocks that each patch's token went through before it halted, of the
            extractor, the aggregator or both together, wherever tokens halt; 0 = never seen. None
            where they do not.
        halting: Scores of every pass in which tokens halt, the extractor's first.
    """

    source: Tensor | None = None
    depth: Tensor | None = None
    halting: tuple[Halting, ...] = ()

    def maps(self) -> dict[str, Tensor]:
        """What pictures show of every patch, int64 `[B, G]`: `tokens`, and `depth` if any."""
        maps = {"tokens": self.source, "depth": self.depth}
        return {name: values for name, values in maps.items() if values is not None}


def trace_of(
    source: Tensor | None,
    seen: Tensor | None,
    aggregator: ReductionPass | None,
    extractor: ReductionPass | None,
    num_prefix_tokens: int,
    extracted: Tensor | None = None,
) -> ReductionTrace:
    """Makes the trace of a belief.

    Args:
        source: As in `ReductionTrace`.
        seen: int64 `[B, G]`, which remembered token stood for each patch before the aggregator.
        aggregator: The aggregator's pass, or None.
        extractor: The extractor's, or None.
        num_prefix_tokens: Tokens before the patches'.
        extracted: int64 `[B, G]`, blocks of the extractor that each patch's token went through;
            None where none halts there.
    """
    depth = None if extracted is None else extracted.clone()
    halted = None if aggregator is None else aggregator.halted_after
    if halted is not None and seen is not None:
        places = (seen + num_prefix_tokens - 1).clamp(min=0)
        aggregated = halted.gather(1, places).masked_fill(seen <= 0, 0)
        depth = aggregated if depth is None else depth + aggregated
    passes = (each for each in (extractor, aggregator) if each is not None)
    halting = tuple(each.halting for each in passes if each.halting is not None)
    return ReductionTrace(source, depth, halting)


def blocks_of_patches(
    halted: Tensor | None,
    patch_ids: Tensor,
    before: Tensor,
    *,
    num_prefix_tokens: int,
    blocks: int,
) -> Tensor:
    """How many blocks of the extractor the token of every patch went through.

    Args:
        halted: int64 `[B * T, P + m]`, of each token of each glimpse, without padding between them;
            None where none halted.
        patch_ids: int64 `[B, T, n]`, the patches of the glimpses; -1 = padding.
        before: int64 `[B, G]`, the same before these glimpses.
        num_prefix_tokens: P.
        blocks: Blocks of the extractor, which tokens that do not halt all go through.

    Returns:
        int64 `[B, G]`; of several tokens of one patch the last counts.
    """
    ids = patch_ids.to(before.device)
    if not ids.numel():
        return before
    went = torch.full_like(ids, blocks)
    if halted is not None and halted.shape[1]:
        places = ((ids >= 0).cumsum(2) + num_prefix_tokens - 1).clamp(min=0)
        went = halted.unflatten(0, ids.shape[:2]).gather(2, places)
    went, ids = went.flatten(1), ids.flatten(1)
    arrivals = torch.arange(1, ids.shape[1] + 1, device=ids.device).expand_as(ids)
    newest = torch.zeros_like(before).scatter_reduce(
        1, ids.clamp(min=0), arrivals.masked_fill(ids < 0, 0), reduce="amax"
    )
    return torch.where(newest > 0, went.gather(1, (newest - 1).clamp(min=0)), before)


def merge_traces(traces: Sequence[tuple[Tensor, ReductionTrace]], count: int) -> ReductionTrace:
    """One trace from those of groups of rows; nobody knows what one of the groups does not know.

    Args:
        traces: The rows of each group, int64 `[n]`, and its trace; every row is in one group.
        count: Rows of all groups.
    """

    def gathered(name: str) -> Tensor | None:
        parts = [(rows, getattr(trace, name)) for rows, trace in traces]
        known = [(rows, values) for rows, values in parts if values is not None]
        if len(known) < len(parts):
            return None
        whole = known[0][1].new_zeros(count, known[0][1].shape[1])
        for rows, values in known:
            whole[rows] = values
        return whole

    return ReductionTrace(gathered("source"), gathered("depth"))

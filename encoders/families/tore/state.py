"""TORE (token recycling): the extractor, the cache and the aggregator.

The first K blocks of a Vision Transformer (the extractor) see one glimpse at a time, the others
(the aggregator) see the tokens of all glimpses. A glimpse's tokens at depth K are computed once and
kept; class tokens of the glimpses are averaged. Source: Olszewski et al., "TORE: Token Recycling in
Vision Transformers for Efficient Active Visual Exploration", WACV 2025, section 3.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import safetensors.torch as safetensors
import torch
from torch import Tensor

from encoders.families.tore.sums import RunningSums
from encoders.families.tore.surgery import PatchVit
from encoders.layers.vit import TokenSet
from encoders.reduction.memory import merge_down_to
from encoders.reduction.trace import blocks_of_patches
from encoders.support.rows import row_indices

_UNSET = -1
_DROPPED = -1


@dataclasses.dataclass(repr=False)
class ToreState:
    """Everything an encoder remembers of the glimpses of B rows; weights live elsewhere.

    The buffer is laid out as the aggregator reads it, prefix first, so that a step appends its own
    tokens and copies nothing that is cached.

    Attributes:
        buffer: float `[B, P + capacity, D]`: running mean of the glimpses' prefix tokens, then
            their patch tokens at depth K in the order of arrival.
        source: int64 `[B, G]`, on the buffer's device: which cached token stands for each patch of
            the grid, counted from 1; 0 for a patch never seen, -1 for one that was seen and whose
            token was dropped.
        token_counts: int64 `[B]` on the CPU: cached patch tokens.
        glimpse_counts: int64 `[B]` on the CPU: glimpses with at least one patch.
        split_blocks: int64 `[B]` on the CPU: the K of the cached tokens, -1 for an empty row.
        num_prefix_tokens: P.
        sizes: float `[B, capacity]`, how many patches each cached token stands for; None = one
            each, as long as nothing merges them.
        patch_counts: int64 `[B]` on the CPU: patches taken in; None = as many as tokens, as long as
            no reduction leaves fewer.
        sums: What a last block of angular attention keeps of the cached tokens; None = nothing.
        depths: int64 `[B, G]`, on the buffer's device: blocks of the extractor that the token of
            each patch went through, 0 for a patch never seen; None = all K, as long as none halts.
    """

    buffer: Tensor
    source: Tensor
    token_counts: Tensor
    glimpse_counts: Tensor
    split_blocks: Tensor
    num_prefix_tokens: int
    sizes: Tensor | None = None
    patch_counts: Tensor | None = None
    sums: RunningSums | None = None
    depths: Tensor | None = None

    @classmethod
    def empty(cls, batch_size: int, capacity: int, vit: PatchVit) -> ToreState:
        """An empty cache for `batch_size` rows with room for `capacity` patch tokens each."""
        weight = vit.projection.weight
        counts = torch.zeros(batch_size, dtype=torch.int64)
        return cls(
            buffer=weight.new_zeros(batch_size, vit.num_prefix_tokens + capacity, vit.width),
            source=torch.zeros(
                batch_size, vit.grid[0] * vit.grid[1], dtype=torch.int64, device=weight.device
            ),
            token_counts=counts,
            glimpse_counts=counts.clone(),
            split_blocks=torch.full_like(counts, _UNSET),
            num_prefix_tokens=vit.num_prefix_tokens,
        )

    def __len__(self) -> int:
        return len(self.token_counts)

    def __repr__(self) -> str:
        """Rows, what they hold and how much memory it takes: a cache is too long to print."""
        tokens, glimpses = (_span(counts) for counts in (self.token_counts, self.glimpse_counts))
        splits = sorted(set(self.split_blocks.tolist()) - {_UNSET})
        return (
            f"ToreState({len(self)} rows, {tokens} of {self.capacity} tokens, {glimpses} glimpses, "
            f"K = {', '.join(map(str, splits)) or 'unset'}, {self.num_bytes:,} bytes on "
            f"{self.buffer.device})"
        )

    @property
    def tokens(self) -> Tensor:
        """Cached patch tokens of every row, int64 `[B]` on the CPU."""
        return self.token_counts

    @property
    def patches(self) -> Tensor:
        """Patches taken in by every row, whatever became of their tokens, int64 `[B]`."""
        return self.token_counts if self.patch_counts is None else self.patch_counts

    @property
    def capacity(self) -> int:
        """Patch tokens a row has room for; grows when a row needs more."""
        return self.buffer.shape[1] - self.num_prefix_tokens

    @property
    def num_bytes(self) -> int:
        """Memory of the cache: B * ((P + capacity) * D * itemsize + 8 * G + 24) bytes.

        With sizes, 4 * capacity bytes more for each row, 8 where patches are counted apart, and
        8 * G where tokens halt in the extractor; and what the running sums of angular attention
        take.
        """
        tensors = [self.buffer, self.source]
        tensors += [self.token_counts, self.glimpse_counts, self.split_blocks]
        tensors += [] if self.patch_counts is None else [self.patch_counts]
        tensors += [each for each in (self.sizes, self.depths) if each is not None]
        others = 0 if self.sums is None else self.sums.num_bytes
        return others + sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def reset(self, rows: Tensor) -> None:
        """Forgets everything in some rows.

        Args:
            rows: bool `[B]` or int64 `[R]`.
        """
        rows = row_indices(rows, len(self))
        on_device = rows.to(self.buffer.device)
        self.source[on_device] = 0
        if self.sizes is not None:
            self.sizes[on_device] = 1.0
        if self.depths is not None:
            self.depths[on_device] = 0
        if self.sums is not None:
            self.sums.reset(rows)
        self.token_counts[rows] = 0
        if self.patch_counts is not None:
            self.patch_counts[rows] = 0
        self.glimpse_counts[rows] = 0
        self.split_blocks[rows] = _UNSET

    def fork(self) -> ToreState:
        """Returns an independent copy: what happens to it leaves this state alone."""
        return self.select(torch.arange(len(self)))

    def select(self, rows: Tensor) -> ToreState:
        """Returns a copy of some rows, in the order given; a row may be named several times.

        Args:
            rows: bool `[B]` or int64 `[R]`.
        """
        rows = row_indices(rows, len(self))
        on_device = rows.to(self.buffer.device)
        return dataclasses.replace(
            self,
            buffer=self.buffer[on_device],
            source=self.source[on_device],
            sizes=None if self.sizes is None else self.sizes[on_device],
            sums=None if self.sums is None else self.sums.select(rows),
            token_counts=self.token_counts[rows],
            patch_counts=None if self.patch_counts is None else self.patch_counts[rows],
            glimpse_counts=self.glimpse_counts[rows],
            split_blocks=self.split_blocks[rows],
            depths=None if self.depths is None else self.depths[on_device],
        )

    def put(self, rows: Tensor, source: ToreState) -> None:
        """Overwrites rows with those of another state, the inverse of `select`.

        Args:
            rows: bool `[B]` or int64 `[R]`, without repetitions.
            source: A state of R rows.
        """
        rows = row_indices(rows, len(self))
        self.reserve(source.capacity)
        on_device = rows.to(self.buffer.device)
        length = source.num_prefix_tokens + source.capacity
        self.buffer[on_device, :length] = source.buffer
        self.source[on_device] = source.source
        if source.sizes is not None:
            self.hold_sizes()[on_device, : source.capacity] = source.sizes
        elif self.sizes is not None:
            self.sizes[on_device] = 1.0
        if source.sums is not None:
            self.sums = self.sums or source.sums.like(len(self))
            self.sums.put(rows, source.sums)
        elif self.sums is not None:
            self.sums.reset(rows)
        if self.patch_counts is not None or source.patch_counts is not None:
            self._hold_patch_counts()[rows] = source.patches
        if self.depths is not None or source.depths is not None:
            self.hold_depths()[on_device] = source.known_depths()
        self.token_counts[rows] = source.token_counts
        self.glimpse_counts[rows] = source.glimpse_counts
        self.split_blocks[rows] = source.split_blocks

    def reserve(self, capacity: int) -> None:
        """Makes room for at least `capacity` patch tokens per row."""
        if capacity <= self.capacity:
            return
        extra = max(capacity, 2 * self.capacity) - self.capacity
        batch_size, _, width = self.buffer.shape
        self.buffer = torch.cat([self.buffer, self.buffer.new_zeros(batch_size, extra, width)], 1)
        if self.sizes is not None:
            self.sizes = torch.cat([self.sizes, self.sizes.new_ones(batch_size, extra)], 1)

    def hold_sizes(self) -> Tensor:
        """Begins to keep the sizes of tokens, one each at first; returns them to be written to."""
        if self.sizes is None:
            self.sizes = torch.ones(len(self), self.capacity, device=self.buffer.device)
        return self.sizes

    def known_depths(self) -> Tensor:
        """Blocks of the extractor that the token of each patch went through, int64 `[B, G]`."""
        if self.depths is not None:
            return self.depths
        splits = self.split_blocks.to(self.source.device)[:, None].expand_as(self.source)
        return splits.masked_fill(self.source == 0, 0)

    def hold_depths(self) -> Tensor:
        """Begins to keep these depths, K for what was seen so far; returns them."""
        self.depths = self.known_depths()
        return self.depths

    def append(
        self,
        glimpse: TokenSet,
        patch_ids: Tensor,
        split_block: int,
        halted: Tensor | None = None,
    ) -> None:
        """Adds one glimpse to every row.

        Args:
            glimpse: The glimpse's prefix and patch tokens at depth K; its `source` says which of
                its tokens stands for each patch of the glimpse, None = the token in the same place.
            patch_ids: int64 `[B, n]` on the CPU; -1 = padding. A row of padding alone stays as it
                is.
            split_block: The K that made these tokens.
            halted: int64 `[B, P + m]`, blocks that each token of the glimpse went through, without
                padding between them; None = all K. For states that hold depths.
        """
        # NumPy's views: on a few numbers they take a fraction of the time.
        valid = patch_ids.numpy() >= 0
        counts, new_counts = self.token_counts.numpy(), valid.sum(1)
        seen = new_counts > 0
        self.reserve(int((counts + new_counts).max()))
        self.glimpse_counts.numpy()[seen] += 1
        self._average_prefix(glimpse.values[:, : self.num_prefix_tokens], seen)
        self.split_blocks.numpy()[seen] = split_block
        if self.depths is not None:
            self.depths = blocks_of_patches(
                halted,
                patch_ids[:, None],
                self.depths,
                num_prefix_tokens=self.num_prefix_tokens,
                blocks=split_block,
            )
        if glimpse.source is not None:
            self._append_reduced(glimpse, patch_ids, torch.from_numpy(seen))
            return
        if self.patch_counts is not None:
            self.patch_counts.numpy()[:] += new_counts
        tokens = glimpse.values[:, self.num_prefix_tokens :]
        first, device = int(counts[0]), self.source.device
        together = bool(valid.all() and (counts == first).all())
        if together:
            places = torch.arange(first + 1, first + 1 + valid.shape[1]).expand(len(self), -1)
        else:
            places = torch.from_numpy(np.where(valid, counts[:, None] + valid.cumsum(1), _DROPPED))
        # Of several tokens of one patch the last counts; the lowest number changes nothing.
        ids = patch_ids if together else patch_ids.clamp(min=0)
        self.source.scatter_reduce_(1, ids.to(device), places.to(device), reduce="amax")
        if together:
            start = self.num_prefix_tokens + first
            self.buffer[:, start : start + patch_ids.shape[1]] = tokens
            if self.sizes is not None:
                self.sizes[:, first : first + patch_ids.shape[1]] = 1.0
        else:
            self._append_ragged(tokens, None, places, torch.from_numpy(valid))
        counts += new_counts

    def _append_reduced(self, glimpse: TokenSet, patch_ids: Tensor, seen: Tensor) -> None:
        """Adds the tokens that a reduction has left of a glimpse's.

        Args:
            glimpse: As for `append`, with `source`.
            patch_ids: As for `append`.
            seen: bool `[B]`, the rows that saw something.
        """
        patch_counts, first = self._hold_patch_counts(), self.num_prefix_tokens
        patch_counts += (patch_ids >= 0).sum(1)
        held = torch.ones(glimpse.values.shape[:2], dtype=torch.bool)
        held = (held if glimpse.mask is None else glimpse.mask.cpu())[:, first:] & seen[:, None]
        places = torch.where(held, self.token_counts[:, None] + held.cumsum(1), 0)
        assert glimpse.source is not None  # what tells it from others
        self._note_sources(glimpse.source, patch_ids, places)
        sizes = None
        if glimpse.sizes is not None:
            self.hold_sizes()
            sizes = glimpse.sizes[:, first:]
        self._append_ragged(glimpse.values[:, first:], sizes, places, held)
        self.token_counts += held.sum(1)

    def bound(self, most: int, room: int) -> None:
        """Merges the most similar tokens of rows that hold too many.

        Args:
            most: Patch tokens that a row may keep.
            room: Patch tokens of one glimpse, which come before there are fewer again: memory
                beyond `most` and this is given back.
        """
        if bool((self.token_counts > most).any()):
            self._hold_patch_counts()
            merged = merge_down_to(self.sequence(), most)
            assert merged.source is not None  # that of the sequence
            first, length = self.num_prefix_tokens, merged.values.shape[1]
            self.buffer[:, :length] = merged.values
            if merged.sizes is not None:
                self.hold_sizes()[:, : length - first] = merged.sizes[:, first:]
            self.source = merged.source
            self.token_counts = merged.lengths.cpu() - first
        if self.capacity > most + room:
            self.buffer = self.buffer[:, : self.num_prefix_tokens + most + room].clone()
            self.sizes = None if self.sizes is None else self.sizes[:, : most + room].clone()

    def require_split(self, split_block: int) -> None:
        """Makes sure that the cached tokens are of this K.

        Raises:
            ValueError: A row that holds tokens of another.
        """
        other = (self.token_counts.numpy() > 0) & (self.split_blocks.numpy() != split_block)
        if other.any():
            row = int(other.argmax())
            raise ValueError(
                f"row {row} holds tokens of split_block {int(self.split_blocks[row])}, asked for "
                f"{split_block}; reset the row to change K"
            )

    def sequence(self) -> TokenSet:
        """What the aggregator reads: views of the prefix and of as many tokens as any row has."""
        counts = self.token_counts.numpy()
        longest = int(counts.max())
        mask = sizes = None
        if counts.min() < longest:
            lengths = self.num_prefix_tokens + self.token_counts
            positions = torch.arange(self.num_prefix_tokens + longest)
            mask = (positions < lengths[:, None]).to(self.buffer.device)
        if self.sizes is not None:
            prefix = self.sizes.new_ones(len(self), self.num_prefix_tokens)
            sizes = torch.cat([prefix, self.sizes[:, :longest]], 1)
        return TokenSet(
            self.buffer[:, : self.num_prefix_tokens + longest],
            mask,
            sizes,
            self.source,
            self.num_prefix_tokens,
        )

    def __getstate__(self) -> dict[str, Any]:
        # As bytes, for torch lets the processes it starts share tensors: a copy there and the
        # original here would write into one cache.
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        others = {name: value for name, value in vars(self).items() if name not in tensors}
        packed = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
        return {**others, "device": str(self.buffer.device), "tensors": safetensors.save(packed)}

    def __setstate__(self, fields: dict[str, Any]) -> None:
        others = dict(fields)
        device, tensors = others.pop("device"), safetensors.load(others.pop("tensors"))
        vars(self).update(others)
        for name, tensor in tensors.items():
            on_device = name in ("buffer", "source", "sizes", "depths")
            setattr(self, name, tensor.to(device) if on_device else tensor)

    def _average_prefix(self, prefix: Tensor, seen: np.ndarray) -> None:
        mean = self.buffer[:, : self.num_prefix_tokens]
        # A first glimpse has weight 1 and so overwrites whatever an ended episode left behind.
        weights = seen / np.maximum(self.glimpse_counts.numpy(), 1)
        if len(weights) == 1:
            mean.lerp_(prefix.to(mean.dtype), float(weights[0]))
            return
        weight = torch.from_numpy(weights).to(mean)
        mean.lerp_(prefix.to(mean.dtype), weight[:, None, None])

    def _hold_patch_counts(self) -> Tensor:
        """Begins to count patches apart from tokens; returns the counts to be written to."""
        if self.patch_counts is None:
            self.patch_counts = self.token_counts.clone()
        return self.patch_counts

    def _note_sources(self, among: Tensor, patch_ids: Tensor, places: Tensor) -> None:
        """Writes down where the tokens of a glimpse's patches will be.

        Args:
            among: `source` of a glimpse.
            patch_ids: int64 `[B, n]`; -1 = padding.
            places: int64 `[B, m]`, of each token of the glimpse, counted from 1; 0 = no token.
        """
        among = among.cpu()
        stands = places.gather(1, (among - 1).clamp(min=0)) if places.shape[1] else among * 0
        places = torch.where(among > 0, stands, 0)
        # Of several tokens of one patch the last counts; the lowest number changes nothing.
        ids = patch_ids.clamp(min=0).to(self.source.device)
        places = torch.where(places > 0, places, _DROPPED).to(self.source.device)
        self.source.scatter_reduce_(1, ids, places, reduce="amax")
        dropped = (among < 0) & (patch_ids >= 0)
        if not bool(dropped.any()):
            return
        gone = torch.zeros_like(self.source, dtype=torch.int8)
        gone.scatter_reduce_(1, ids, dropped.to(gone), reduce="amax")
        self.source.masked_fill_((gone > 0) & (self.source == 0), _DROPPED)

    def _append_ragged(
        self, tokens: Tensor, sizes: Tensor | None, places: Tensor, held: Tensor
    ) -> None:
        rows, arrivals = held.nonzero(as_tuple=True)
        targets = places[rows, arrivals] - 1
        device = self.buffer.device
        rows, arrivals, targets = rows.to(device), arrivals.to(device), targets.to(device)
        values = tokens[rows, arrivals].to(self.buffer.dtype)
        self.buffer[rows, self.num_prefix_tokens + targets] = values
        if self.sizes is not None:
            one = torch.ones((), device=device)
            self.sizes[rows, targets] = one if sizes is None else sizes[rows, arrivals].to(one)


def _span(counts: Tensor) -> str:
    """Counts of all rows in a few characters: "3", or "0-3" where they differ."""
    if not len(counts):
        return "0"
    lowest, highest = int(counts.min()), int(counts.max())
    return str(lowest) if lowest == highest else f"{lowest}-{highest}"

"""TORE (token recycling): the extractor, the cache and the aggregator.

The first K blocks of a Vision Transformer (the extractor) see one glimpse at a time, the others
(the aggregator) see the tokens of all glimpses. A glimpse's tokens at depth K are computed once and
kept; class tokens of the glimpses are averaged. Source: Olszewski et al., "TORE: Token Recycling in
Vision Transformers for Efficient Active Visual Exploration", WACV 2025, section 3.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from encoders.families.tore.surgery import PatchVit

_UNSET = -1


@dataclasses.dataclass
class ToreState:
    """Everything an encoder remembers of the glimpses of B rows; weights live elsewhere.

    The buffer is laid out as the aggregator reads it, prefix first, so that a step appends its own
    tokens and copies nothing that is cached.

    Attributes:
        buffer: float `[B, P + capacity, D]`: running mean of the glimpses' prefix tokens, then
            their patch tokens at depth K in the order of arrival.
        patch_ids: int64 `[B, capacity]`, on the buffer's device; -1 where nothing is cached.
        token_counts: int64 `[B]` on the CPU: cached patch tokens.
        glimpse_counts: int64 `[B]` on the CPU: glimpses with at least one token.
        split_blocks: int64 `[B]` on the CPU: the K of the cached tokens, -1 for an empty row.
        num_prefix_tokens: P.
    """

    buffer: Tensor
    patch_ids: Tensor
    token_counts: Tensor
    glimpse_counts: Tensor
    split_blocks: Tensor
    num_prefix_tokens: int

    @classmethod
    def empty(cls, batch_size: int, capacity: int, vit: PatchVit) -> ToreState:
        """An empty cache for `batch_size` rows with room for `capacity` patch tokens each."""
        weight = vit.vit.patch_embed.proj.weight
        counts = torch.zeros(batch_size, dtype=torch.int64)
        return cls(
            buffer=weight.new_zeros(batch_size, vit.num_prefix_tokens + capacity, vit.width),
            patch_ids=torch.full((batch_size, capacity), -1, device=weight.device),
            token_counts=counts,
            glimpse_counts=counts.clone(),
            split_blocks=torch.full_like(counts, _UNSET),
            num_prefix_tokens=vit.num_prefix_tokens,
        )

    def __len__(self) -> int:
        return len(self.token_counts)

    @property
    def capacity(self) -> int:
        """Patch tokens a row has room for; grows when a row needs more."""
        return self.patch_ids.shape[1]

    @property
    def num_bytes(self) -> int:
        """Memory of the cache: B * ((P + capacity) * D * itemsize + 8 * capacity + 24) bytes."""
        tensors = [self.buffer, self.patch_ids]
        tensors += [self.token_counts, self.glimpse_counts, self.split_blocks]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def reset(self, rows: Tensor) -> None:
        """Forgets everything in some rows.

        Args:
            rows: bool `[B]` or int64 `[R]`.
        """
        rows = self._indices(rows)
        self.patch_ids[rows.to(self.patch_ids.device)] = -1
        self.token_counts[rows] = 0
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
        rows = self._indices(rows)
        on_device = rows.to(self.buffer.device)
        return dataclasses.replace(
            self,
            buffer=self.buffer[on_device],
            patch_ids=self.patch_ids[on_device],
            token_counts=self.token_counts[rows],
            glimpse_counts=self.glimpse_counts[rows],
            split_blocks=self.split_blocks[rows],
        )

    def put(self, rows: Tensor, source: ToreState) -> None:
        """Overwrites rows with those of another state, the inverse of `select`.

        Args:
            rows: bool `[B]` or int64 `[R]`, without repetitions.
            source: A state of R rows.
        """
        rows = self._indices(rows)
        self.reserve(source.capacity)
        on_device = rows.to(self.buffer.device)
        length = source.num_prefix_tokens + source.capacity
        self.buffer[on_device, :length] = source.buffer
        self.patch_ids[on_device, : source.capacity] = source.patch_ids
        self.patch_ids[on_device, source.capacity :] = -1
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
        self.patch_ids = torch.cat(
            [self.patch_ids, self.patch_ids.new_full((batch_size, extra), -1)], 1
        )

    def append(self, prefix: Tensor, tokens: Tensor, patch_ids: Tensor, split_block: int) -> None:
        """Adds one glimpse to every row.

        Args:
            prefix: `[B, P, D]`, the glimpse's prefix tokens at depth K.
            tokens: `[B, n, D]`, its patch tokens at depth K.
            patch_ids: int64 `[B, n]` on the CPU; -1 = padding. A row of padding alone stays as it
                is.
            split_block: The K that made these tokens.
        """
        valid = patch_ids >= 0
        new_counts = valid.sum(1)
        seen = new_counts > 0
        self.reserve(int((self.token_counts + new_counts).max()))
        self.glimpse_counts += seen
        self._average_prefix(prefix, seen)
        first = int(self.token_counts[0])
        if bool(valid.all()) and bool((self.token_counts == first).all()):
            start, stop = first, first + patch_ids.shape[1]
            offset = self.num_prefix_tokens
            self.buffer[:, offset + start : offset + stop] = tokens
            self.patch_ids[:, start:stop] = patch_ids.to(self.patch_ids.device)
        else:
            self._append_ragged(tokens, patch_ids, valid)
        self.token_counts += new_counts
        self.split_blocks[seen] = split_block

    def mask(self) -> Tensor | None:
        """Bool `[B, P + max tokens]`, False for padding; None when all rows are equally long."""
        longest = int(self.token_counts.max())
        if bool((self.token_counts == longest).all()):
            return None
        lengths = self.num_prefix_tokens + self.token_counts
        positions = torch.arange(self.num_prefix_tokens + longest)
        return (positions < lengths[:, None]).to(self.buffer.device)

    def sequence(self) -> Tensor:
        """View `[B, P + max tokens, D]` of the buffer: the aggregator's input."""
        return self.buffer[:, : self.num_prefix_tokens + int(self.token_counts.max())]

    def cached_ids(self) -> Tensor:
        """View int64 `[B, max tokens]` of the cached patches' ids, -1 for padding."""
        return self.patch_ids[:, : int(self.token_counts.max())]

    def _average_prefix(self, prefix: Tensor, seen: Tensor) -> None:
        mean = self.buffer[:, : self.num_prefix_tokens]
        # A first glimpse has weight 1 and so overwrites whatever an ended episode left behind.
        weight = seen.double() / self.glimpse_counts.clamp(min=1)
        mean.lerp_(prefix.to(mean.dtype), weight.to(mean)[:, None, None])

    def _append_ragged(self, tokens: Tensor, patch_ids: Tensor, valid: Tensor) -> None:
        rows, sources = valid.nonzero(as_tuple=True)
        targets = (self.token_counts[:, None] + valid.cumsum(1) - 1)[rows, sources]
        device = self.buffer.device
        ids = patch_ids[rows, sources].to(device)
        rows, sources, targets = rows.to(device), sources.to(device), targets.to(device)
        values = tokens[rows, sources].to(self.buffer.dtype)
        self.buffer[rows, self.num_prefix_tokens + targets] = values
        self.patch_ids[rows, targets] = ids

    def _indices(self, rows: Tensor) -> Tensor:
        rows = torch.as_tensor(rows).cpu()
        if rows.dtype == torch.bool:
            if rows.shape != self.token_counts.shape:
                raise ValueError(f"a mask of shape {tuple(rows.shape)} for {len(self)} rows")
            return rows.nonzero(as_tuple=True)[0]
        return rows

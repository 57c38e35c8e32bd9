"""Running sums over keys and values: what a block of angular attention keeps of cached tokens."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from encoders.layers.angular import AngularAttention


@dataclasses.dataclass
class RunningSums:
    """What the last block knows of the cached tokens of B rows.

    Attributes:
        products: float32 `[B, heads, d, d]`: keys of length one times values, over all tokens.
        nearest: float32 `[B, reach, D]`: values of the tokens next to the class token, those that
            its depthwise branch looks at; zeros where there is none.
        counts: int64 `[B]` on the CPU: cached tokens that have been added, from the first.
    """

    products: Tensor
    nearest: Tensor
    counts: Tensor

    @classmethod
    def empty(cls, batch_size: int, layer: AngularAttention, like: Tensor) -> RunningSums:
        """Sums over nothing, on the device of a tensor."""
        heads, width = layer.num_heads, layer.head_dim
        # In half precision a long sum would lose what is added to it.
        dtype = torch.promote_types(like.dtype, torch.float32)
        return cls(
            like.new_zeros(batch_size, heads, width, width, dtype=dtype),
            like.new_zeros(batch_size, layer.reach, heads * width, dtype=dtype),
            torch.zeros(batch_size, dtype=torch.int64),
        )

    def like(self, batch_size: int) -> RunningSums:
        """Sums over nothing, of so many rows."""
        return RunningSums(
            self.products.new_zeros(batch_size, *self.products.shape[1:]),
            self.nearest.new_zeros(batch_size, *self.nearest.shape[1:]),
            self.counts.new_zeros(batch_size),
        )

    def reset(self, rows: Tensor) -> None:
        """Forgets rows, int64 `[R]` on the CPU."""
        on_device = rows.to(self.products.device)
        self.products[on_device] = 0
        self.nearest[on_device] = 0
        self.counts[rows] = 0

    def select(self, rows: Tensor) -> RunningSums:
        """A copy of rows, int64 `[R]` on the CPU."""
        on_device = rows.to(self.products.device)
        return RunningSums(self.products[on_device], self.nearest[on_device], self.counts[rows])

    def put(self, rows: Tensor, source: RunningSums) -> None:
        """Overwrites rows, int64 `[R]` on the CPU, with those of others."""
        on_device = rows.to(self.products.device)
        self.products[on_device] = source.products
        self.nearest[on_device] = source.nearest
        self.counts[rows] = source.counts

    @property
    def num_bytes(self) -> int:
        """Memory, B * (d * D + reach * D) * itemsize + 8 * B."""
        tensors = (self.products, self.nearest, self.counts)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def __getstate__(self) -> dict[str, Any]:
        # As arrays, for torch lets the processes it starts share tensors.
        arrays = {name: value.cpu().numpy() for name, value in vars(self).items()}
        return {**arrays, "device": str(self.products.device)}

    def __setstate__(self, fields: dict[str, Any]) -> None:
        device = fields["device"]
        self.products = torch.tensor(fields["products"], device=device)
        self.nearest = torch.tensor(fields["nearest"], device=device)
        self.counts = torch.tensor(fields["counts"])

"""What a SparseFormer encoder remembers: known pixels, and the map of features made of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.support.rows import row_indices

BEFORE, AFTER = 5, 2
"""Pixels before and behind a patch that its features are made of, along each axis."""


def reached_patches(patch_size: int) -> tuple[int, int]:
    """How many patches behind and before a patch have features made of its pixels, on an axis."""
    return -(-BEFORE // patch_size), -(-AFTER // patch_size)


@dataclasses.dataclass(repr=False)
class KnownPixels:
    """The known pixels of B rows, and their features; weights live elsewhere.

    Attributes:
        canvas: float `[B, 3, 5 + H + 2, 5 + W + 2]`: normalised pixels, zeros where nothing was
            seen, and a margin of zeros.
        known: bool `[B, G]`: which patches were seen.
        features: float `[B, C, H/4, W/4]`: the map, zeros where nothing was seen.
        patch_size: Side of a patch in pixels.
    """

    canvas: Tensor
    known: Tensor
    features: Tensor
    patch_size: int

    @classmethod
    def empty(
        cls,
        batch_size: int,
        image_size: tuple[int, int],
        patch_size: int,
        channels: int,
        like: Tensor,
    ) -> KnownPixels:
        """Nothing seen.

        Args:
            batch_size: Rows.
            image_size: Height and width in pixels.
            patch_size: Side of a patch in pixels.
            channels: Of the map.
            like: Whose dtype and device.
        """
        height, width = image_size
        margin = BEFORE + AFTER
        patches = (height // patch_size) * (width // patch_size)
        return cls(
            like.new_zeros(batch_size, 3, height + margin, width + margin),
            torch.zeros(batch_size, patches, dtype=torch.bool, device=like.device),
            like.new_zeros(batch_size, channels, height // 4, width // 4),
            patch_size,
        )

    def __len__(self) -> int:
        return len(self.known)

    def __repr__(self) -> str:
        """Rows and what they know: pixels are too many to print."""
        counts = sorted(set(self.tokens.tolist()))
        span = "-".join(map(str, dict.fromkeys((counts[0], counts[-1])))) if counts else "0"
        return (
            f"KnownPixels({len(self)} rows, {span} of {self.known.shape[1]} patches, "
            f"{self.num_bytes:,} bytes on {self.canvas.device})"
        )

    @property
    def tokens(self) -> Tensor:
        """Known patches of every row, int64 `[B]` on the CPU."""
        return self.known.sum(1).cpu()

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        height, width = (side - BEFORE - AFTER for side in self.canvas.shape[-2:])
        return height // self.patch_size, width // self.patch_size

    @property
    def num_bytes(self) -> int:
        """Memory: B * (3 (H + 7) (W + 7) + C H W / 16) * itemsize + B * G."""
        tensors = (self.canvas, self.known, self.features)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    @property
    def known_cells(self) -> Tensor:
        """Which cells of the map were seen, bool `[B, 1, H/4, W/4]`."""
        rows, columns = self.grid
        side = self.patch_size // 4
        cells = self.known.view(-1, 1, rows, 1, columns, 1).expand(-1, -1, -1, side, -1, side)
        return cells.reshape(-1, 1, rows * side, columns * side)

    def paint(self, patches: Tensor, patch_ids: Tensor) -> Tensor:
        """Puts patches where they belong.

        Args:
            patches: float `[B, n, 3, p, p]`, normalised.
            patch_ids: int64 `[B, n]` on the CPU; -1 = padding.

        Returns:
            bool `[B, G]` on the canvas's device: known patches whose features the new pixels reach.
        """
        batch, (rows, columns) = len(self), self.grid
        each, arrivals = (patch_ids >= 0).nonzero(as_tuple=True)
        ids = patch_ids[each, arrivals].to(self.canvas.device)
        each, arrivals = each.to(ids.device), arrivals.to(ids.device)
        changed = torch.zeros_like(self.known)
        changed[each, ids] = True
        self.known |= changed
        tops, lefts = self._origins(ids)
        steps = torch.arange(self.patch_size, device=ids.device)
        down = (tops + BEFORE)[:, None, None] + steps[:, None]
        across = (lefts + BEFORE)[:, None, None] + steps
        pixels = patches[each, arrivals].to(self.canvas).permute(0, 2, 3, 1)
        self.canvas.permute(0, 2, 3, 1)[each[:, None, None], down, across] = pixels
        ahead, back = reached_patches(self.patch_size)
        near = changed.view(batch, 1, rows, columns).float()
        near = F.pad(near, (ahead, back, ahead, back))
        near = F.max_pool2d(near, 1 + ahead + back, stride=1)
        return (near.flatten(1) > 0) & self.known

    def windows(self, each: Tensor, ids: Tensor) -> Tensor:
        """The pixels that the features of some patches are made of, `[M, 3, p + 7, p + 7]`.

        Args:
            each: int64 `[M]`, rows.
            ids: int64 `[M]`, patches.
        """
        tops, lefts = self._origins(ids)
        steps = torch.arange(self.patch_size + BEFORE + AFTER, device=ids.device)
        down = tops[:, None, None] + steps[:, None]
        across = lefts[:, None, None] + steps
        taken = self.canvas.permute(0, 2, 3, 1)[each[:, None, None], down, across]
        return taken.permute(0, 3, 1, 2)

    def write(self, each: Tensor, ids: Tensor, features: Tensor) -> None:
        """Keeps the features of some patches.

        Args:
            each: int64 `[M]`, rows.
            ids: int64 `[M]`, patches.
            features: `[M, C, p/4, p/4]`.
        """
        tops, lefts = self._origins(ids)
        steps = torch.arange(self.patch_size // 4, device=ids.device)
        down = (tops // 4)[:, None, None] + steps[:, None]
        across = (lefts // 4)[:, None, None] + steps
        cells = features.to(self.features).permute(0, 2, 3, 1)
        self.features.permute(0, 2, 3, 1)[each[:, None, None], down, across] = cells

    def reset(self, rows: Tensor) -> None:
        """Forgets everything in some rows.

        Args:
            rows: bool `[B]` or int64 `[R]`.
        """
        rows = row_indices(rows, len(self)).to(self.canvas.device)
        self.canvas[rows] = 0
        self.known[rows] = False
        self.features[rows] = 0

    def select(self, rows: Tensor) -> KnownPixels:
        """A copy of some rows, in the order given; a row may be named several times."""
        rows = row_indices(rows, len(self)).to(self.canvas.device)
        return KnownPixels(
            self.canvas[rows], self.known[rows], self.features[rows], self.patch_size
        )

    def put(self, rows: Tensor, source: KnownPixels) -> None:
        """Overwrites rows, named once each, with those of another state."""
        rows = row_indices(rows, len(self)).to(self.canvas.device)
        self.canvas[rows] = source.canvas
        self.known[rows] = source.known
        self.features[rows] = source.features

    def fork(self) -> KnownPixels:
        """An independent copy of all rows."""
        return self.select(torch.arange(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        # As arrays, for torch lets the processes it starts share tensors.
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        arrays = {name: value.cpu().numpy() for name, value in tensors.items()}
        return {"arrays": arrays, "device": str(self.canvas.device), "patch": self.patch_size}

    def __setstate__(self, fields: dict[str, Any]) -> None:
        self.patch_size = fields["patch"]
        for name, array in fields["arrays"].items():
            setattr(self, name, torch.tensor(array, device=fields["device"]))

    def _origins(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """First row and column of patches, in pixels of the image."""
        columns = self.grid[1]
        return ids // columns * self.patch_size, ids % columns * self.patch_size

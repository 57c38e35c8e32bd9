"""What canvas encoders remember: the canvas, what of it is known, and maps that can be repaired."""

from __future__ import annotations

import dataclasses
from typing import Any

import safetensors.torch as safetensors
import torch
from torch import Tensor

from encoders.support.rows import row_indices


@dataclasses.dataclass(repr=False)
class CanvasState:
    """Everything a canvas encoder remembers of B rows; weights live elsewhere.

    Attributes:
        cells: float `[B, G, 3, p, p]`, the patches seen, normalised; anything elsewhere.
        known: bool `[B, G]`, which patches were seen; on the device of `cells`.
        counts: int64 `[B]` on the CPU: how many.
        maps: Outputs of every layer of the body, each `[B, C, h, w]`, where they are recycled; None
            as long as nothing is.
        current: bool `[B]` on the CPU: whether the maps of a row are those of its canvas.
    """

    cells: Tensor
    known: Tensor
    counts: Tensor
    maps: list[Tensor] | None = None
    current: Tensor = dataclasses.field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))

    def __post_init__(self) -> None:
        if len(self.current) != len(self.counts):
            self.current = torch.zeros(len(self.counts), dtype=torch.bool)

    @classmethod
    def empty(
        cls, batch_size: int, grid: tuple[int, int], patch_size: int, like: Tensor
    ) -> CanvasState:
        """Blank canvases, of the dtype and on the device of some weight."""
        patches = grid[0] * grid[1]
        return cls(
            cells=like.new_zeros(batch_size, patches, 3, patch_size, patch_size),
            known=torch.zeros(batch_size, patches, dtype=torch.bool, device=like.device),
            counts=torch.zeros(batch_size, dtype=torch.int64),
        )

    def __len__(self) -> int:
        return len(self.counts)

    def __repr__(self) -> str:
        """Rows, what they hold and how much memory it takes: canvases are too long to print."""
        return (
            f"CanvasState({len(self)} rows, {self.counts.tolist()} of {self.known.shape[1]} "
            f"patches, {self.num_bytes:,} bytes on {self.cells.device})"
        )

    @property
    def tokens(self) -> Tensor:
        """Patches known in every row, int64 `[B]` on the CPU."""
        return self.counts

    @property
    def num_bytes(self) -> int:
        """Memory of canvases and maps."""
        tensors = [self.cells, self.known, self.counts, self.current, *(self.maps or [])]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def paint(self, patches: Tensor, patch_ids: Tensor) -> None:
        """Puts one glimpse per row onto its canvas.

        Args:
            patches: float `[B, n, 3, p, p]`.
            patch_ids: int64 `[B, n]` on the CPU; -1 = padding. Of several patches with one id the
                last counts.
        """
        rows, places = (patch_ids >= 0).nonzero(as_tuple=True)
        if not len(rows):
            return
        ids, device = patch_ids[rows, places], self.cells.device
        seen = patches[rows.to(patches.device), places.to(patches.device)].to(self.cells)
        rows_there, ids_there = rows.to(device), ids.to(device)
        if len(torch.unique(rows * self.known.shape[1] + ids)) == len(ids):
            self.cells[rows_there, ids_there] = seen
        else:  # one by one, for nobody says which of several writes to one place is the last
            for row, cell, pixels in zip(rows_there, ids_there, seen, strict=True):
                self.cells[row, cell] = pixels
        self.known[rows_there, ids_there] = True
        self.counts = self.known.sum(1).cpu()

    def reset(self, rows: Tensor) -> None:
        """Forgets everything in some rows, bool `[B]` or int64 `[R]`."""
        rows = row_indices(rows, len(self))
        self.known[rows.to(self.known.device)] = False
        self.counts[rows] = 0
        self.current[rows] = False

    def select(self, rows: Tensor) -> CanvasState:
        """A copy of some rows, in the order given; a row may be named several times."""
        rows = row_indices(rows, len(self))
        there = rows.to(self.cells.device)
        maps = None if self.maps is None else [each[there] for each in self.maps]
        return CanvasState(
            self.cells[there], self.known[there], self.counts[rows], maps, self.current[rows]
        )

    def put(self, rows: Tensor, source: CanvasState) -> None:
        """Overwrites rows, named once each, with those of another state: undoes `select`."""
        rows = row_indices(rows, len(self))
        there = rows.to(self.cells.device)
        self.cells[there] = source.cells
        self.known[there] = source.known
        self.counts[rows] = source.counts
        self.current[rows] = source.current
        if source.maps is None:
            return
        if self.maps is None:
            self.make_maps(source.maps)
        for own, other in zip(self.maps or [], source.maps, strict=True):
            own[there] = other.to(own.dtype)

    def make_maps(self, like: list[Tensor]) -> list[Tensor]:
        """Makes room for maps of these sizes and dtypes, whatever they hold; returns them."""
        self.maps = [each.new_zeros(len(self), *each.shape[1:]) for each in like]
        return self.maps

    def fork(self) -> CanvasState:
        """An independent copy of all rows."""
        return self.select(torch.arange(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        # As bytes, for torch lets the processes it starts share tensors.
        tensors = {name: getattr(self, name) for name in ("cells", "known", "counts", "current")}
        tensors |= {f"map{number}": each for number, each in enumerate(self.maps or [])}
        packed = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
        maps = None if self.maps is None else len(self.maps)
        return {
            "device": str(self.cells.device),
            "maps": maps,
            "tensors": safetensors.save(packed),
        }

    def __setstate__(self, fields: dict[str, Any]) -> None:
        tensors, device = safetensors.load(fields["tensors"]), fields["device"]
        self.counts, self.current = tensors["counts"], tensors["current"]
        self.cells, self.known = tensors["cells"].to(device), tensors["known"].to(device)
        count = fields["maps"]
        self.maps = None
        if count is not None:
            self.maps = [tensors[f"map{number}"].to(device) for number in range(count)]

"""CanvasEncoder: a canvas of what was seen, a body of convolutions, a head and a light decoder."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from encoders.families.canvas.body import CanvasBody
from encoders.families.canvas.config import CanvasConfig
from encoders.families.canvas.decoder import CanvasDecoder
from encoders.families.canvas.recycling import changed_window, repair
from encoders.families.canvas.state import CanvasState
from encoders.families.canvas.windows import Window
from encoders.families.checks import check_images, checked_glimpse
from encoders.families.grid_encoder import GridEncoder
from encoders.flops.count import Cost, FlopCount
from encoders.protocol import Belief, Observed, Promises


class CanvasEncoder(GridEncoder):
    """Paints glimpses onto a canvas and looks at the whole of it after each.

    The module holds weights only. What was seen lives in a `CanvasState` that the caller owns::

        state = encoder.init_state(batch_size)
        belief, state = encoder.observe(patches, patch_ids, state, outputs=("latent", "logits"))

    With `recycle=True` the outputs of all layers are kept as well, and only the cells that a
    glimpse reaches are computed anew; where layers see the whole canvas at once that is refused.

    Args:
        config: The configuration the body was built from.
        body: From canvases to maps; trained and run by its own family.

    Raises:
        ValueError: A canvas that the body cannot encode.
    """

    _BODY: ClassVar[str] = "body"
    _HEAD: ClassVar[str] = "head."

    def __init__(self, config: CanvasConfig, body: CanvasBody) -> None:
        super().__init__(config)
        self._last_size = body.sizes(config.image_size)[-1]
        self.body = body
        self.head = nn.Linear(body.channels, config.num_classes) if config.num_classes else None
        self.decoder = None
        if config.decoder_width:
            self.decoder = CanvasDecoder(
                body.channels, config.decoder_width, config.grid, config.patch_size
            )
        self.unseen = None
        if config.unseen == "learned":
            side = config.patch_size
            self.unseen = nn.Parameter(0.02 * torch.randn(3, side, side))
        if config.recycle:
            self._check_recycling(True)

    def __repr__(self) -> str:
        """What the encoder is, in a few lines; `print(encoder.body)` shows its layers."""
        config, count = self.config, sum(each.numel() for each in self.parameters())
        (height, width), (rows, columns) = config.image_size, self.grid
        sizes = ", ".join(f"{name} {value}" for name, value in config.body.items())
        lines = {
            "image": f"{height}x{width} pixels, {rows}x{columns} patches of {config.patch_size}",
            "body": f"{len(self.body.layers)} layers; {sizes}",
            "parts": f"class head {config.num_classes or 'none'}; decoder "
            f"{config.decoder_width or 'none'}; unseen cells {config.unseen}",
            "weights": f"{config.weights}, {count:,} parameters on {self.device}",
        }
        text = "\n".join(f"  {name:<9}{line}" for name, line in lines.items())
        return f"{type(self).__name__} ({self.family}) {config.name!r}\n{text}"

    @property
    def width(self) -> int:
        """Channels of the latent."""
        return self.body.channels

    @property
    def outputs(self) -> tuple[str, ...]:
        """Parts of the belief that it can compute: without a decoder or class head fewer."""
        named = {"latent": True, "logits": self.head, "cells": self.decoder, "pixels": self.decoder}
        return tuple(name for name, part in named.items() if part is not None)

    def resolve_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Checks the options of this family: `recycle`, whether maps are kept and repaired.

        Raises:
            ValueError: Another option, or recycling where layers see the whole canvas.
        """
        if unknown := sorted(set(options) - {"recycle"}):
            raise ValueError(
                f"encoder {self.config.name!r} has no options {unknown}; it has 'recycle'"
            )
        return {"recycle": self._check_recycling(options.get("recycle"))}

    def describe(self, options: Mapping[str, Any]) -> str:
        """Name and how it looks again, e.g. "convmixer, recycled"."""
        recycled = self.resolve_options(options)["recycle"]
        return f"{self.config.name}, {'recycled' if recycled else 'whole canvas'}"

    def promises(self, options: Mapping[str, Any]) -> Promises:
        """A canvas looks the same whatever was seen first; what a repair costs depends on where."""
        recycled = self.resolve_options(options)["recycle"]
        return Promises(ignores_order=True, trains=True, exact_flops=not recycled)

    def init_state(self, batch_size: int, capacity: int | None = None) -> CanvasState:
        """Blank canvases on the encoder's device.

        Args:
            batch_size: Rows.
            capacity: Of no interest: a canvas has room for all patches.
        """
        like = next(self.parameters())
        return CanvasState.empty(batch_size, self.grid, self.config.patch_size, like)

    @torch.no_grad()
    def observe(
        self,
        patches: Tensor,
        patch_ids: Tensor,
        state: CanvasState,
        outputs: Collection[str] = ("latent", "logits"),
        recycle: bool | None = None,
    ) -> Observed:
        """Paints one glimpse per row; no gradients (see `forward` for training).

        Args:
            patches: float `[B, n, 3, p, p]`, normalised.
            patch_ids: int64 `[B, n]`, row-major grid ids, best on the CPU; -1 = padding. A row of
                padding alone keeps its canvas.
            state: Of the B rows; updated in place.
            outputs: Which parts of the belief to compute, of `self.outputs`.
            recycle: Keep the maps of all layers, and compute only what the glimpse reaches; None =
                as the encoder does by default.

        Returns:
            The belief after this glimpse, the state, and what that took; unpacks as the first two.

        Raises:
            ValueError: Shapes, ids, outputs or options that do not fit.
        """
        chosen = self._check_outputs(outputs)
        recycle = self._check_recycling(recycle)
        patch_ids = checked_glimpse(self.config, patches, patch_ids, len(state))
        state.paint(patches, patch_ids)
        whole = self.flops(np.zeros(len(state), np.int64), 0, chosen)
        spent = whole
        if recycle:
            last, by_part = self._repair(state, patch_ids.numpy())
            spent = FlopCount(by_part[0], by_part[1], whole.decoder, whole.head)
        else:
            state.current[:] = False
            last = self.body(self._canvas(state.cells, state.known))
        return Observed(self._believe(last, chosen), state, Cost(spent, whole))

    @torch.no_grad()
    def prior(
        self, outputs: Collection[str] = ("latent", "logits"), recycle: bool | None = None
    ) -> Belief:
        """The belief about a blank canvas, batch of one: a constant of the weights."""
        chosen = self._check_outputs(outputs)
        self._check_recycling(recycle)
        state = self.init_state(1)
        return self._believe(self.body(self._canvas(state.cells, state.known)), chosen)

    def forward(
        self,
        patches: Tensor,
        patch_ids: Tensor,
        outputs: Collection[str] = ("latent", "logits"),
        recycle: bool | None = None,
    ) -> Belief:
        """All glimpses of an episode at once, with gradients.

        Args:
            patches: float `[B, T, n, 3, p, p]`, normalised: T glimpses of n patches.
            patch_ids: int64 `[B, T, n]`; -1 = padding; a glimpse may be padding altogether.
            outputs: Which parts of the belief to compute, of `self.outputs`.
            recycle: Of no effect: everything is computed.

        Returns:
            The belief after the last glimpse; equal to that of `observe` glimpse after glimpse.
        """
        return self._believe(self.last_map(patches, patch_ids), self._check_outputs(outputs))

    def last_map(self, patches: Tensor, patch_ids: Tensor) -> Tensor:
        """The last map, `[B, C, h, w]`, of all glimpses of an episode, with gradients."""
        return self.body(self.canvas_of(patches, patch_ids))

    def canvas_of(self, patches: Tensor, patch_ids: Tensor) -> Tensor:
        """The canvas `[B, 3, H, W]` of all glimpses of an episode; arguments as of `forward`."""
        batch = len(patches)
        state = CanvasState.empty(batch, self.grid, self.config.patch_size, patches)
        side = self.config.patch_size
        state.paint(patches.reshape(batch, -1, 3, side, side), patch_ids.reshape(batch, -1).cpu())
        return self._canvas(state.cells, state.known)

    def forward_full(
        self, images: Tensor, outputs: Collection[str] = ("latent", "logits")
    ) -> Belief:
        """The belief about normalised images `[B, 3, H, W]` that are seen whole."""
        check_images(self.config, images)
        return self._believe(self.body(images), self._check_outputs(outputs))

    def flops(
        self,
        new_tokens: Any,
        cached_tokens: Any,
        outputs: Collection[str] = ("latent", "logits"),
        recycle: bool | None = None,
    ) -> FlopCount:
        """Multiply-accumulates of one `observe` per row: of a whole canvas, whatever was seen.

        Args:
            new_tokens: Patches of the new glimpse.
            cached_tokens: Patches known before.
            outputs: Parts of the belief that are computed.
            recycle: With recycling this is the most that a step can cost.

        Returns:
            Python integers for integer arguments, int64 arrays otherwise.
        """
        outputs = self._check_outputs(outputs)
        alone, mixed = self.body.macs(self.config.image_size, self.config.patch_size)
        decoder = 0 if self.decoder is None else self.decoder.macs(self._last_size, outputs)
        head = self.head.weight.numel() if self.head is not None and "logits" in outputs else 0
        rows = np.asarray(new_tokens, np.int64) * 0 + np.asarray(cached_tokens, np.int64) * 0
        parts = [rows + part for part in (alone, mixed, decoder, head)]
        return FlopCount(*(part if part.ndim else int(part) for part in parts))

    def _canvas(self, cells: Tensor, known: Tensor) -> Tensor:
        """Pixels `[B, 3, H, W]`: what was seen, and elsewhere what stands for nothing."""
        rows, columns = self.grid
        side = self.config.patch_size
        nothing = cells.new_zeros(()) if self.unseen is None else self.unseen.to(cells.dtype)
        shown = torch.where(known[:, :, None, None, None], cells, nothing)
        shown = shown.reshape(-1, rows, columns, 3, side, side).permute(0, 3, 1, 4, 2, 5)
        return shown.reshape(-1, 3, rows * side, columns * side)

    def _repair(self, state: CanvasState, patch_ids: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """The last maps, after what the newest glimpses reach was computed anew; and what it took.

        A row whose maps are not those of its canvas is computed as a whole.
        """
        config, (rows, columns) = self.config, self.grid
        if state.maps is None or not bool(state.current.any()):
            state.maps = []
            values = self._canvas(state.cells, state.known)
            for layer in self.body.layers:
                values = layer(values)
                state.maps.append(values)
            state.current[:] = True
            whole = self.body.macs(config.image_size, config.patch_size)
            return self.body.final(values), np.full((len(state), 2), whole, np.int64).T
        everything = Window(0, 0, *config.image_size)
        changed: list[Window | None] = []
        for row, ids in enumerate(patch_ids):
            window = changed_window(ids, columns)
            here = None if window is None else window.scaled(config.patch_size)
            changed.append(here if state.current[row] else everything)
        grid_cells = state.cells.unflatten(1, (rows, columns))
        grid_known = state.known.unflatten(1, (rows, columns))
        side = config.patch_size

        def crop(row: int, window: Window) -> Tensor:
            top, left, bottom, right = window
            first, last = top // side, -(-bottom // side)
            start, stop = left // side, -(-right // side)
            cells = grid_cells[row, first:last, start:stop]
            known = grid_known[row, first:last, start:stop, None, None, None]
            nothing = cells.new_zeros(()) if self.unseen is None else self.unseen.to(cells.dtype)
            shown = torch.where(known, cells, nothing).permute(2, 0, 3, 1, 4)
            pixels = shown.reshape(3, (last - first) * side, (stop - start) * side)
            y, x = top - first * side, left - start * side
            return pixels[:, y : y + bottom - top, x : x + right - left]

        spent = repair(self.body, state.maps, crop, changed, config.image_size, side)
        state.current[:] = True
        return self.body.final(state.maps[-1]), spent

    def _believe(self, last: Tensor, outputs: frozenset[str]) -> Belief:
        latent = last.mean((2, 3))
        belief = Belief(latent=latent)
        if "logits" in outputs:
            assert self.head is not None  # _check_outputs
            belief.logits = self.head(latent)
        if self.decoder is not None:
            for name, values in self.decoder(last, latent, outputs).items():
                setattr(belief, name, values)
        return belief

    def _settings(self) -> dict[str, Any]:
        return {"body": dict(self.config.body)}

    def _check_recycling(self, recycle: bool | None) -> bool:
        if recycle is None:
            return self.config.recycle
        if not isinstance(recycle, bool | np.bool_):
            raise ValueError(f"recycle={recycle!r}; expected True or False")
        if recycle and not self.body.is_local:
            raise ValueError(
                f"recycle=True: norms of encoder {self.config.name!r} look at the whole canvas, so "
                "that nothing of it stays as it was; leave recycle out, or train one with norms "
                "that look at one cell (--sizes norm=channel)"
            )
        return bool(recycle)

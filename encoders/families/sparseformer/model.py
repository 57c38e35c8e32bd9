"""SparseFormerEncoder: known pixels, latent tokens that look at them, a head, a decoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.families.checks import check_images, checked_glimpse
from encoders.families.grid_encoder import DECODED, GridEncoder
from encoders.families.sparseformer.config import SparseFormerConfig
from encoders.families.sparseformer.decoder import ENTROPIES, LatentDecoder
from encoders.families.sparseformer.network import SparseFormer
from encoders.families.sparseformer.state import AFTER, BEFORE, KnownPixels, reached_patches
from encoders.flops.count import Cost, FlopCount
from encoders.protocol import Belief, Observed, Promises


class SparseFormerEncoder(GridEncoder):
    """Paints glimpses onto a canvas at which latent tokens look through their regions.

    The features of a patch are computed when it is seen, and again when a patch beside it is, for
    they reach a few pixels across its border; where nothing was seen the regions find zeros, or a
    learned feature, and never a pixel. With everything seen this is the published model::

        state = encoder.init_state(batch_size)
        belief, state = encoder.observe(patches, patch_ids, state, outputs=("latent", "regions"))

    `regions` are `[B, N, 4]`: (y0, x0, y1, x1) of each latent token in units of the scene, not kept
    inside of it.

    Args:
        config: What to build.
    """

    family: ClassVar[str] = "sparseformer"
    _BODY: ClassVar[str] = "network"
    _HEAD: ClassVar[str] = "network.proj."

    def __init__(self, config: SparseFormerConfig) -> None:
        super().__init__(config)
        shape = config.shape
        self.network = SparseFormer(shape, config.num_classes)
        self.unseen = None
        if config.unseen == "learned":
            self.unseen = nn.Parameter(0.02 * torch.randn(shape.features))
        self.decoder = None
        if config.decoder_width:
            self.decoder = LatentDecoder(
                shape.cortex_width,
                shape.features,
                config.decoder_width,
                config.grid,
                config.patch_size,
            )
        conv = self.network.feat_extractor.conv1
        outputs = (config.patch_size // 2 + 1) ** 2
        self._window_macs = outputs * conv.weight.numel()
        self._looking_macs = self.network.macs()

    def __repr__(self) -> str:
        """What the encoder is, in a few lines; `print(encoder.network)` shows its layers."""
        config, shape = self.config, self.config.shape
        count = sum(each.numel() for each in self.parameters())
        (height, width), (rows, columns) = config.image_size, self.grid
        lines = {
            "image": f"{height}x{width} pixels, {rows}x{columns} patches of {config.patch_size}",
            "latents": f"{shape.latents} with {shape.points} points each, form {shape.form}; "
            f"{shape.repeats} looks of width {shape.width}, then {shape.cortex_depth} blocks of "
            f"width {shape.cortex_width}",
            "parts": f"class head {config.num_classes or 'none'}; decoder "
            f"{config.decoder_width or 'none'}; where nothing was seen {config.unseen}",
            "weights": f"{config.weights}, {count:,} parameters on {self.device}",
        }
        text = "\n".join(f"  {name:<9}{line}" for name, line in lines.items())
        return f"{type(self).__name__} ({self.family}) {config.name!r}\n{text}"

    @property
    def width(self) -> int:
        """Channels of the latent."""
        return self.config.shape.cortex_width

    @property
    def outputs(self) -> tuple[str, ...]:
        """Parts of the belief that it can compute: without a decoder or class head fewer."""
        named = {"latent": True, "tokens": True, "logits": self.config.num_classes}
        named |= dict.fromkeys((*DECODED, *ENTROPIES), self.config.decoder_width)
        named |= {"regions": True}
        return tuple(name for name, there in named.items() if there)

    @property
    def sampling_macs(self) -> int:
        """Multiply-accumulates of all bilinear samples of a step: four to a channel and point.

        No cost holds them, as none holds norms and activations: they interpolate, and
        `torch.utils.flop_counter` does not count them either.
        """
        shape = self.config.shape
        return (shape.repeats + 1) * 4 * shape.latents * shape.points * shape.features

    def resolve_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The family has no options.

        Raises:
            ValueError: One is given.
        """
        if options:
            raise ValueError(
                f"encoder {self.config.name!r} has no options {sorted(options)}; leave them out"
            )
        return {}

    def describe(self, options: Mapping[str, Any]) -> str:
        """Name and latents, e.g. "sparseformer-nano, 25 latents"."""
        self.resolve_options(options)
        return f"{self.config.name}, {self.config.shape.latents} latents"

    def promises(self, options: Mapping[str, Any]) -> Promises:
        """A canvas looks the same whatever was seen first; what it costs depends on neighbours."""
        self.resolve_options(options)
        return Promises(ignores_order=True, trains=True, exact_flops=False)

    def init_state(self, batch_size: int, capacity: int | None = None) -> KnownPixels:
        """Nothing seen, on the encoder's device.

        Args:
            batch_size: Rows.
            capacity: Of no interest: a canvas has room for all patches.
        """
        config = self.config
        like = self.network.initial_roi.weight
        return KnownPixels.empty(
            batch_size, config.image_size, config.patch_size, config.shape.features, like
        )

    @torch.no_grad()
    def observe(
        self,
        patches: Tensor,
        patch_ids: Tensor,
        state: KnownPixels,
        outputs: Collection[str] = ("latent", "logits"),
    ) -> Observed:
        """Takes in one glimpse per row; no gradients (see `forward` for training).

        Args:
            patches: float `[B, n, 3, p, p]`, normalised.
            patch_ids: int64 `[B, n]`, row-major grid ids, best on the CPU; -1 = padding. A row of
                padding alone keeps what it knows.
            state: Of the B rows; updated in place.
            outputs: Which parts of the belief to compute, of `self.outputs`.

        Returns:
            The belief after this glimpse, the state, and what that took; unpacks as the first two.

        Raises:
            ValueError: Shapes, ids or outputs that do not fit.
        """
        chosen = self._check_outputs(outputs)
        patch_ids = checked_glimpse(self.config, patches, patch_ids, len(state))
        reached = state.paint(patches, patch_ids)
        each, ids = reached.nonzero(as_tuple=True)
        if len(each):
            state.write(each, ids, self._features_of(state.windows(each, ids), ids))
        features = self._with_unseen(state.features, state.known_cells)
        spent = self._cost(reached.sum(1).cpu().numpy(), chosen)
        anew = self._cost(state.tokens.numpy(), chosen)
        return Observed(self._believe(features, state.known, chosen), state, Cost(spent, anew))

    @torch.no_grad()
    def prior(self, outputs: Collection[str] = ("latent", "logits")) -> Belief:
        """The belief before any glimpse, batch of one: a constant of the weights."""
        chosen = self._check_outputs(outputs)
        state = self.init_state(1)
        features = self._with_unseen(state.features, state.known_cells)
        return self._believe(features, state.known, chosen)

    def forward(
        self,
        patches: Tensor,
        patch_ids: Tensor,
        outputs: Collection[str] = ("latent", "logits"),
    ) -> Belief:
        """All glimpses of an episode at once, with gradients.

        Args:
            patches: float `[B, T, n, 3, p, p]`, normalised: T glimpses of n patches.
            patch_ids: int64 `[B, T, n]`; -1 = padding; a glimpse may be padding altogether.
            outputs: Which parts of the belief to compute, of `self.outputs`.

        Returns:
            The belief after the last glimpse; equal to that of `observe` glimpse after glimpse.
        """
        chosen = self._check_outputs(outputs)
        state = self.init_state(len(patches))
        side = self.config.patch_size
        state.paint(
            patches.reshape(len(patches), -1, 3, side, side),
            patch_ids.reshape(len(patches), -1).cpu(),
        )
        inner = state.canvas[..., BEFORE:-AFTER, BEFORE:-AFTER]
        known = state.known_cells
        features = self.network.feat_extractor(inner)
        features = features * known.to(features)
        return self._believe(self._with_unseen(features, known), state.known, chosen)

    def forward_full(
        self, images: Tensor, outputs: Collection[str] = ("latent", "logits")
    ) -> Belief:
        """The published model: the belief about normalised images `[B, 3, H, W]` seen whole."""
        check_images(self.config, images)
        chosen = self._check_outputs(outputs)
        features = self.network.feat_extractor(images)
        known = torch.ones(len(images), self.grid[0] * self.grid[1], dtype=torch.bool)
        return self._believe(features, known.to(images.device), chosen)

    def flops(
        self,
        new_tokens: Any,
        cached_tokens: Any,
        outputs: Collection[str] = ("latent", "logits"),
    ) -> FlopCount:
        """The most multiply-accumulates of one `observe` per row.

        A new patch has known neighbours whose features are computed again, up to eight of patches
        of 8 pixels or more and fifteen of smaller ones; how many depends on where it lies. With
        nothing cached this is exact.

        Args:
            new_tokens: Patches of the new glimpse.
            cached_tokens: Patches known before.
            outputs: Parts of the belief that are computed.

        Returns:
            Python integers for integer arguments, int64 arrays otherwise.
        """
        new = np.asarray(new_tokens, np.int64)
        cached = np.asarray(cached_tokens, np.int64)
        neighbours = (1 + sum(reached_patches(self.config.patch_size))) ** 2 - 1
        windows = new + np.minimum(cached, neighbours * new)
        count = self._cost(windows, self._check_outputs(outputs))
        if windows.ndim:
            return count
        return FlopCount(*(int(part) for part in count.by_part()))

    def _cost(self, windows: np.ndarray, outputs: Collection[str]) -> FlopCount:
        """Of a step that computes the features of so many patches, int64 `[B]`."""
        latents = self.config.shape.latents
        tokens = latents + int(self.config.shape.form == "btsp")
        decoder = 0 if self.decoder is None else self.decoder.macs(tokens, latents, outputs)
        head = self.config.num_classes * self.width if "logits" in outputs else 0
        rows = windows * 0
        extractor = windows * self._window_macs
        return FlopCount(extractor, rows + self._looking_macs, rows + decoder, rows + head)

    def _features_of(self, windows: Tensor, ids: Tensor) -> Tensor:
        """The map's cells of some patches, `[M, C, p/4, p/4]`.

        Args:
            windows: Their pixels and those around, `[M, 3, p + 7, p + 7]`.
            ids: Which patches, int64 `[M]`: at the upper and left edges of the image the pooling
                has less to choose from.
        """
        extractor = self.network.feat_extractor
        conv = extractor.conv1
        values = F.conv2d(windows, conv.weight.to(windows), conv.bias, stride=2).relu()
        columns = self.grid[1]
        values[ids < columns, :, 0] = 0  # beyond the image; no other value is below
        values[ids % columns == 0, :, :, 0] = 0
        return extractor.normalise(F.max_pool2d(values, 3, stride=2))

    def _with_unseen(self, features: Tensor, known: Tensor) -> Tensor:
        if self.unseen is None:
            return features
        return torch.where(known, features, self.unseen.to(features)[:, None, None])

    def _believe(self, features: Tensor, known: Tensor, outputs: frozenset[str]) -> Belief:
        latents = self.network.look(features)
        belief = Belief(latent=latents.latent)
        if "tokens" in outputs:
            belief.tokens = latents.tokens
        if "logits" in outputs:
            belief.logits = self.network.proj(latents.latent)
        if self.decoder is not None:
            decoded = self.decoder(latents.tokens, latents.regions, features, known, outputs)
            for name, values in decoded.items():
                setattr(belief, name, values)
        if "regions" in outputs:
            belief.heads = {"regions": latents.regions[..., [1, 0, 3, 2]]}
        return belief

    def _settings(self) -> dict[str, Any]:
        return {"shape": dataclasses.asdict(self.config.shape)}


def build_sparseformer(config: SparseFormerConfig, seed: int = 0) -> SparseFormerEncoder:
    """Builds an encoder with random weights, in evaluation mode, on the CPU.

    Args:
        config: What to build.
        seed: Of the initial weights; torch's global generator is left as it was.

    Raises:
        ValueError: Sizes that do not fit together.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = SparseFormerEncoder(config)
    return encoder.eval()

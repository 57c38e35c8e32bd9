"""What an episode costs step by step, for three ways to a belief after every glimpse.

Encoding everything seen so far anew in front of a heavy decoder (AME's), the same in front of a
light one, and recycling tokens (TORE) with several split blocks K in front of the light one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

import numpy as np

from encoders.config import DecoderConfig
from encoders.flops.count import FlopCount
from encoders.flops.ledger import FlopLedger

if TYPE_CHECKING:
    from encoders.families.tore.model import GlimpseEncoder
    from encoders.layers.decoder import GlimpseDecoder

RegimeName = Literal[
    "ame-128x256-8x48",
    "ame-128x256-8x32",
    "tore-224x224-12x32",
    "adaglimpse-224x224-14x32",
    "segmentation-224x224-4x48",
    "segmentation-224x224-8x48",
]


@dataclasses.dataclass(frozen=True)
class Regime:
    """How much of which images a published system looks at.

    Attributes:
        image_size: Height and width in pixels.
        glimpse_pixels: Side of a glimpse in pixels.
        num_glimpses: Glimpses in an episode.
    """

    image_size: tuple[int, int]
    glimpse_pixels: int
    num_glimpses: int

    def glimpse_size(self, patch_size: int) -> int:
        """Side of a glimpse in patches.

        Raises:
            ValueError: It is not a whole number of patches.
        """
        if self.glimpse_pixels % patch_size:
            raise ValueError(
                f"glimpses of {self.glimpse_pixels} pixels are not a whole number of the encoder's "
                f"patches of {patch_size} pixels; give --glimpse-size in patches"
            )
        return self.glimpse_pixels // patch_size


REGIMES: dict[str, Regime] = {
    "ame-128x256-8x48": Regime((128, 256), 48, 8),
    "ame-128x256-8x32": Regime((128, 256), 32, 8),
    "tore-224x224-12x32": Regime((224, 224), 32, 12),
    "adaglimpse-224x224-14x32": Regime((224, 224), 32, 14),
    "segmentation-224x224-4x48": Regime((224, 224), 48, 4),
    "segmentation-224x224-8x48": Regime((224, 224), 48, 8),
}


@dataclasses.dataclass(frozen=True)
class Episode:
    """Glimpses none of which shows a patch again; arrays are int64 `[S]`, one entry per step.

    Attributes:
        glimpse_size: Side of a glimpse in patches.
        num_glimpses: Number of glimpses.
        charge_prior: Whether the belief before any glimpse is a step as well.
    """

    glimpse_size: int
    num_glimpses: int
    charge_prior: bool = False

    @property
    def glimpses(self) -> np.ndarray:
        """Glimpses seen after each step."""
        return np.arange(0 if self.charge_prior else 1, self.num_glimpses + 1)

    @property
    def tokens(self) -> np.ndarray:
        """Patches seen after each step."""
        return self.glimpses * self.glimpse_size**2

    @property
    def cached(self) -> np.ndarray:
        """Patches seen before each step."""
        return np.maximum(self.tokens - self.glimpse_size**2, 0)

    def check_fits(self, grid: tuple[int, int]) -> None:
        """Makes sure that the glimpses can lie side by side in a grid of patches.

        Raises:
            ValueError: They cannot.
        """
        size, patches = self.glimpse_size, self.num_glimpses * self.glimpse_size**2
        if not 0 < patches <= grid[0] * grid[1] or size > min(grid):
            raise ValueError(
                f"{self.num_glimpses} glimpses of {size}x{size} patches do not fit side by side "
                f"into a grid of {grid[0]}x{grid[1]} patches"
            )


@dataclasses.dataclass(frozen=True)
class EpisodeCosts:
    """Multiply-accumulates of an episode's steps; arrays are int64 `[S]`.

    Attributes:
        title: Encoder and episode.
        glimpses: Glimpses seen after each step; begins with 0 where the prior is charged.
        tokens: Patches seen after each step.
        heavy: Encoding everything anew, heavy decoder.
        light: Encoding everything anew, light decoder.
        recycled: By K: recycling tokens, light decoder.
        heavy_decoder: Name of the heavy decoder's shape.
        light_decoder: Name of the light decoder's shape.
    """

    title: str
    glimpses: np.ndarray
    tokens: np.ndarray
    heavy: FlopCount
    light: FlopCount
    recycled: dict[int, FlopCount]
    heavy_decoder: str
    light_decoder: str

    @property
    def saved_by_decoder(self) -> float:
        """Share of the heavy episode's cost that the lighter decoder saves."""
        return 1 - np.sum(self.light.total) / np.sum(self.heavy.total)

    def saved_by_recycling(self, split_block: int) -> float:
        """Share of the heavy episode's cost that recycling saves on top of that."""
        saved = np.sum(self.light.total) - np.sum(self.recycled[split_block].total)
        return saved / np.sum(self.heavy.total)


def episode_costs(
    encoder: GlimpseEncoder,
    *,
    glimpse_size: int,
    num_glimpses: int,
    split_blocks: Collection[int] | None = None,
    decoder: tuple[int, int] | None = None,
    heavy_decoder: tuple[int, int] = (512, 8),
    outputs: Collection[str] | None = None,
    charge_prior: bool = False,
) -> EpisodeCosts:
    """Computes what the steps of an episode cost.

    Args:
        encoder: Of which only the shape matters.
        glimpse_size: Side of a glimpse in patches.
        num_glimpses: Glimpses in an episode, none of which shows a patch again.
        split_blocks: Values of K; None = none, a third, two thirds and all of the blocks.
        decoder: Width and blocks of the light decoder; None = the encoder's own, or 128 and 1.
        heavy_decoder: Width and blocks of the other one.
        outputs: Parts of the belief; None = logits if any, entropy and pixels.
        charge_prior: Begin with the belief before any glimpse.

    Raises:
        ValueError: Glimpses that cannot all be disjoint, a K the encoder does not have, or outputs
            that it cannot compute.
    """
    episode = Episode(glimpse_size, num_glimpses, charge_prior)
    episode.check_fits(encoder.grid)
    splits = _checked_splits(encoder.depth, split_blocks)
    outputs = _checked_outputs(encoder, outputs)
    light_module = encoder.decoder if decoder is None else None
    light_module = light_module or _make_decoder(encoder, decoder or (128, 1))
    heavy_module = _make_decoder(encoder, heavy_decoder)
    light = FlopLedger(encoder.backbone, light_module)
    heavy = FlopLedger(encoder.backbone, heavy_module)
    tokens, cached = episode.tokens, episode.cached
    rows, columns = (side * encoder.config.patch_size for side in encoder.grid)
    return EpisodeCosts(
        title=f"{encoder.config.name}, {num_glimpses} glimpses of {glimpse_size}x{glimpse_size} "
        f"patches in {rows}x{columns} pixels",
        glimpses=episode.glimpses,
        tokens=tokens,
        heavy=heavy.count(tokens, 0, split_block=0, outputs=outputs),
        light=light.count(tokens, 0, split_block=0, outputs=outputs),
        recycled={
            split: light.count(tokens - cached, cached, split_block=split, outputs=outputs)
            for split in splits
        },
        heavy_decoder=_shape_name(heavy_module),
        light_decoder=_shape_name(light_module),
    )


def _checked_splits(depth: int, split_blocks: Collection[int] | None) -> list[int]:
    """The values of K, ascending; by default none, a third, two thirds and all of the blocks."""
    if split_blocks is None:
        split_blocks = {depth * third // 3 for third in range(4)}
    splits = sorted(set(split_blocks))
    if wrong := [split for split in splits if not 0 <= split <= depth]:
        raise ValueError(f"split blocks {wrong} are outside [0, {depth}]")
    return splits


def _checked_outputs(encoder: GlimpseEncoder, outputs: Collection[str] | None) -> Collection[str]:
    """The parts of the belief; by default logits where there is a head, entropy and pixels."""
    from encoders.protocol import OUTPUTS  # here, for it needs torch, and `--help` does not

    has_head = encoder.config.num_classes > 0
    if outputs is None:
        return ("logits", "entropy", "pixels") if has_head else ("entropy", "pixels")
    if unknown := sorted(set(outputs) - set(OUTPUTS)):
        raise ValueError(f"unknown outputs {unknown}; choose from {list(OUTPUTS)}")
    if "logits" in outputs and not has_head:
        raise ValueError(f"'logits' need a class head, and {encoder.config.name!r} has none")
    return outputs


def _make_decoder(encoder: GlimpseEncoder, shape: tuple[int, int]) -> GlimpseDecoder:
    from encoders.layers.decoder import GlimpseDecoder

    width, depth = shape
    # The number of heads changes no count.
    config = DecoderConfig(width, depth, num_heads=1)
    return GlimpseDecoder(config, encoder.width, encoder.grid, encoder.config.patch_size)


def _shape_name(decoder: GlimpseDecoder) -> str:
    return f"{decoder.width} x {len(decoder.blocks)}"

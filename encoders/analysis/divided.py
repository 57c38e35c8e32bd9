"""What an encoder of the family "tore" makes of images in parts, at every split block K.

The parts are encoded apart by the first K blocks and together by the others, as in
`GlimpseEncoder.forward_divided`, to which all of this is equal. What several K have in common is
computed once: the parts go through the extractor block by block, and at every K asked for a copy
goes on through the aggregator. Tokens are not reduced, whatever the encoder's configuration says.

Source: "Token Recycling for Efficient Sequential Inference with Vision Transformers" (TORE), WACV
2025, section 3.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.layers.vit import TokenSet


@dataclasses.dataclass(frozen=True, eq=False)
class DividedFeatures:
    """Features of images at one K.

    Attributes:
        latent: `[B, D]`, what the class head reads.
        logits: `[B, C]` of the encoder's own class head; None without one.
    """

    latent: Tensor
    logits: Tensor | None


def require_tore(encoder: Any) -> None:
    """Refuses an encoder that cannot be split into extractor and aggregator.

    Raises:
        ValueError: It is of another family.
    """
    if encoder.family != "tore":
        raise ValueError(
            f"encoder {encoder.config.name!r} of family {encoder.family!r} has no split block K; "
            "choose one of the family 'tore', such as any plain Vision Transformer of timm"
        )


@torch.no_grad()
def divided_features(
    encoder: Any, images: Tensor, labels: np.ndarray, split_blocks: Iterable[int]
) -> dict[int, DividedFeatures]:
    """Features of images in parts, at several K.

    Args:
        encoder: Of the family "tore".
        images: float `[B, 3, H, W]`, normalised, on the encoder's device.
        labels: int64 `[grid_h, grid_w]`, the part of every patch; all patches belong to one.
        split_blocks: Every K, in [0, depth].

    Returns:
        Features by K.

    Raises:
        ValueError: An encoder of another family, a K outside [0, depth], or labels that do not fit.
    """
    run = _Run(encoder, images, labels)
    features = {}
    for split in sorted(
        {encoder.resolve_options({"split_block": each})["split_block"] for each in split_blocks}
    ):
        run.extract_to(split)
        tokens, _ = encoder.backbone.run_blocks(
            run.joined(), split, encoder.depth, leading=encoder.backbone.leading_tokens(("latent",))
        )
        normalised, latent = encoder.backbone.pool(tokens.values, None)
        logits = None
        if "logits" in encoder.outputs:
            logits = encoder.heads["logits"].run(normalised, latent)
        features[split] = DividedFeatures(latent, logits)
    return features


@torch.no_grad()
def tokens_after_blocks(
    encoder: Any, images: Tensor, labels: np.ndarray, split_block: int
) -> Iterator[Tensor]:
    """Patch tokens after every block, in raster order, whichever part they belong to.

    Args:
        encoder: Of the family "tore".
        images: float `[B, 3, H, W]`, normalised, on the encoder's device.
        labels: int64 `[grid_h, grid_w]`, the part of every patch; all patches belong to one.
        split_block: K, in [0, depth].

    Yields:
        `[B, G, D]`, depth + 1 times: before the first block, and after each.

    Raises:
        ValueError: As `divided_features`.
    """
    split = encoder.resolve_options({"split_block": split_block})["split_block"]
    run = _Run(encoder, images, labels)
    for block in range(split + 1):
        run.extract_to(block)
        yield run.in_raster_order(run.joined())
    tokens = run.joined()
    for block in range(split, encoder.depth):
        tokens, _ = encoder.backbone.run_blocks(tokens, block, block + 1)
        yield run.in_raster_order(tokens)


class _Run:
    """Images on their way through the extractor.

    Args:
        encoder: Of the family "tore".
        images: float `[B, 3, H, W]`, normalised.
        labels: int64 `[grid_h, grid_w]`.
    """

    def __init__(self, encoder: Any, images: Tensor, labels: np.ndarray) -> None:
        require_tore(encoder)
        if labels.shape != tuple(encoder.grid) or labels.min() < 0:
            raise ValueError(
                f"labels of shape {labels.shape} from {labels.min()}; expected those of all "
                f"{encoder.grid[0]}x{encoder.grid[1]} patches, from 0"
            )
        self._vit = encoder.backbone
        embedded = encoder.embed(images)
        prefix = self._vit.embed_prefix(len(images)).to(embedded)
        flat = torch.from_numpy(labels.ravel())
        groups = [(flat == label).nonzero()[:, 0] for label in flat.unique()]
        # Parts of one size go through the blocks together.
        self._groups: list[list[Tensor]] = [
            [each for each in groups if len(each) == size]
            for size in sorted({len(group) for group in groups})
        ]
        self._places = torch.cat([each for same in self._groups for each in same]).argsort()
        self._tokens: list[Tensor] = [
            torch.cat([torch.cat([prefix, embedded[:, each]], dim=1) for each in same])
            for same in self._groups
        ]
        self._batch, self._parts, self._block = len(images), len(groups), 0

    def extract_to(self, split: int) -> None:
        """Runs the parts, each by itself, through the blocks before K."""
        for at, tokens in enumerate(self._tokens):
            ran, _ = self._vit.run_blocks(self._set(tokens), self._block, split)
            self._tokens[at] = ran.values
        self._block = split

    def joined(self) -> TokenSet:
        """The mean of the parts' prefix tokens, and all patch tokens, part by part."""
        first = self._vit.num_prefix_tokens
        apart = [tokens.unflatten(0, (-1, self._batch)) for tokens in self._tokens]
        prefix = torch.cat([each[:, :, :first] for each in apart]).mean(0)
        patches = [part[:, first:] for each in apart for part in each]
        return self._set(torch.cat([prefix, *patches], dim=1))

    def in_raster_order(self, tokens: TokenSet) -> Tensor:
        """Patch tokens `[B, G, D]` of what `joined` returned, before or after blocks."""
        return tokens.values[:, self._vit.num_prefix_tokens :][:, self._places]

    def _set(self, values: Tensor) -> TokenSet:
        return TokenSet(values, num_prefix_tokens=self._vit.num_prefix_tokens)


def divided_flops(encoder: Any, labels: np.ndarray, split_block: int) -> int:
    """Multiply-accumulates of one image in parts: what the ledger counts, every part encoded once.

    Args:
        encoder: Of the family "tore".
        labels: int64 `[grid_h, grid_w]`, the part of every patch.
        split_block: K.

    Returns:
        Of the extractor for every part, and of the aggregator and the class head once.
    """
    require_tore(encoder)
    outputs = [name for name in ("latent", "logits") if name in encoder.outputs]
    sizes = np.unique(labels, return_counts=True)[1]
    before = np.cumsum(sizes) - sizes
    count = encoder.flops(sizes, before, split_block=split_block, outputs=outputs, **NOT_REDUCED)
    extractor, aggregator, decoder, head = count.by_part()
    return int(extractor.sum() + aggregator[-1] + decoder[-1] + head[-1])


def sequential_flops(encoder: Any, sizes: np.ndarray, split_block: int) -> np.ndarray:
    """Multiply-accumulates so far, of an image seen part by part, a prediction after each.

    Args:
        encoder: Of the family "tore".
        sizes: Patches of every part, in the order they are seen, int64 `[..., M]`.
        split_block: K.

    Returns:
        int64 `[..., M]`: after every part.
    """
    require_tore(encoder)
    outputs = [name for name in ("latent", "logits") if name in encoder.outputs]
    before = np.cumsum(sizes, axis=-1) - sizes
    count = encoder.flops(sizes, before, split_block=split_block, outputs=outputs, **NOT_REDUCED)
    return np.cumsum(count.total, axis=-1)


NOT_REDUCED = {"reduction": "none", "max_tokens": 0}
"""Options of an encoder of the family "tore" that keep all tokens, whatever its own are."""

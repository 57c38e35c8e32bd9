"""Fourier spectrum and variance of the maps after every layer, of whole scenes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.analysis.divided import tokens_after_blocks
from encoders.analysis.spectrum import (
    diagonal_frequencies,
    feature_map_variance,
    maps_of_tokens,
    relative_log_amplitude,
)
from encoders.layers.divisions import Division
from encoders.support.subsets import spread_evenly

_BATCH = 32


def layer_maps(encoder: Any, pixels: Tensor) -> Iterator[Tensor]:
    """Maps `[B, D, h, w]` after every layer of an encoder that has maps; none of one without.

    SparseFormer has a map before its regions look at it, and then latent tokens without a place.
    """
    if encoder.family == "tore":
        whole = Division(1).labels(encoder.grid)
        for tokens in tokens_after_blocks(encoder, pixels, whole, 0):
            yield maps_of_tokens(tokens, encoder.grid)
    elif (body := getattr(encoder, "body", None)) is not None:
        values = pixels
        for layer in body.layers:
            values = layer(values)
            yield values


@torch.no_grad()
def measure_spectrum(
    model: str, seed: int, encoder: Any, scenes: Any, most: int
) -> list[dict[str, Any]]:
    """A row for every layer and frequency; no rows of an encoder without maps."""
    encoder.eval()
    chosen = spread_evenly(most, len(scenes))
    variances: dict[int, float] = {}
    amplitudes: dict[int, np.ndarray] = {}
    sizes: dict[int, tuple[int, int]] = {}
    for start in range(0, len(chosen), _BATCH):
        batch = chosen[start : start + _BATCH]
        images = torch.from_numpy(np.stack([scenes.load(int(index)) for index in batch]))
        pixels = encoder.normalise(images.permute(0, 3, 1, 2).contiguous())
        share = len(batch) / len(chosen)  # both are means over scenes
        for layer, maps in enumerate(layer_maps(encoder, pixels)):
            if min(maps.shape[2:]) < 2:
                continue
            own = maps.double()
            sizes[layer] = maps.shape[2], maps.shape[3]
            variances[layer] = variances.get(layer, 0.0) + share * float(feature_map_variance(own))
            amplitude = share * relative_log_amplitude(own).numpy()
            amplitudes[layer] = amplitudes.get(layer, 0.0) + amplitude
    return [
        {
            "model": model,
            "seed": seed,
            "scenes": len(chosen),
            "layer": layer,
            "height": sizes[layer][0],
            "width": sizes[layer][1],
            "variance": variances[layer],
            "frequency": frequency,
            "log_amplitude": float(amplitudes[layer][at]),
        }
        for layer in sizes
        for at, frequency in enumerate(diagonal_frequencies(*sizes[layer]).tolist())
    ]

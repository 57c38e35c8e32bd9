"""How good an encoder is while it is trained: accuracy and RMSE on held-out scenes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from encoders.registry import training_of
from encoders.support.precision import autocast
from encoders.support.subsets import spread_evenly
from encoders.training.config import TrainingConfig
from encoders.training.glimpses import full_view, random_glimpses
from encoders.training.objective import glimpses_and_targets, mean_over_unseen, objective_outputs

_BATCH_SIZE = 64
_MOST_GLIMPSES = 8


class LabelledImages(Protocol):
    """What training and validation need of a data set."""

    labels: np.ndarray

    def __len__(self) -> int: ...

    def load(self, index: int) -> np.ndarray:
        """uint8 `[H, W, 3]`."""
        ...


@torch.no_grad()
def validate(
    encoder: Any,
    images: LabelledImages,
    config: TrainingConfig,
    dtype: torch.dtype = torch.float32,
    scored: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, float]:
    """Scores an encoder, of TORE at K = 0, half and full depth; it is left in evaluation mode.

    Random viewing is scored with 8 glimpses (or fewer where fewer were trained), and the full view
    by itself.

    Args:
        encoder: The encoder.
        images: Held-out scenes, of which `config.validation_size`, evenly spread, count.
        config: Glimpses and seed; the same seed draws the same glimpses.
        dtype: Of matrix products.
        scored: Options to score it with, by what is appended to the metrics' names; None = as its
            family has it.

    Returns:
        `accuracy_<view>` in [0, 1] and `rmse_<view>` in grey levels (0-255) over the unseen
        patches, as far as the encoder has a class head and a decoder; of TORE they end in `_k<K>`,
        the K that they are of.
    """
    if scored is None:
        scored = training_of(encoder.family)(encoder, config).scored()
    encoder.eval()
    outputs = objective_outputs(encoder)
    indices = spread_evenly(config.validation_size, len(images))
    count = len(indices)
    sums: defaultdict[str, float] = defaultdict(float)
    for start in range(0, count, _BATCH_SIZE):
        batch = indices[start : start + _BATCH_SIZE]
        scenes = torch.from_numpy(np.stack([images.load(int(index)) for index in batch]))
        labels = torch.from_numpy(images.labels[batch]).to(encoder.device)
        views = _views(
            len(batch), encoder.grid, config, np.random.default_rng([config.seed, start, 2])
        )
        for ending, options in scored.items():
            for view, patch_ids in views.items():
                with autocast(encoder.device, dtype):
                    patches, targets = glimpses_and_targets(encoder, scenes, patch_ids)
                    belief = encoder(patches, patch_ids, outputs=outputs, **options)
                if belief.logits is not None:
                    hits = (belief.logits.argmax(1) == labels).float().sum()
                    sums[f"accuracy_{view}{ending}"] += float(hits)
                if belief.pixels is not None and view != "full":
                    scale = _grey_levels(encoder).repeat(targets.shape[-1] // 3)
                    errors = ((belief.pixels.float() - targets) * scale).square().mean(2)
                    rmse = mean_over_unseen(errors, patch_ids.flatten(1)).sqrt()
                    sums[f"rmse_{view}{ending}"] += float(rmse.sum())
    return {name: total / count for name, total in sums.items()}


def _grey_levels(encoder: Any) -> Tensor:
    """How many grey levels a unit of normalised colours is, by channel, `[3]`."""
    ends = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(-1, 3, -1, -1)
    black, white = encoder.normalise(ends).flatten(1)
    return 255.0 / (white - black)


def tabulate(history: Sequence[Mapping[str, float]], *, heading: bool = True) -> str:
    """A table of what `validate` returned at several steps, at most 100 characters wide.

    Args:
        history: Metrics with `step`, the oldest first; all with the same names.
        heading: Begin with two lines that say what the columns are.

    Returns:
        A line per step: accuracies in per cent, RMSE in grey levels, of TORE for every K.
    """
    groups: dict[str, list[str]] = {}
    for name in history[0]:
        if name != "step":
            view, _, split = name.partition("_k")
            groups.setdefault(view, []).append(split)
    titles = {view: _title(view) for view in groups}
    widths = {view: max(7 * len(each), len(titles[view]) + 1) for view, each in groups.items()}
    lines = []
    if heading:
        lines.append([" " * 8, *(titles[view].rjust(widths[view]) for view in groups)])
        splits = {
            view: "".join((f"K={k}" if k else "").rjust(7) for k in each)
            for view, each in groups.items()
        }
        lines.append(["step".rjust(8), *(splits[view].rjust(widths[view]) for view in groups)])
    for metrics in history:
        cells = [f"{metrics['step']:8.0f}"]
        for view, each in groups.items():
            scale = 100 if view.startswith("accuracy") else 1
            names = (f"{view}_k{split}" if split else view for split in each)
            values = (scale * metrics[name] for name in names)
            cells.append("".join(f"{value:7.1f}" for value in values).rjust(widths[view]))
        lines.append(cells)
    return "\n".join(" |".join(line) for line in lines)


def _title(view: str) -> str:
    measure, _, how = view.partition("_")
    measure = {"accuracy": "accuracy %", "rmse": "RMSE (0-255)"}[measure]
    return f"{measure}, {how.replace('_', ' ')}"


def _views(
    batch_size: int, grid: tuple[int, int], config: TrainingConfig, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Patch ids int64 `[B, T, n]` of every way of looking that is scored."""
    count, size = min(_MOST_GLIMPSES, config.max_glimpses), config.glimpse_size
    views = {
        f"{count}_random": random_glimpses(rng, batch_size, count, grid, size),
        "full": full_view(batch_size, grid, size),
    }
    return {name: torch.from_numpy(np.ascontiguousarray(ids)) for name, ids in views.items()}

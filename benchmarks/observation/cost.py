"""What a step costs: multiply-accumulates, time with all models taking turns, bytes of a state."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import torch

from encoders.support.precision import cast_for_inference
from encoders.training.glimpses import random_glimpses
from observation.settings import MODELS, Settings, build_model, count_parameters

BELIEFS = {"plain": (), "ame": ("entropy",), "regions": ("regions",), "learner": ("cells",)}


class Episode:
    """Glimpses in every row, taken in one after the other; the same ones for all models.

    Args:
        encoder: Takes them in, as environments have it run.
        settings: Of the comparison.
        rows: Rows.
        outputs: Parts of the belief after each glimpse.
    """

    def __init__(
        self, encoder: Any, settings: Settings, rows: int, outputs: tuple[str, ...]
    ) -> None:
        self.encoder = cast_for_inference(encoder, torch.float32, rows)
        self.outputs, self.rows = outputs, rows
        rng = np.random.default_rng(0)
        ids = random_glimpses(rng, rows, settings.num_glimpses, encoder.grid, settings.glimpse_size)
        self.ids = torch.from_numpy(ids)
        side = settings.patch_size
        generator = torch.Generator().manual_seed(0)
        self.patches = torch.randn(*ids.shape, 3, side, side, generator=generator)
        self.state: Any = None

    def run(self) -> float:
        """Multiply-accumulates of a row, on average."""
        self.state = self.encoder.init_state(self.rows, self.ids[0].numel())
        spent = 0.0
        for step in range(self.ids.shape[1]):
            observed = self.encoder.observe(
                self.patches[:, step], self.ids[:, step], self.state, outputs=self.outputs
            )
            spent += float(np.mean(observed.cost.spent.total))
        return spent


def measure_cost(
    settings: Settings, class_names: tuple[str, ...], rows: tuple[int, ...], rounds: int
) -> list[dict[str, Any]]:
    """A row for every model, set of outputs and number of rows; untrained weights cost the same."""
    encoders = {name: build_model(name, settings, class_names, 0).eval() for name in MODELS}
    table = []
    for count in rows:
        episodes: dict[tuple[str, tuple[str, ...]], Episode] = {}
        for name, encoder in encoders.items():
            for parts in BELIEFS.values():
                if all(part in encoder.outputs for part in parts):
                    outputs = ("logits", *parts)
                    episodes[name, outputs] = Episode(encoder, settings, count, outputs)
        taken: dict[Any, list[float]] = {key: [] for key in episodes}
        macs: dict[Any, float] = {}
        for repetition in range(rounds + 1):
            for key, episode in episodes.items():
                begun = time.thread_time()
                macs[key] = episode.run()
                if repetition:
                    taken[key].append(time.thread_time() - begun)
        for (name, outputs), episode in episodes.items():
            seconds = statistics.median(taken[name, outputs])
            table.append(
                {
                    "model": name,
                    "parameters": count_parameters(encoders[name]),
                    "outputs": " ".join(sorted(outputs)),
                    "rows": count,
                    "glimpses": settings.num_glimpses,
                    "ms_per_step": 1e3 * seconds / settings.num_glimpses,
                    "ms_per_row_and_episode": 1e3 * seconds / count,
                    "gflops_per_episode": macs[name, outputs] / 1e9,
                    "state_bytes_per_row": episode.state.num_bytes // count,
                }
            )
    return table

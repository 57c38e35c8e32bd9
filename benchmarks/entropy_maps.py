#!/usr/bin/env python3
"""Where the entropy of attention points in the synthetic panoramas: by band and decoder block.

Usage: python benchmarks/entropy_maps.py [--encoder FOLDER] [--scenes 500]

AME looks where the decoder's last block is least certain. For every block taken as the last, and
for the published map and the one renormalised without the class token, the agent explores test
scenes. Printed are its accuracy, the bands its glimpses fall in, and the area under the ROC curve
with which a window's mean entropy tells the windows on an unseen landmark from the other windows
that show something new: 0.5 means that entropy knows nothing of landmarks, below 0.5 that it
prefers other places. Per band, the same area compares windows of one height only, which takes the
preference for a height out of it.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import tyro

if TYPE_CHECKING:
    from ave_env.sensors.base import FiniteSensor
    from encoders import GlimpseEncoder

BANDS = ("sky", "horizon", "ground")
_BAND_STARTS = (0.36, 0.6)  # of the height: between the centres of the landmarks


@dataclasses.dataclass(frozen=True)
class Options:
    """Looks into attention-map entropy.

    Attributes:
        encoder: Name or folder of an encoder with a decoder.
        split_block: TORE's K; None = the encoder's default.
        scenes: Test scenes.
    """

    encoder: str = "tore-nano"
    split_block: int | None = None
    scenes: int = 500


def main() -> None:
    """Explores with every block of the decoder and prints a table."""
    options = tyro.cli(Options)
    from encoders import create_encoder

    encoder = create_encoder(options.encoder)
    if encoder.decoder is None:
        raise SystemExit(f"encoder {options.encoder!r} has no decoder, so no entropy map")
    head = ("decoder block", "map", "accuracy, %", "glimpses in sky/horizon/ground, %", "AUC")
    print("| " + " | ".join([*head, *(f"AUC {band}" for band in BANDS)]) + " |")
    print("| --- " * (len(head) + len(BANDS)) + "|")
    for depth in range(1, len(encoder.decoder.blocks) + 1):
        shallow = with_decoder_depth(encoder, depth)
        for name in ("ame", "ame_normalised"):
            accuracy, bands, areas = explore(shallow, name, options)
            shares = " / ".join(f"{100 * share:.0f}" for share in bands)
            columns = [f"{depth} of {len(encoder.decoder.blocks)}", name, f"{accuracy:.1f}", shares]
            print("| " + " | ".join([*columns, *(f"{area:.2f}" for area in areas)]) + " |")


def with_decoder_depth(encoder: GlimpseEncoder, depth: int) -> GlimpseEncoder:
    """The same encoder whose decoder ends after `depth` blocks."""
    shallow = copy.deepcopy(encoder)
    assert shallow.decoder is not None
    shallow.decoder.blocks = shallow.decoder.blocks[:depth]
    return shallow


@dataclasses.dataclass(frozen=True)
class Windows:
    """What there was to choose from before one glimpse, one row per scene and column per window.

    Attributes:
        scores: Mean entropy, `[N, n]`.
        on_landmark: Whether the window holds the centre of an unseen landmark, bool `[N, n]`.
        new: Whether it shows something new, bool `[N, n]`.
        chosen: Band of the window that AME took, `[N]`.
    """

    scores: np.ndarray
    on_landmark: np.ndarray
    new: np.ndarray
    chosen: np.ndarray

    def area(self, kept: np.ndarray | slice) -> np.ndarray:
        """Area under the ROC curve among some of the windows, by scene `[N]`."""
        return area_under_roc(self.scores[:, kept], self.on_landmark[:, kept], self.new[:, kept])


def explore(
    encoder: GlimpseEncoder, agent_name: str, options: Options
) -> tuple[float, np.ndarray, list[float]]:
    """Lets AME explore each scene once.

    Returns:
        Accuracy in percent, shares of glimpses by band `[3]`, and areas under the curve: of all
        windows, then of those of each band.
    """
    from agents import make_agent
    from agents.policies.attention_entropy import window_means
    from agents.registry import required_observables
    from ave_env import ActiveExplorationVectorEnv

    (part,) = required_observables([agent_name])
    env = ActiveExplorationVectorEnv(
        options.scenes,
        scenes="synthetic",
        split="test",
        encoder=encoder,
        observe=(part,),
        split_block=options.split_block,
        precision="auto",
        autoreset_mode="DISABLED",
    )
    agent = make_agent(agent_name, env)
    scene_ids = np.linspace(0, len(env.scenes) - 1, options.scenes).astype(int)
    observation, information = env.reset(seed=0, options={"scene_id": scene_ids})
    centers = np.stack([env.scenes.factors(int(index)).centers for index in scene_ids])
    bands, on_landmark = describe_windows(env.sensor, centers)
    rows, columns = np.moveaxis(centers // env.configuration.patch_size, -1, 0)
    steps: list[Windows] = []
    for _ in range(env.num_glimpses):
        actions = agent.predict(observation)[0]
        found = env.visited[np.arange(options.scenes)[:, None], rows, columns].astype(bool)
        steps.append(
            Windows(
                scores=window_means(observation[part], env.sensor),
                on_landmark=(on_landmark & ~found[..., None]).any(axis=1),
                new=env.action_masks(),
                chosen=bands[actions],
            )
        )
        observation, *_, information = env.step(actions)
    chosen = np.concatenate([windows.chosen for windows in steps])
    shares = np.bincount(chosen, minlength=len(BANDS)) / len(chosen)
    areas = [
        float(np.nanmean(np.concatenate([windows.area(kept) for windows in steps])))
        for kept in (slice(None), *(bands == band for band in range(len(BANDS))))
    ]
    accuracy = 100 * float((information["prediction"] == information["label"]).mean())
    return accuracy, shares, areas


def describe_windows(sensor: FiniteSensor, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bands of the windows, `[n]`, and which hold the centre of a landmark, `[N, 3, n]`."""
    boxes = np.asarray(sensor.boxes(np.arange(sensor.num_actions)))
    middles = (boxes[:, 0] + boxes[:, 2]) / 2 / sensor.image_size[0]
    y, x = centers[..., 0, None], centers[..., 1, None]
    inside = (boxes[:, 0] <= y) & (y < boxes[:, 2]) & (boxes[:, 1] <= x) & (x < boxes[:, 3])
    return np.searchsorted(_BAND_STARTS, middles), inside


def area_under_roc(scores: np.ndarray, positive: np.ndarray, useful: np.ndarray) -> np.ndarray:
    """Per scene: how often a positive window scores above a negative one; NaN without either."""
    import torch
    from torchmetrics.functional.classification import binary_auroc

    areas = np.full(len(scores), np.nan)
    for row, kept in enumerate(useful):
        labels = positive[row, kept]
        if labels.any() and not labels.all():
            # torchmetrics takes numbers outside [0, 1] for logits, and squeezes them.
            ranks = np.unique(scores[row, kept], return_inverse=True)[1] / kept.sum()
            areas[row] = binary_auroc(torch.from_numpy(ranks), torch.from_numpy(labels).long())
    return areas


if __name__ == "__main__":
    main()

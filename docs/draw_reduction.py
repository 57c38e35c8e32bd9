#!/usr/bin/env python3
"""Draws what becomes of an encoder's tokens: dropped, merged, halted, and a bounded memory.

Usage: python docs/draw_reduction.py [--scene 6] [--output FILE]

The same glimpses, chosen at random, in one of the panoramas that are part of the package.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gymnasium as gym
import numpy as np
from PIL import Image

import ave_env  # noqa: F401 (registers the ids)
from ave_env.rendering import ink
from ave_env.rendering.tokens import describe_tokens, paint_tokens

OUTPUT = Path(__file__).parent / "images" / "reduction.png"
WAYS = {
    "EViT drops the least attended": {"reduction": "evit:keep_rate=0.6", "split_block": 2},
    "ToMe merges the most similar": {"reduction": "tome:r=4", "split_block": 2},
    "A-ViT lets tokens halt": {"reduction": "avit:gate_scale=6,gate_center=1", "split_block": 2},
    "a memory of 16 tokens": {"max_tokens": 16, "split_block": 2},
}
GAP, CAPTION = 8, 24  # pixels


def main() -> None:
    """Parses the command line and draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scene", type=int, default=6, help="number in the test split")
    parser.add_argument("--seed", type=int, default=3, help="of the glimpses")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    pictures = []
    for name, encoder_options in WAYS.items():
        envs = gym.make_vec(
            "AVE-Panoramas-v0",
            num_envs=1,
            split="test",
            encoder_options=encoder_options,
            observe=("latent", "entropy"),
            num_glimpses=12,
            device="cpu",
        ).unwrapped
        envs.reset(seed=0, options={"scene_id": np.array([options.scene])})
        random = np.random.default_rng(options.seed)
        for action in random.permutation(envs.single_action_space.n)[: envs.num_glimpses]:
            envs.step(np.array([action]))
        maps = {key: values[0] for key, values in envs.observer.reduced.items()}
        scene = np.repeat(np.repeat(envs.scenes.load(options.scene), 2, 0), 2, 1)
        picture = ink.blank(scene.shape[0] + CAPTION, scene.shape[1])
        words = describe_tokens(maps["tokens"], maps.get("depth"))
        ink.write(picture, f"{name}: {words}", 2, CAPTION // 2, size=13)
        picture[CAPTION:] = paint_tokens(scene, maps["tokens"], maps.get("depth"))
        pictures.append(picture)
        envs.close()
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    rows = [np.concatenate([pictures[i], gap, pictures[i + 1]], 1) for i in (0, 2)]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(options.output, optimize=True)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()

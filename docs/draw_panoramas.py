#!/usr/bin/env python3
"""Draws episodes in the panoramas of real places: paths, maps of entropy, reconstructions.

Usage: python docs/draw_panoramas.py [--agent ame] [--places city lobby forest] [--output FILE]

Every episode begins with a glimpse across the seam, where the right edge of a panorama meets the
left one; the agent goes on from there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gymnasium as gym
import numpy as np
from PIL import Image

import ave_env  # noqa: F401 (registers the ids)
from agents import make_agent

OUTPUT = Path(__file__).parent / "images" / "panoramas.png"
GAP = 8  # pixels between two episodes


def main() -> None:
    """Parses the command line and draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agent", default="ame", help="who explores (default: %(default)s)")
    parser.add_argument("--places", nargs="+", default=["city", "lobby", "forest"])
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    envs = gym.make_vec(
        "AVE-Panoramas-v0",
        num_envs=len(options.places),
        split="test",
        wrap_azimuth=True,
        observe=("latent", "entropy", "reconstruction"),
        render_mode="rgb_array",
        device="cpu",
    )
    scenes = envs.unwrapped.scenes
    known = [Path(scenes.locate(index)).stem for index in range(len(scenes))]
    if unknown := set(options.places) - set(known):
        parser.error(f"no places {', '.join(sorted(unknown))}; expected some of {', '.join(known)}")
    rows, columns = envs.unwrapped.sensor.grid
    across_the_seam = (rows // 2 - 1) * columns + columns - 1
    agent = make_agent(options.agent, envs)
    scene_ids = np.array([known.index(place) for place in options.places])
    starts = np.full(len(scene_ids), across_the_seam)
    observation, _ = envs.reset(seed=0, options={"scene_id": scene_ids, "start": starts})
    for _ in range(envs.unwrapped.num_glimpses - 1):
        actions, _ = agent.predict(observation, deterministic=True)
        observation = envs.step(actions)[0]
    frames = list(envs.render())
    gap = np.full((GAP, frames[0].shape[1], 3), 255, np.uint8)
    parts = [part for frame in frames for part in (gap, frame)][1:]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(parts)).save(options.output, optimize=True)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Draws where an encoder's class token looks in its last block, head by head.

Usage: python docs/draw_attention.py [--encoder NAME_OR_FOLDER] [--env ID] [--data-root DATA]
           [--scenes 0 6 11] [--images PHOTO ...] [--image-size 128 256] [--mass 0.6]
           [--output FILE]

The encoder is a name, a run folder or a file of weights; the scenes are those of an environment or,
with --images, pictures of one's own, which are scaled to the encoder's size.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from agents.reports.attention import draw_attention
from ave_env.registration import configure
from encoders import create_encoder
from encoders.analysis.attention_maps import MASS, attention_maps

OUTPUT = Path(__file__).parent / "images" / "attention.png"


def main() -> None:
    """Parses the command line and draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="tore-nano", help="(default: %(default)s)")
    parser.add_argument("--env", default="AVE-Panoramas-v0", help="(default: %(default)s)")
    parser.add_argument("--data-root", type=Path, help="folder or HDF5 file of the scenes")
    parser.add_argument("--split", default="test", help="(default: %(default)s)")
    parser.add_argument("--scenes", nargs="+", type=int, default=[0, 1, 2], help="their numbers")
    parser.add_argument("--images", nargs="+", type=Path, help="pictures instead of scenes")
    parser.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        help="height and width in pixels; position tables are scaled (default: the encoder's own)",
    )
    parser.add_argument("--mass", type=float, default=MASS, help="share to outline")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    try:
        encoder = create_encoder(options.encoder, device="cpu")
        if options.image_size is not None:
            encoder = encoder.resized(tuple(options.image_size))
        size = encoder.config.image_size
        images, names = photos(options.images, size) if options.images else scenes(options, size)
        maps = attention_maps(encoder, torch.from_numpy(images))
        options.output.parent.mkdir(parents=True, exist_ok=True)
        title = f"Attention of the class token, last block of {encoder.config.name}"
        draw_attention(images, maps, options.output, title=title, names=names, mass=options.mass)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"wrote {options.output}")


def photos(paths: list[Path], size: tuple[int, int]) -> tuple[np.ndarray, list[str]]:
    """Pictures, the largest middle of the encoder's proportions scaled to its size."""
    height, width = size
    pictures = []
    for path in paths:
        with Image.open(path) as file:
            picture = file.convert("RGB")
        share = min(picture.width / width, picture.height / height)
        across, down = width * share, height * share
        left, top = (picture.width - across) / 2, (picture.height - down) / 2
        box = (left, top, left + across, top + down)
        pictures.append(np.asarray(picture.resize((width, height), box=box, reducing_gap=3.0)))
    return np.stack(pictures), [path.stem for path in paths]


def scenes(options: argparse.Namespace, size: tuple[int, int]) -> tuple[np.ndarray, list[str]]:
    """Scenes of an environment, at the encoder's size."""
    opened = configure(
        options.env, split=options.split, data_root=options.data_root, image_size=size
    ).open_scenes()
    if wrong := [each for each in options.scenes if not 0 <= each < len(opened)]:
        raise ValueError(f"no scene {wrong[0]}; {options.env} has 0 to {len(opened) - 1}")
    names = [opened.display_names[opened.labels[each]] for each in options.scenes]
    return np.stack([opened.load(each) for each in options.scenes]), names


if __name__ == "__main__":
    main()

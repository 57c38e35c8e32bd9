"""Sizes that an environment takes from the encoder that was chosen for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from agents.commands.options import DEFAULT_ENV, EnvironmentOptions
from agents.learning.record import AGENT_FILE, read_agent
from ave_env.registration import configure
from encoders.registry import TIMM_PREFIX

Options = TypeVar("Options", bound=EnvironmentOptions)


def with_encoder_sizes(options: Options) -> Options:
    """Fills in the patch and image size that options leave open, from their encoder, and says so.

    Every encoder has a patch size that cannot be changed. The image size is that of an encoder in a
    folder, which was trained at it; others are resampled to the environment's.

    Args:
        options: Of an environment.

    Raises:
        ValueError: A patch size that is not the encoder's, or a folder that holds a trained agent
            and no encoder.
    """
    if options.encoder is None:
        return options
    sizes = _sizes(options.encoder)
    if sizes is None:  # whoever opens it says what is wrong
        return options
    patch_size, image_size = sizes
    if options.patch_size not in (None, patch_size):
        raise ValueError(
            f"--patch-size {options.patch_size}: the encoder {options.encoder} has patches of "
            f"{patch_size} pixels; leave --patch-size out, or choose another encoder"
        )
    own = configure(options.env or DEFAULT_ENV)
    taken = []
    if options.patch_size is None and patch_size != own.patch_size:
        options = dataclasses.replace(options, patch_size=patch_size)
        taken.append(f"patches of {patch_size} pixels")
    if image_size is not None:
        if options.image_size is None and image_size != own.image_size:
            options = dataclasses.replace(options, image_size=image_size)
            taken.append(f"images of {_by(image_size)} pixels")
        elif options.image_size not in (None, image_size):
            print(
                f"encoder {options.encoder}: trained on images of {_by(image_size)} pixels; its "
                f"position tables are resampled to {_by(options.image_size or own.image_size)}"
            )
    if taken:
        print(f"{' and '.join(taken)}, as the encoder {options.encoder} has them")
    return options


def _sizes(encoder: str) -> tuple[int, tuple[int, int] | None] | None:
    """Patch size, and image size where it counts; None for what cannot be opened."""
    from encoders.checkpoints.weight_files import read_json
    from encoders.create import create_encoder
    from encoders.storage import CONFIG_FILE, find_encoder_folder

    if encoder.startswith(TIMM_PREFIX):
        patch_size = _timm_patch_size(encoder)
        return None if patch_size is None else (patch_size, None)
    path = Path(encoder)
    folder = find_encoder_folder(path) if path.exists() else None
    if folder is None and (path / AGENT_FILE).is_file():
        trained_with = read_agent(path)["environment"].get("encoder")
        raise ValueError(
            f"--encoder {encoder}: holds a trained agent and no encoder; it was trained with the "
            f"encoder {trained_with}"
        )
    if folder is not None:
        values = read_json(folder / CONFIG_FILE)
        if {"patch_size", "image_size"} <= values.keys():
            height, width = values["image_size"]
            return values["patch_size"], (height, width)
    try:
        config = create_encoder(encoder, device="cpu").config
    except (ValueError, TypeError):
        return None
    return config.patch_size, config.image_size if folder is not None else None


def _timm_patch_size(encoder: str) -> int | None:
    import timm
    import torch

    try:
        with torch.device("meta"):  # no weights: only what the model is made of
            vit: Any = timm.create_model(encoder.removeprefix(TIMM_PREFIX), pretrained=False)
        return int(vit.patch_embed.patch_size[0])
    except (RuntimeError, AttributeError, TypeError):  # unknown, or no Vision Transformer
        return None


def _by(image_size: tuple[int, int]) -> str:
    return "x".join(map(str, image_size))

"""What was compared, so that it can be told from other comparisons and repeated."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

from ave_env.configuration import Configuration
from ave_env.parts import Parts
from encoders.protocol import Encoder
from encoders.storage import weights_hash
from encoders.support.precision import resolve_precision


def _encoder_of(parts: Parts) -> Encoder:
    assert parts.encoder is not None  # `_open_parts`
    return parts.encoder


def has_trained_head(parts: Parts) -> bool:
    """Whether the class head was trained for the classes of the scenes."""
    return _encoder_of(parts).config.class_names == tuple(parts.scenes.class_names)


def describe_comparison(
    env_id: str, base: Configuration, parts: Parts, num_scenes: int, rows: int
) -> dict[str, Any]:
    """What was run, of plain JSON types."""
    scenes, encoder = parts.scenes, _encoder_of(parts)
    options = encoder.resolve_options(base.family_options)
    record = {
        "environment": {"id": env_id, "kwargs": _keywords(base, parts)},
        "scenes": {
            "name": scenes.name,
            "split": scenes.split,
            "seamless": bool(scenes.seamless),
            "num_scenes": num_scenes,
            "num_scenes_of_split": len(scenes),
            "class_names": list(scenes.class_names),
            "display_names": list(scenes.display_names),
        },
        "encoder": {
            "name": encoder.config.name,
            "description": encoder.describe(options),
            "options": options,
            "weights": encoder.config.weights,
            "weights_hash": weights_hash(encoder),
            "trained_head": has_trained_head(parts),
            "device": str(encoder.device),
            "precision": str(resolve_precision(base.precision, encoder.device)).split(".")[-1],
        },
        "num_envs": rows,
    }
    if "split_block" in options:
        record["split_block"] = options["split_block"]
    plain: dict[str, Any] = json.loads(json.dumps(record, default=str))
    return plain


def _keywords(base: Configuration, parts: Parts) -> dict[str, Any]:
    """The environment's keyword arguments, with names for what is no plain value."""
    names = [field.name for field in dataclasses.fields(base) if field.name != "observe"]
    keywords = {name: getattr(base, name) for name in names}
    keywords["scenes"] = parts.scenes.name  # what was explored, which a fallback may have decided
    if not isinstance(base.encoder, str | os.PathLike):
        keywords["encoder"] = _encoder_of(parts).config.name
    return keywords

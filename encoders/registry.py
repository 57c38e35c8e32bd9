"""The tables of encoders and of their families: names only, nothing is imported before it is used.

An *encoder* entry is a function without required arguments that returns an encoder; a *family*
entry is a function that builds one with random weights from the configuration in its
`config.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from encoders.support.registry import Registry
from encoders.support.validation import did_you_mean

TIMM_PREFIX = "timm/"

EncoderEntry = Callable[[], Any]
FamilyEntry = Callable[[Mapping[str, Any]], Any]

ENCODERS: Registry[EncoderEntry] = Registry(
    "encoder", "encoders.encoders", {"tore-nano": "encoders.pretrained:tore_nano"}
)
FAMILIES: Registry[FamilyEntry] = Registry(
    "encoder family", "encoders.families", {"tore": "encoders.families.tore.build:from_dict"}
)

register_encoder = ENCODERS.register
register_family = FAMILIES.register


def check_encoder_name(name: str) -> None:
    """Refuses a name of which `encoders.create_encoder` can make nothing; imports no encoder.

    Raises:
        ValueError: An unknown name, with those that are known.
    """
    if not (name.startswith(TIMM_PREFIX) or ENCODERS.knows(name) or Path(name).exists()):
        raise ValueError(
            f"no encoder {name!r}{did_you_mean(name, ENCODERS.names())}; expected one of "
            f"{', '.join(ENCODERS.names())}, {TIMM_PREFIX}NAME, an existing path, or "
            "package.module:name"
        )

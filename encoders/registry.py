"""The tables of encoders and of their families: names only, nothing is imported before it is used.

An *encoder* entry is a function without required arguments that returns an encoder; a *family*
entry is a function that builds one with random weights from the configuration in its
`config.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from encoders.support.registry import Registry

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

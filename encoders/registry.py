"""The tables of encoders and of their families: names only, nothing is imported before it is used.

An *encoder* entry is a function without required arguments that returns an encoder; a *family*
entry is a function that builds one with random weights from the configuration in its `config.json`;
a *training* entry is the class that says how a family is trained; a *format* entry the one that
reads weights as their authors publish them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.support.registry import Registry
from encoders.support.validation import did_you_mean

if TYPE_CHECKING:
    from encoders.checkpoints.formats import PublishedFormat
    from encoders.training.family import FamilyTraining

TIMM_PREFIX = "timm/"
REPOSITORY_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

EncoderEntry = Callable[[], Any]
FamilyEntry = Callable[[Mapping[str, Any]], Any]

ENCODERS: Registry[EncoderEntry] = Registry(
    "encoder",
    "encoders.encoders",
    {
        "tore-nano": "encoders.pretrained:tore_nano",
        "convmixer": "encoders.families.canvas.build:convmixer",
        "sparseformer": "encoders.families.sparseformer.build:sparseformer",
        "sparseformer-btsp": "encoders.families.sparseformer.build:sparseformer_btsp",
        "alternet": "encoders.families.canvas.build:alternet",
        "riformer": "encoders.families.canvas.build:riformer",
    },
)
FAMILIES: Registry[FamilyEntry] = Registry(
    "encoder family",
    "encoders.families",
    {
        "tore": "encoders.families.tore.build:from_dict",
        "convmixer": "encoders.families.canvas.build:convmixer_from_dict",
        "sparseformer": "encoders.families.sparseformer.build:from_dict",
        "alternet": "encoders.families.canvas.build:alternet_from_dict",
        "riformer": "encoders.families.canvas.build:riformer_from_dict",
    },
)

TRAININGS: Registry[type[FamilyTraining]] = Registry(
    "trainable encoder family",
    "encoders.trainings",
    {
        "tore": "encoders.families.tore.training:ToreTraining",
        "convmixer": "encoders.families.canvas.training:ConvMixerTraining",
        "alternet": "encoders.families.canvas.training:AlterNetTraining",
        "riformer": "encoders.families.canvas.imitation:RIFormerTraining",
        "sparseformer": "encoders.families.sparseformer.training:SparseFormerTraining",
    },
)

FORMATS: Registry[type[PublishedFormat]] = Registry(
    "format of published weights",
    "encoders.formats",
    {
        "sparseformer": "encoders.families.sparseformer.published:SparseFormerFormat",
        "convmixer": "encoders.families.canvas.published:ConvMixerFormat",
        "riformer": "encoders.families.canvas.published:RIFormerFormat",
    },
)

register_encoder = ENCODERS.register
register_family = FAMILIES.register
register_training = TRAININGS.register
register_format = FORMATS.register


def training_of(family: str) -> type[FamilyTraining]:
    """How encoders of a family are trained.

    Raises:
        ValueError: They are not, with those that are.
    """
    if family not in TRAININGS:
        raise ValueError(
            f"encoders of the family {family!r} are not trained here; expected one of "
            f"{', '.join(TRAININGS.names())}, or a family with a FamilyTraining of its own "
            "(encoders.registry.register_training)"
        )
    return TRAININGS.resolve(family)


def is_repository(name: str) -> bool:
    """Whether a name may be that of a repository on the Hugging Face hub: `user/name`.

    What is known here by that name, or is a path that exists, is not looked for on the hub.
    """
    known = name.startswith(TIMM_PREFIX) or ENCODERS.knows(name) or Path(name).exists()
    return not known and REPOSITORY_NAME.fullmatch(name) is not None


def check_encoder_name(name: str) -> None:
    """Refuses a name of which `encoders.create_encoder` can make nothing; imports no encoder.

    Raises:
        ValueError: An unknown name, with those that are known.
    """
    known = name.startswith(TIMM_PREFIX) or ENCODERS.knows(name) or Path(name).exists()
    if not (known or is_repository(name)):
        raise ValueError(
            f"no encoder {name!r}{did_you_mean(name, ENCODERS.names())}; expected one of "
            f"{', '.join(ENCODERS.names())}, {TIMM_PREFIX}NAME, an existing path, "
            "USER/NAME on the Hugging Face hub, or package.module:name"
        )

"""From a name to an encoder.

A shipped or registered encoder is an entry of `encoders.registry`; `timm/<name>` is any plain
Vision Transformer of timm; anything else is the path of weights that
`encoders.checkpoints.import_encoder` reads.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from pathlib import Path

import torch

from encoders.checkpoints.importing import import_encoder
from encoders.families.tore.model import GlimpseEncoder
from encoders.hub import download_folder
from encoders.registry import ENCODERS, TIMM_PREFIX, check_encoder_name, is_repository
from encoders.storage import find_encoder_folder
from encoders.support.devices import resolve_device

_WEIGHTS, _OLD_WEIGHTS = "model.safetensors", "pytorch_model.bin"


def list_encoders(filter: str = "*") -> list[str]:
    """Names that `create_encoder` knows, shipped ones first.

    Args:
        filter: Shell pattern, e.g. `"timm/deit*"`.
    """
    import timm  # here, as below, for it takes seconds to import

    from encoders.families.timm_models import TIMM_MODULES

    names = ENCODERS.names()
    for module in TIMM_MODULES:
        names += [TIMM_PREFIX + name for name in timm.list_models(module=module)]
    return fnmatch.filter(names, filter)


def create_encoder(
    name: str | Path,
    *,
    image_size: tuple[int, int] | None = None,
    class_names: tuple[str, ...] | None = None,
    pretrained: bool | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> GlimpseEncoder:
    """Creates an encoder in evaluation mode.

    Args:
        name: A shipped encoder (`tore-nano`), `timm/<name>`, the path of a folder or file of
            weights, or a repository of the Hugging Face hub (`user/name`) where there is no such
            path; where a file leaves something open, convert it first
            (`python -m encoders.checkpoints convert`).
        image_size: Height and width of the scenes; position tables are resampled. None keeps the
            encoder's own.
        class_names: Classes the head must have. A head trained for others is replaced by a new one
            (`encoder.config.class_names` is then None). None keeps the head.
        pretrained: For `timm/` names: True insists on published weights, False starts from random
            ones, None takes published weights when they can be reached and warns otherwise.
        seed: Of random initial weights.
        device: auto (a GPU where there is one, else the CPU), cpu, cuda, cuda:N or mps.

    Raises:
        ValueError: An unknown name, with the nearest known ones; a device that does not exist.
        CheckpointError: A path or repository whose weights do not make up an encoder.
        RuntimeError: `pretrained=True` and the weights are not available.
    """
    name, place = str(name), resolve_device(device)
    if name.startswith(TIMM_PREFIX):
        from encoders.families.timm import from_timm

        encoder = from_timm(name, image_size, pretrained, seed)
    elif name not in ENCODERS and Path(name).exists():
        encoder = import_encoder(name, image_size=image_size)
    elif is_repository(name):
        encoder = _from_hub(name, image_size)
    else:
        check_encoder_name(name)
        encoder = ENCODERS.resolve(name)()
    if image_size is not None:
        encoder = encoder.resized(image_size)
    if class_names is not None and tuple(class_names) != encoder.config.class_names:
        encoder = encoder.with_head(tuple(class_names), seed)
    return encoder.to(place)


def _from_hub(repository: str, image_size: tuple[int, int] | None) -> GlimpseEncoder:
    """Opens what a repository holds: an encoder of this package, or weights of others.

    Raises:
        ValueError: There is no such repository, or it is out of reach.
    """
    # The older format only where there is no other, for it would be the same weights again.
    folder = download_folder(repository, ["*config.json", _WEIGHTS])
    if not (folder / _WEIGHTS).is_file():
        folder = download_folder(repository, ["*config.json", _OLD_WEIGHTS])
    encoder = import_encoder(folder, image_size=image_size)
    if not find_encoder_folder(folder):  # whose files have no name of their own
        encoder.config = dataclasses.replace(encoder.config, name=repository)
    return encoder

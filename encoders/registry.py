"""Encoders by name.

A shipped encoder is an entry function; `timm/<name>` is any plain Vision Transformer of timm;
anything else is the path of weights that `encoders.checkpoints.import_encoder` reads.
"""

from __future__ import annotations

import contextlib
import fnmatch
import socket
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import huggingface_hub
import timm
import torch
from timm.data import ImageNetInfo
from timm.models import PretrainedCfg

from encoders import checkpoints
from encoders.config import EncoderConfig
from encoders.factory import replace_head, resize_grid
from encoders.model import GlimpseEncoder
from encoders.vit import PatchVit

TIMM_PREFIX = "timm/"
_PRETRAINED = Path(__file__).parent / "pretrained"
_TIMM_MODULES = ("vision_transformer", "deit")

EntryPoint = Callable[[], GlimpseEncoder]
_ENTRIES: dict[str, EntryPoint] = {}


def register_encoder(entry: EntryPoint) -> EntryPoint:
    """Decorator: makes a function that returns an encoder available by its name."""
    _ENTRIES[entry.__name__.replace("_", "-")] = entry
    return entry


@register_encoder
def tore_nano() -> GlimpseEncoder:
    """1.4 M parameters for 128x256 panoramas: width 128, 6 blocks, decoder 64 x 1.

    Trained on the synthetic panoramas; see `encoders/pretrained/tore-nano/README.md`.
    """
    return checkpoints.load_encoder(_PRETRAINED / "tore-nano")


def list_encoders(filter: str = "*") -> list[str]:
    """Names that `create_encoder` knows, shipped ones first.

    Args:
        filter: Shell pattern, e.g. `"timm/deit*"`.
    """
    names = sorted(_ENTRIES)
    for module in _TIMM_MODULES:
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
        name: A shipped encoder (`tore-nano`), `timm/<name>`, or the path of a folder or file of
            weights; where a file leaves something open, convert it first
            (`python -m encoders.checkpoints convert`).
        image_size: Height and width of the scenes; position tables are resampled. None keeps the
            encoder's own.
        class_names: Classes the head must have. A head trained for others is replaced by a new one
            (`encoder.config.class_names` is then None). None keeps the head.
        pretrained: For `timm/` names: True insists on published weights, False starts from random
            ones, None takes published weights when they can be reached and warns otherwise.
        seed: Of random initial weights.
        device: "auto" takes a GPU when there is one.

    Raises:
        ValueError: An unknown name, with the nearest known ones.
        CheckpointError: A path whose weights do not make up an encoder.
        RuntimeError: `pretrained=True` and the weights cannot be had.
    """
    name = str(name)
    if name.startswith(TIMM_PREFIX):
        encoder = _from_timm(name, image_size, pretrained, seed)
    elif name in _ENTRIES:
        encoder = _ENTRIES[name]()
    elif Path(name).exists():
        encoder = checkpoints.import_encoder(name, image_size=image_size)
    else:
        raise ValueError(
            f"no encoder {name!r}: expected one of {sorted(_ENTRIES)}, "
            f"'{TIMM_PREFIX}<timm model>' or an existing path"
        )
    if image_size is not None:
        encoder = resize_grid(encoder, image_size)
    if class_names is not None and tuple(class_names) != encoder.config.class_names:
        encoder = replace_head(encoder, tuple(class_names), seed)
    return encoder.to(resolve_device(device))


def resolve_device(device: str | torch.device) -> torch.device:
    """Turns "auto" into a GPU when there is one and the CPU otherwise."""
    if str(device) != "auto":
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextlib.contextmanager
def _offline_unless_reachable() -> Iterator[None]:
    """Spares the minute of retries where the hub cannot be reached; cached files still load."""
    constants = huggingface_hub.constants
    host = urllib.parse.urlsplit(constants.ENDPOINT).hostname
    before = constants.HF_HUB_OFFLINE
    if not urllib.request.getproxies():
        try:
            socket.create_connection((host, 443), timeout=3).close()
        except OSError:
            constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _from_timm(
    name: str, image_size: tuple[int, int] | None, pretrained: bool | None, seed: int
) -> GlimpseEncoder:
    model_name = name.removeprefix(TIMM_PREFIX)
    published = _published_config(model_name)
    weights: Literal["random", "pretrained"] = "random"
    vit: Any = None  # torch types the attributes of modules as tensors or modules
    if pretrained is not False and published.has_weights:
        try:
            with _offline_unless_reachable():
                vit = timm.create_model(model_name, pretrained=True, img_size=image_size)
            weights = "pretrained"
        except Exception as error:  # whatever a hub client raises
            if pretrained:
                raise RuntimeError(f"the weights of {name!r} cannot be had: {error}") from error
            warnings.warn(
                f"THE WEIGHTS OF {name!r} CANNOT BE DOWNLOADED ({type(error).__name__}); "
                "continuing with RANDOM weights: FLOPs are right, predictions mean nothing",
                stacklevel=3,
            )
    elif pretrained:
        raise RuntimeError(f"timm publishes no weights for {model_name!r}")
    if vit is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            vit = timm.create_model(
                model_name,
                pretrained=False,
                img_size=image_size,
                num_classes=published.num_classes,
            )
    backbone = PatchVit(vit)
    num_classes: int = vit.num_classes
    height, width = (side * backbone.patch_size for side in backbone.grid)
    names = None
    if weights == "pretrained" and num_classes == 1000:
        names = tuple(ImageNetInfo().label_names())
    config = EncoderConfig(
        name=name,
        vit={},
        image_size=(height, width),
        patch_size=backbone.patch_size,
        num_classes=num_classes,
        timm_model=model_name.split(".")[0],
        class_names=names,
        mean=_triple(published.mean),
        std=_triple(published.std),
        weights=weights,
    )
    return GlimpseEncoder(config, backbone).eval()


def _triple(channels: Iterable[float]) -> tuple[float, float, float]:
    red, green, blue = channels
    return red, green, blue


def _published_config(model_name: str) -> PretrainedCfg:
    """What timm knows of a model's weights.

    Raises:
        ValueError: timm has no such model or weights, or it is no plain Vision Transformer.
    """
    architecture = model_name.split(".")[0]
    if not timm.is_model(architecture):
        close = timm.list_models(f"*{architecture.split('_')[0]}*")[:5]
        raise ValueError(f"timm has no model {architecture!r}; some that it has: {close}")
    if not timm.models.is_model_in_modules(architecture, _TIMM_MODULES):
        raise ValueError(
            f"{architecture!r} is not a plain timm VisionTransformer; choose one of "
            "encoders.list_encoders('timm/*')"
        )
    try:
        published = timm.get_pretrained_cfg(model_name)
    except RuntimeError as error:
        known = timm.list_pretrained(f"{architecture}.*")
        raise ValueError(f"timm has no weights {model_name!r}; it has {known}") from error
    return published or PretrainedCfg()

"""Any plain Vision Transformer of timm as an encoder, by the name timm knows it under."""

from __future__ import annotations

import socket
import urllib.parse
import urllib.request
from typing import Any, Literal

import huggingface_hub
import timm
import torch
from timm.data import ImageNetInfo
from timm.models import PretrainedCfg

from encoders.config import EncoderConfig
from encoders.families.timm_models import channels, published_config
from encoders.families.tore.model import GlimpseEncoder
from encoders.families.tore.surgery import PatchVit
from encoders.registry import TIMM_PREFIX
from encoders.support.notices import warn

_HUB_FILES = ["model.safetensors", "pytorch_model.bin"]


def from_timm(
    name: str, image_size: tuple[int, int] | None, pretrained: bool | None, seed: int
) -> GlimpseEncoder:
    """Creates the encoder of a `timm/<name>`; see `encoders.create.create_encoder`.

    Published weights keep the image size that they were trained at, so that the encoder is still
    to be resized; random ones are drawn for the size asked for.

    Raises:
        ValueError: timm has no such model or weights, or it is not a plain Vision Transformer.
        RuntimeError: `pretrained=True` and the weights are not available.
    """
    model_name = name.removeprefix(TIMM_PREFIX)
    published = published_config(model_name)
    weights: Literal["random", "pretrained"] = "random"
    vit: Any = None  # torch types the attributes of modules as tensors or modules
    if pretrained is not False and published.has_weights:
        try:
            vit = timm.create_model(
                model_name,
                pretrained=True,
                pretrained_cfg_overlay=_cached_source(published),
            )
            weights = "pretrained"
        except Exception as error:  # whatever a hub client raises
            if pretrained:
                raise RuntimeError(f"the weights of {name!r} are not available: {error}") from error
            warn(
                f"THE WEIGHTS OF {name!r} CANNOT BE DOWNLOADED ({type(error).__name__}); "
                "continuing with RANDOM weights: FLOPs are right, predictions mean nothing"
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
        mean=channels(published.mean),
        std=channels(published.std),
        weights=weights,
        interpolation=published.interpolation,
    )
    return GlimpseEncoder(config, backbone).eval()


def _cached_source(published: PretrainedCfg) -> dict[str, str]:
    """Names the cached file where the hub does not answer, which spares a minute of retries.

    Raises:
        FileNotFoundError: The hub does not answer and its cache does not hold the weights.
    """
    constants = huggingface_hub.constants
    if not published.hf_hub_id or constants.HF_HUB_OFFLINE or _hub_answers(constants.ENDPOINT):
        return {}
    names = [published.hf_hub_filename] if published.hf_hub_filename else _HUB_FILES
    for name in names:
        path = huggingface_hub.try_to_load_from_cache(published.hf_hub_id, name)
        if isinstance(path, str):
            return {"file": path}
    raise FileNotFoundError(f"{constants.ENDPOINT} does not answer, and the cache has no {names}")


def _hub_answers(endpoint: str) -> bool:
    if urllib.request.getproxies():
        return True  # the proxy knows
    try:
        socket.create_connection((urllib.parse.urlsplit(endpoint).hostname, 443), 3).close()
    except OSError:
        return False
    return True

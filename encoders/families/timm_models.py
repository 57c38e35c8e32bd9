"""What timm knows of a Vision Transformer by its name, without its weights."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any

import timm
import torch
from timm.models import PretrainedCfg
from torch import nn

TIMM_MODULES = ("vision_transformer", "deit")

_ACTIVATIONS = {
    "GELU": "gelu",
    "QuickGELU": "quick_gelu",
    "GELUTanh": "gelu_tanh",
    "ReLU": "relu",
    "SiLU": "silu",
}


@dataclasses.dataclass(frozen=True)
class TimmModel:
    """A Vision Transformer of timm, as far as no tensor tells.

    Attributes:
        name: timm's name, with the tag of the weights where they have one.
        architecture: The name without the tag.
        num_heads: Attention heads of a block.
        activation: Of the MLPs, one of `encoders.support.choices.ACTIVATIONS`; None for another.
        norm_eps: Epsilon of the layer norms.
        no_embed_class: Whether the patches alone have rows in the position table.
        image_size: Height and width in pixels of the images that its weights were trained on.
        mean: Channel means of the normalisation.
        std: Channel standard deviations.
        interpolation: How those images were scaled.
        num_classes: Outputs of the published class head.
    """

    name: str
    architecture: str
    num_heads: int
    activation: str | None
    norm_eps: float
    no_embed_class: bool
    image_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    num_classes: int


def describe_timm_model(name: str) -> TimmModel:
    """Looks a model up by timm's name, with or without the tag of its weights.

    Raises:
        ValueError: timm has no such model or weights, or it is not a plain Vision Transformer.
    """
    published = published_config(name)
    architecture = name.split(".")[0]
    with torch.device("meta"):  # no memory, no random numbers
        vit: Any = timm.create_model(architecture, pretrained=False)
    _, height, width = published.input_size
    norm = next(layer for layer in vit.modules() if isinstance(layer, nn.LayerNorm))
    block = vit.blocks[0]
    return TimmModel(
        name=f"{architecture}.{published.tag}" if published.tag else architecture,
        architecture=architecture,
        num_heads=block.attn.num_heads,
        activation=_ACTIVATIONS.get(type(block.mlp.act).__name__),
        norm_eps=norm.eps,
        no_embed_class=vit.no_embed_class,
        image_size=(height, width),
        mean=channels(published.mean),
        std=channels(published.std),
        interpolation=published.interpolation,
        num_classes=published.num_classes,
    )


def is_plain_vit(name: object) -> bool:
    """Whether a value is timm's name of a Vision Transformer that is understood here."""
    if not isinstance(name, str):
        return False
    architecture = name.split(".")[0]
    return timm.is_model(architecture) and timm.models.is_model_in_modules(
        architecture, TIMM_MODULES
    )


def published_config(model_name: str) -> PretrainedCfg:
    """What timm knows of a model's weights.

    Raises:
        ValueError: timm has no such model or weights, or it is not a plain Vision Transformer.
    """
    architecture = model_name.split(".")[0]
    if not is_plain_vit(architecture):
        supported = [name for module in TIMM_MODULES for name in timm.list_models(module=module)]
        close = difflib.get_close_matches(architecture, supported, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
        problem = f"timm has no model {architecture!r}"
        if timm.is_model(architecture):
            problem = f"{architecture!r} is not a plain timm VisionTransformer"
        raise ValueError(
            f"{problem}; {hint}encoders.list_encoders('timm/*') lists the models that work"
        )
    try:
        published = timm.get_pretrained_cfg(model_name)
    except RuntimeError as error:
        tags = timm.list_pretrained(f"{architecture}.*")
        raise ValueError(f"timm has no weights {model_name!r}; it has {tags}") from error
    return published or PretrainedCfg()


def channels(values: Iterable[float]) -> tuple[float, float, float]:
    """The numbers of red, green and blue."""
    red, green, blue = values
    return red, green, blue

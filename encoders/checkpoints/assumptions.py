"""What a file of weights leaves open: taken from the model it names, or assumed, and noted.

The order is: what the caller gives; what the file says; what timm knows of the model that is named;
what the publication is known for whose files look like this. The rest is assumed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from encoders.checkpoints.published import HUGGING_FACE_MAE, PublishedWeights
from encoders.checkpoints.unwrapping import AME_OR_TORE, DINO, DISTILLED_DEIT, MAE, MOCO
from encoders.config import EncoderConfig
from encoders.stored_config import IMAGENET_MEAN, IMAGENET_STD

# Epsilon of the layer norms of publications; all normalise colours by ImageNet's statistics and
# have plain GELUs.
_PUBLISHED_EPS: Mapping[str, float] = {
    MOCO: 1e-6,
    DINO: 1e-6,
    MAE: 1e-6,
    AME_OR_TORE: 1e-6,
    DISTILLED_DEIT: 1e-6,
    HUGGING_FACE_MAE: 1e-12,
}

# Attention heads of the models published at these widths.
_HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16}
_MOCO_HEADS = {**_HEADS, 384: 12}
_DECODER_HEADS = {128: 4, 256: 8, 512: 16}

# What settings are called in messages, and the options of `encoders.checkpoints` that give them.
_WORDS = {
    "num_heads": "{num_heads} attention heads",
    "decoder_num_heads": "{decoder_num_heads} attention heads of the decoder",
    "mean": "mean {mean}",
    "std": "std {std}",
    "activation": "activation {activation}",
    "norm_eps": "norm epsilon {norm_eps}",
    "patch_normalised_pixels": "decoded pixels are plain colours (no norm_pix_loss)",
    "trained_image_size": "trained on square images",
    "class_names": "ImageNet's class names",
}


def complete(weights: PublishedWeights) -> PublishedWeights:
    """Fills in what neither the caller nor the file said, as far as it can be known or assumed.

    Attention heads stay None where no model of that width is known.

    Raises:
        ValueError: The model that is named is not one of timm's.
    """
    weights = _with_timm_model(weights)
    published = weights.kind in _PUBLISHED_EPS
    heads = _MOCO_HEADS if weights.kind == MOCO else _HEADS
    usual: dict[str, Any] = {
        "num_heads": heads.get(weights.width),
        "decoder_num_heads": _DECODER_HEADS.get(weights.decoder_width),
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "activation": "gelu",
        "norm_eps": _PUBLISHED_EPS.get(weights.kind, 1e-6),
        "patch_normalised_pixels": False,
    }
    missing = {
        name: value
        for name, value in usual.items()
        if getattr(weights, name) is None and value is not None
    }
    assumed = set(missing)
    head = weights.tensors.get("head.weight")
    if head is not None and len(head) == 1000 and not (weights.timm_model or weights.named):
        assumed |= {"class_names"}
    if published:  # the files of one publication differ in what their decoders paint
        assumed &= {"patch_normalised_pixels"}
    if not weights.decoder_width:
        assumed -= {"decoder_num_heads", "patch_normalised_pixels"}
    return dataclasses.replace(weights, **missing, assumed=frozenset(assumed))


def _with_timm_model(weights: PublishedWeights) -> PublishedWeights:
    """Adds what timm knows of the model that the caller or the file names."""
    named = weights.timm_model or weights.named
    if named is None:
        return weights
    from encoders.families.timm_models import describe_timm_model  # brings timm

    model = describe_timm_model(named)
    if weights.timm_model is not None:
        given = {
            option: value
            for option, value, own in (
                ("act_layer", weights.activation, model.activation),
                ("num_heads", weights.num_heads, model.num_heads),
            )
            if value not in (None, own)
        }
        weights = dataclasses.replace(
            weights,
            timm_model=model.architecture,
            timm_arguments={**weights.timm_arguments, **given},
        )
    known: dict[str, Any] = {
        "num_heads": model.num_heads,
        "mean": model.mean,
        "std": model.std,
        "activation": model.activation,
        "norm_eps": model.norm_eps,
        "interpolation": model.interpolation,
        "usual_image_size": model.image_size,
        "no_embed_class": model.no_embed_class,
    }
    missing = {name: value for name, value in known.items() if getattr(weights, name) is None}
    return dataclasses.replace(weights, **missing)


def list_assumptions(config: EncoderConfig) -> list[str]:
    """What was assumed of an encoder, with the values, e.g. "activation gelu"."""
    values = {
        "mean": _numbers(config.mean),
        "std": _numbers(config.std),
        "activation": config.vit.get("act_layer", "gelu"),
        "norm_eps": f"{config.norm_eps or 1e-6:g}",
        "num_heads": config.vit.get("num_heads"),
        "decoder_num_heads": config.decoder.num_heads if config.decoder else None,
    }
    return [_WORDS[name].format(**values) for name in _WORDS if name in config.assumed]


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)

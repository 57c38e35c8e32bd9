"""The names of Hugging Face's ViTMAE, turned into those of the official MAE."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from encoders.checkpoints.weight_files import CheckpointError

_EMBEDDING = "embeddings.patch_embeddings.projection.weight"

_NAMES = (
    (r"^decoder\.decoder_(layers|encoder\.layer)\.", "decoder_blocks."),
    (r"^decoder\.", ""),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^layernorm\.", "norm."),
    (r"^(encoder\.layer|layers)\.", "blocks."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.(output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"\.attention\.(attention\.query|q_proj)\.", ".attn.q."),
    (r"\.attention\.(attention\.key|k_proj)\.", ".attn.k."),
    (r"\.attention\.(attention\.value|v_proj)\.", ".attn.v."),
)


def hugging_face_prefix(names: Iterable[str]) -> str | None:
    """What stands before the names of a ViTMAE; None where there is no such model."""
    found = (name.removesuffix(_EMBEDDING) for name in names if name.endswith(_EMBEDDING))
    return next(found, None)


def from_hugging_face(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Renames the tensors of every generation of transformers' ViTMAE.

    Query, key and value become one matrix.

    Raises:
        CheckpointError: One of the three is missing.
    """
    renamed = {}
    for name, tensor in tensors.items():
        name = name.removeprefix(prefix)
        for pattern, replacement in _NAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    for name in [name for name in renamed if ".attn.q." in name]:
        parts = [name.replace(".attn.q.", f".attn.{part}.") for part in "qkv"]
        if missing := [part for part in parts if part not in renamed]:
            raise CheckpointError(f"missing {', '.join(missing)} beside {name}")
        merged = torch.cat([renamed.pop(part) for part in parts])
        renamed[name.replace(".attn.q.", ".attn.qkv.")] = merged
    return renamed

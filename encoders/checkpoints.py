"""Weights in, weights out.

One format is written: a folder with `config.json` and `model.safetensors`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from encoders.config import DecoderConfig, EncoderConfig
from encoders.factory import build_encoder
from encoders.model import GlimpseEncoder

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


class CheckpointError(ValueError):
    """A file of weights that cannot be used; the message names the file and what is wrong."""


def save_encoder(encoder: GlimpseEncoder, folder: str | os.PathLike[str]) -> Path:
    """Writes an encoder; each file appears whole or not at all.

    Args:
        encoder: The encoder.
        folder: Where `config.json` and `model.safetensors` go; made if missing.

    Returns:
        The folder.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous().cpu() for name, tensor in encoder.state_dict().items()}
    with tempfile.TemporaryDirectory(dir=target, prefix=".writing-") as scratch:
        weights = Path(scratch, WEIGHTS_FILE)
        save_file(tensors, weights)
        config = Path(scratch, CONFIG_FILE)
        config.write_text(json.dumps(encoder.config.to_dict(), indent=2) + "\n", encoding="utf-8")
        os.replace(weights, target / WEIGHTS_FILE)
        os.replace(config, target / CONFIG_FILE)
    return target


def load_encoder(folder: str | os.PathLike[str]) -> GlimpseEncoder:
    """Reads what `save_encoder` wrote, on the CPU and in evaluation mode.

    Raises:
        CheckpointError: A file is missing or damaged, or its weights do not fit its configuration.
    """
    source = Path(folder)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (source / name).is_file():
            raise CheckpointError(
                f"{source}: no {name}; expected a folder with {CONFIG_FILE} and {WEIGHTS_FILE}"
            )
    try:
        config = EncoderConfig.from_dict(json.loads((source / CONFIG_FILE).read_text("utf-8")))
    except ValueError as error:
        raise CheckpointError(f"{source / CONFIG_FILE}: {error}") from error
    try:
        tensors = load_file(source / WEIGHTS_FILE)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{source / WEIGHTS_FILE}: {error}") from error
    encoder = build_encoder(config)
    load_strictly(encoder, tensors, str(source / WEIGHTS_FILE))
    return encoder


def weights_hash(encoder: GlimpseEncoder) -> str:
    """SHA-256 over names, shapes and values of all weights: what makes two encoders the same."""
    digest = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load_strictly(encoder: GlimpseEncoder, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copies weights into an encoder that must need all of them and nothing else.

    Raises:
        CheckpointError: Missing or unexpected names, other shapes, or values that are not finite.
    """
    expected = encoder.state_dict()
    problems = []
    if missing := sorted(set(expected) - set(tensors)):
        problems.append(f"missing {_listed(missing)}")
    if unexpected := sorted(set(tensors) - set(expected)):
        problems.append(f"unexpected {_listed(unexpected)}")
    for name in sorted(set(expected) & set(tensors)):
        given, wanted = tensors[name], expected[name]
        if given.shape != wanted.shape:
            problems.append(f"{name} has shape {tuple(given.shape)}, not {tuple(wanted.shape)}")
        elif not given.is_floating_point():
            problems.append(f"{name} has dtype {given.dtype}, not a floating-point one")
        elif not bool(torch.isfinite(given).all()):
            problems.append(f"{name} holds NaN or infinity")
    if problems:
        raise CheckpointError(f"{source}: {'; '.join(problems)}")
    encoder.load_state_dict(dict(tensors))


def build_from_state_dict(
    state_dict: Mapping[str, Tensor],
    *,
    image_size: tuple[int, int],
    num_heads: int,
    decoder_num_heads: int | None = None,
    patch_size: int | None = None,
) -> GlimpseEncoder:
    """Builds an encoder around bare tensors; depths, widths and decoder are read off them.

    Understood are the names of timm's VisionTransformer (DeiT, DeiT-III, DINO, ...), of the
    official MAE (`decoder_*`, `mask_token`), and the same below a `mae.`, `module.`, `backbone.` or
    `model.` prefix with a class head `head` or `head.0`.

    Args:
        state_dict: Names and tensors.
        image_size: Height and width of the scenes; position tables are resampled to its grid.
        num_heads: Attention heads of the encoder, which no tensor tells.
        decoder_num_heads: Heads of the decoder; needed when there is one.
        patch_size: Checked against the tensors when given.

    Returns:
        An encoder in evaluation mode, with the dtype of the tensors.

    Raises:
        CheckpointError: Tensors that do not make up such a model; the message names them.
    """
    tensors = _canonical_names(state_dict)
    config = _read_config(tensors, tuple(image_size), num_heads, decoder_num_heads, patch_size)
    encoder = build_encoder(config).to(tensors["patch_embed.proj.weight"].dtype)
    renamed = {_our_name(name): tensor for name, tensor in tensors.items()}
    for name in ("backbone.vit.pos_embed", "decoder.pos_embed"):
        if name in renamed:
            renamed[name] = _fit_positions(renamed[name], encoder.state_dict()[name], config.grid)
    load_strictly(encoder, renamed, "state_dict")
    return encoder


_PREFIXES = ("module.", "mae.", "backbone.", "model.", "encoder.")
_DECODER = re.compile(r"^decoder_(embed|pos_embed|blocks|norm|pred)\b")


def _canonical_names(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Timm's and MAE's own names, whatever wrapped them."""
    tensors = {}
    for name, tensor in state_dict.items():
        for prefix in _PREFIXES:
            name = name.removeprefix(prefix)
        name = re.sub(r"^head\.0\.", "head.", name)
        name = re.sub(r"\.gamma_([12])$", r".ls\1.gamma", name)
        tensors[name] = tensor
    return tensors


def _our_name(name: str) -> str:
    if name == "mask_token":
        return "decoder.mask_token"
    if _DECODER.match(name):
        return _DECODER.sub(r"decoder.\1", name)
    return f"backbone.vit.{name}"


def _read_config(
    tensors: Mapping[str, Tensor],
    image_size: tuple[int, int],
    num_heads: int,
    decoder_num_heads: int | None,
    patch_size: int | None,
) -> EncoderConfig:
    required = ("patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "blocks.0.mlp.fc1.weight")
    if missing := [name for name in required if name not in tensors]:
        raise CheckpointError(
            f"not a Vision Transformer: no {_listed(missing)} among {len(tensors)} tensors"
        )
    width, _, side, _ = tensors["patch_embed.proj.weight"].shape
    if patch_size is not None and patch_size != side:
        raise CheckpointError(f"the patch embedding has patches of {side} pixels, not {patch_size}")
    if width % num_heads:
        raise CheckpointError(f"width {width} cannot be divided into {num_heads} heads")
    vit: dict[str, Any] = {
        "embed_dim": width,
        "depth": _depth(tensors, "blocks"),
        "num_heads": num_heads,
        "mlp_ratio": tensors["blocks.0.mlp.fc1.weight"].shape[0] / width,
        "qkv_bias": "blocks.0.attn.qkv.bias" in tensors,
        "qk_norm": "blocks.0.attn.q_norm.weight" in tensors,
        "init_values": 1e-5 if "blocks.0.ls1.gamma" in tensors else None,
        "class_token": "cls_token" in tensors,
        "reg_tokens": tensors["reg_token"].shape[1] if "reg_token" in tensors else 0,
        "pre_norm": "norm_pre.weight" in tensors,
        "distilled": "dist_token" in tensors,
        "global_pool": "avg" if "fc_norm.weight" in tensors else "token",
        "pos_embed": "learn" if "pos_embed" in tensors else "none",
    }
    if "pos_embed" in tensors:
        vit["no_embed_class"] = not _has_prefix_rows(tensors, vit, image_size, side)
    return EncoderConfig(
        name="state-dict",
        vit=vit,
        image_size=image_size,
        patch_size=side,
        num_classes=tensors["head.weight"].shape[0] if "head.weight" in tensors else 0,
        decoder=_read_decoder(tensors, decoder_num_heads),
        weights="pretrained",
    )


def _read_decoder(
    tensors: Mapping[str, Tensor], decoder_num_heads: int | None
) -> DecoderConfig | None:
    if "decoder_embed.weight" not in tensors:
        return None
    if decoder_num_heads is None:
        raise CheckpointError("these weights have a decoder; decoder_num_heads is needed")
    width = tensors["decoder_embed.weight"].shape[0]
    return DecoderConfig(width, _depth(tensors, "decoder_blocks"), decoder_num_heads)


def _depth(tensors: Mapping[str, Tensor], stem: str) -> int:
    pattern = re.compile(rf"^{stem}\.(\d+)\.")
    return 1 + max(
        (int(match[1]) for name in tensors if (match := pattern.match(name))), default=-1
    )


def _has_prefix_rows(
    tensors: Mapping[str, Tensor], vit: Mapping[str, Any], image_size: tuple[int, int], side: int
) -> bool:
    """Whether the position table starts with rows for the prefix tokens."""
    rows = tensors["pos_embed"].shape[1]
    prefix = int(vit["class_token"]) + int(vit["distilled"]) + vit["reg_tokens"]
    grid = (image_size[0] // side) * (image_size[1] // side)
    if rows in (grid, grid + prefix):
        return rows == grid + prefix and prefix > 0
    # Another grid than ours: published tables are square.
    return round((rows - prefix) ** 0.5) ** 2 == rows - prefix


def _fit_positions(table: Tensor, wanted: Tensor, grid: tuple[int, int]) -> Tensor:
    if table.shape == wanted.shape or table.shape[2] != wanted.shape[2]:
        return table
    prefix = wanted.shape[1] - grid[0] * grid[1]
    side = round((table.shape[1] - prefix) ** 0.5)
    if side * side != table.shape[1] - prefix:
        raise CheckpointError(
            f"a position table of {table.shape[1]} rows does not fit a {grid} grid and is not square"
        )
    return resample_abs_pos_embed(table, list(grid), [side, side], num_prefix_tokens=prefix)


def _listed(names: list[str], limit: int = 6) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"

"""Weights in, weights out.

One format is written: a folder with `config.json` and `model.safetensors`. Read are that folder and
what others publish (see `import_encoder`). From a shell::

    python -m encoders.checkpoints inspect FILE
    python -m encoders.checkpoints convert IN OUT --image-size 128 256
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from timm.data import ImageNetInfo
from torch import Tensor

from encoders.assembly import assemble, check_tensors
from encoders.config import EncoderConfig
from encoders.factory import build_encoder, resize_grid
from encoders.model import GlimpseEncoder
from encoders.published import interpret, read_published
from encoders.weight_files import CheckpointError, read_json, read_weight_file

__all__ = [
    "CheckpointError",
    "build_from_state_dict",
    "find_encoder_folder",
    "import_encoder",
    "load_encoder",
    "load_strictly",
    "save_encoder",
    "weights_hash",
]

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


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
    values = read_json(source / CONFIG_FILE)
    try:
        encoder = build_encoder(EncoderConfig.from_dict(values))
    except ValueError as error:
        raise CheckpointError(f"{source / CONFIG_FILE}: {error}") from error
    tensors = read_weight_file(source / WEIGHTS_FILE)
    embedding = tensors.get("backbone.vit.patch_embed.proj.weight")
    if embedding is not None and embedding.is_floating_point():
        encoder.to(embedding.dtype)
    load_strictly(encoder, tensors, str(source / WEIGHTS_FILE))
    return encoder


def find_encoder_folder(path: str | os.PathLike[str]) -> Path | None:
    """The folder that `save_encoder` wrote, given it or its weights; None for anything else."""
    folder = Path(path).parent if Path(path).name == WEIGHTS_FILE else Path(path)
    config = folder / CONFIG_FILE
    if config.is_file() and "format_version" in read_json(config):
        return folder
    return None


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
    check_tensors(encoder.state_dict(), tensors, source)
    encoder.load_state_dict(dict(tensors))


def import_encoder(
    path: str | os.PathLike[str],
    *,
    image_size: tuple[int, int] | None = None,
    num_heads: int | None = None,
    decoder_num_heads: int | None = None,
    class_names: tuple[str, ...] | None = None,
    branch: str | None = None,
    timm_model: str | None = None,
) -> GlimpseEncoder:
    """Reads weights of any format known here, on the CPU and in evaluation mode.

    Known are the folders of `save_encoder`, folders of Hugging Face ViTMAE and of timm, and files
    (`.safetensors`, or anything `torch.save` writes) of timm, DeiT, DeiT-III, MAE, DINO, MoCo v3,
    AME and TORE. Half-precision weights become float32.

    Args:
        path: A file or folder.
        image_size: Height and width of the scenes; position tables are fitted to its grid. None =
            the size the weights were trained at.
        num_heads: Attention heads of the encoder. None = what the file says, else what the models
            published at this width have.
        decoder_num_heads: The same of the decoder.
        class_names: Classes of the head, in order. None = ImageNet's for a head with 1000 outputs,
            else unknown, so that the head counts as untrained.
        branch: Which of several models in one file, of `encoders.published.BRANCHES`.
        timm_model: timm's name of the architecture, for models that their tensors do not describe.

    Raises:
        CheckpointError: The file is damaged, unsafe or of no format known here, does not make up an
            encoder, or leaves something open that must be given.
    """
    if folder := find_encoder_folder(path):
        encoder = load_encoder(folder)
        return encoder if image_size is None else resize_grid(encoder, image_size)
    source = Path(path)
    weights = read_published(source, branch)
    given: dict[str, Any] = {
        "num_heads": num_heads,
        "decoder_num_heads": decoder_num_heads,
        "image_size": image_size,
        "timm_model": timm_model,
    }
    given = {name: value for name, value in given.items() if value is not None}
    weights = dataclasses.replace(weights, **given)
    try:
        encoder = assemble(weights, name=source.name.split(".")[0])
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    num_classes = encoder.config.num_classes
    if class_names is None and num_classes == 1000:
        class_names = tuple(ImageNetInfo().label_names())
    try:
        encoder.config = dataclasses.replace(encoder.config, class_names=class_names)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return encoder


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
    official MAE (`decoder_*`, `mask_token`), of transformers' ViTMAE, and all of them below a
    prefix such as `mae.`, `module.` or `backbone.`, with a class head `head` or `head.0`.

    Args:
        state_dict: Names and tensors.
        image_size: Height and width of the scenes; position tables are fitted to its grid.
        num_heads: Attention heads of the encoder, which no tensor tells.
        decoder_num_heads: Heads of the decoder; needed when there is one.
        patch_size: Checked against the tensors when given.

    Returns:
        An encoder in evaluation mode, with the dtype of the tensors but at least float32.

    Raises:
        CheckpointError: Tensors that do not make up such a model; the message names them.
    """
    weights = dataclasses.replace(
        interpret(state_dict),
        image_size=image_size,
        num_heads=num_heads,
        decoder_num_heads=decoder_num_heads,
    )
    return assemble(weights, name="state-dict", patch_size=patch_size)


if __name__ == "__main__":
    import sys

    from encoders.conversion import main

    sys.exit(main())

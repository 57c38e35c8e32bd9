"""Weights of other people's formats become encoders of this package."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from timm.data import ImageNetInfo
from torch import Tensor

from encoders.checkpoints.assembly import assemble
from encoders.checkpoints.published import interpret, read_published
from encoders.checkpoints.weight_files import CheckpointError
from encoders.families.tore.model import GlimpseEncoder
from encoders.storage import (
    find_encoder_folder,
    load_encoder,
    load_strictly,
    save_encoder,
    weights_hash,
)

__all__ = [  # with those of the package's own format, for callers of `encoders.checkpoints`
    "build_from_state_dict",
    "find_encoder_folder",
    "import_encoder",
    "load_encoder",
    "load_strictly",
    "save_encoder",
    "weights_hash",
]


class ImportOptions(TypedDict, total=False):
    """The keyword arguments of `import_encoder`."""

    image_size: tuple[int, int] | None
    num_heads: int | None
    decoder_num_heads: int | None
    class_names: tuple[str, ...] | None
    branch: str | None
    timm_model: str | None


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
        branch: Which of several models in one file, of `encoders.checkpoints.unwrapping.BRANCHES`.
        timm_model: timm's name of the architecture, for models that their tensors do not describe.

    Raises:
        CheckpointError: The file is damaged, unsafe or of no format known here, does not make up an
            encoder, or leaves something open that must be given.
    """
    if folder := find_encoder_folder(path):
        encoder = load_encoder(folder)
        return encoder if image_size is None else encoder.resized(image_size)
    source = Path(path)
    weights = read_published(source, branch)
    weights = dataclasses.replace(
        weights,
        num_heads=weights.num_heads if num_heads is None else num_heads,
        decoder_num_heads=(
            weights.decoder_num_heads if decoder_num_heads is None else decoder_num_heads
        ),
        image_size=weights.image_size if image_size is None else image_size,
        timm_model=weights.timm_model if timm_model is None else timm_model,
    )
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

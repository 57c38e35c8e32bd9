"""What published weights look like: containers, prefixes and names, brought to one spelling.

The spelling is that of timm's `VisionTransformer` and, for a decoder, of the official MAE
(`decoder_embed`, `decoder_blocks`, ..., `mask_token`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from encoders.checkpoints.hugging_face import from_hugging_face, hugging_face_prefix
from encoders.checkpoints.unwrapping import PATCH_EMBEDDING, find_tensors, unwrap
from encoders.checkpoints.weight_files import CheckpointError, read_json, read_weight_file
from encoders.layers.positions import SincosLayout, recognise_sincos

# Attention heads, which no tensor tells, of the models published at these widths.
_HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16}
_MOCO_HEADS = {**_HEADS, 384: 12}
_DECODER_HEADS = {128: 4, 256: 8, 512: 16}

# What Hugging Face and timm call the files of a folder.
_FOLDER_CONFIG = "config.json"
_FOLDER_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclasses.dataclass(frozen=True)
class PublishedWeights:
    """The tensors of one Vision Transformer and what else a file tells about it.

    Attributes:
        kind: Where such weights come from, for people.
        tensors: Under the names of timm and the official MAE.
        dropped: Names in the file that are not part of an encoder, e.g. a projection head.
        num_heads: Attention heads; None where neither the file nor the width tells.
        decoder_num_heads: The same of the decoder.
        image_size: Height and width, where the file says so.
        norm_eps: Epsilon of all layer norms, where the file says so.
        patch_normalised_pixels: Whether the decoder was trained on `norm_pix_loss` targets.
        timm_model: timm's name of the architecture, where the file says so.
        mean: Channel means of the normalisation, where the file says so.
        std: Channel standard deviations, where the file says so.
    """

    kind: str
    tensors: Mapping[str, Tensor]
    dropped: tuple[str, ...] = ()
    num_heads: int | None = None
    decoder_num_heads: int | None = None
    image_size: tuple[int, int] | None = None
    norm_eps: float | None = None
    patch_normalised_pixels: bool = False
    timm_model: str | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None


def read_published(path: Path, branch: str | None = None) -> PublishedWeights:
    """Reads weights that others published.

    Args:
        path: A file, or a folder with `config.json` and weights as Hugging Face and timm write it.
        branch: Which of several models in one file, of `unwrapping.BRANCHES`; None = the teacher of
            DINO, the base encoder of MoCo v3, the model itself where an average is kept beside it.

    Raises:
        CheckpointError: The file is damaged or unsafe, or holds no Vision Transformer.
    """
    folder = path if path.is_dir() else path.parent
    content = read_weight_file(_weights_in(folder) if path.is_dir() else path)
    try:
        weights = interpret(content, branch)
        if path.is_dir() or (path.name in _FOLDER_WEIGHTS and (folder / _FOLDER_CONFIG).is_file()):
            weights = _with_folder_config(weights, read_json(folder / _FOLDER_CONFIG))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return weights


def interpret(content: object, branch: str | None = None) -> PublishedWeights:
    """Finds the Vision Transformer in the content of a checkpoint.

    Args:
        content: Names and tensors, or a dictionary that holds them among other things.
        branch: As in `read_published`.

    Raises:
        CheckpointError: There is none, or the branch asked for is missing.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(f"a {type(content).__name__}, expected names and tensors")
    container, tensors = find_tensors(content, branch)
    hugging_face = hugging_face_prefix(tensors)
    if hugging_face is not None:
        return _described("Hugging Face ViTMAE", from_hugging_face(tensors, hugging_face))
    found = unwrap(container, tensors, branch)
    layout = _sincos_layout(found.tensors)
    # MoCo v3 alone encodes the row first, which tells its backbone where nothing else is left.
    moco = found.is_moco or (layout is not None and layout.row_first)
    heads = _MOCO_HEADS if moco else _HEADS
    weights = _described(found.kind, found.tensors, found.dropped, heads)
    return _with_command_line(weights, content) if container else weights


def _sincos_layout(tensors: Mapping[str, Tensor]) -> SincosLayout | None:
    table = tensors.get("pos_embed")
    return None if table is None or table.ndim != 3 else recognise_sincos(table, 1)


def _described(
    kind: str,
    tensors: dict[str, Tensor],
    dropped: tuple[str, ...] = (),
    heads: Mapping[int, int] = _HEADS,
) -> PublishedWeights:
    widths = {name: tensor.shape[:1].numel() for name, tensor in tensors.items()}
    return PublishedWeights(
        kind,
        tensors,
        dropped,
        num_heads=heads.get(widths[PATCH_EMBEDDING]),
        decoder_num_heads=_DECODER_HEADS.get(widths.get("decoder_embed.weight", 0)),
    )


def _with_command_line(
    weights: PublishedWeights, content: Mapping[str, object]
) -> PublishedWeights:
    """Adds what the arguments kept beside the tensors say: MAE's loss, TORE's decoder heads."""
    arguments, parameters = content.get("args"), content.get("hyper_parameters")
    if arguments is None and isinstance(parameters, Mapping):
        arguments = parameters.get("args")
    values = arguments if isinstance(arguments, Mapping) else getattr(arguments, "__dict__", {})
    normalised = values.get("norm_pix_loss") is True
    weights = dataclasses.replace(weights, patch_normalised_pixels=normalised)
    # TORE names a decoder of width 128 with 4 heads and 1 block "..._dec128d4h1b".
    shape = re.search(r"_dec\d+d(\d+)h\d+b", str(values.get("vit_arch", "")))
    return dataclasses.replace(weights, decoder_num_heads=int(shape[1])) if shape else weights


def _weights_in(folder: Path) -> Path:
    for name in _FOLDER_WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(f"{folder}: no {' or '.join(_FOLDER_WEIGHTS)}")


def _with_folder_config(weights: PublishedWeights, config: dict[str, Any]) -> PublishedWeights:
    """Adds what the `config.json` of a Hugging Face or timm folder says."""
    try:
        if config.get("model_type") == "vit_mae":
            if config["hidden_act"] != "gelu":
                raise CheckpointError(f"hidden_act {config['hidden_act']!r}, expected 'gelu'")
            size = config["image_size"]
            height, width = (size, size) if isinstance(size, int) else size
            return dataclasses.replace(
                weights,
                num_heads=config["num_attention_heads"],
                decoder_num_heads=config["decoder_num_attention_heads"],
                image_size=(height, width),
                norm_eps=config["layer_norm_eps"],
                patch_normalised_pixels=config["norm_pix_loss"],
            )
        if "architecture" in config:
            published = config["pretrained_cfg"]
            return dataclasses.replace(
                weights,
                kind=f"timm {config['architecture']}",
                timm_model=config["architecture"],
                mean=tuple(published["mean"]),
                std=tuple(published["std"]),
            )
    except KeyError as error:
        raise CheckpointError(f"config.json has no {error}") from error
    raise CheckpointError(
        "config.json is not that of an encoder of this package, a Hugging Face ViTMAE (model_type "
        f"'vit_mae') or a timm model (architecture); it has {sorted(config)[:8]}"
    )

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

import torch
from torch import Tensor

from encoders.checkpoints.weight_files import CheckpointError, read_json, read_weight_file
from encoders.layers.positions import SincosLayout, recognise_sincos

# Under these keys a checkpoint keeps its tensors; the first one present is taken.
_CONTAINERS = ("state_dict", "model", "teacher", "student", "model_ema", "state_dict_ema")
_MOCO_BRANCHES = ("base_encoder", "momentum_encoder")
BRANCHES = (*_CONTAINERS, *_MOCO_BRANCHES)

# Attention heads, which no tensor tells, of the models published at these widths.
_HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16}
_MOCO_HEADS = {**_HEADS, 384: 12}
_DECODER_HEADS = {128: 4, 256: 8, 512: 16}

# What Hugging Face and timm call the files of a folder.
_FOLDER_CONFIG = "config.json"
_FOLDER_WEIGHTS = ("model.safetensors", "pytorch_model.bin")

_PATCH_EMBEDDING = "patch_embed.proj.weight"
_HUGGING_FACE_EMBEDDING = "embeddings.patch_embeddings.projection.weight"


@dataclasses.dataclass(frozen=True)
class PublishedWeights:
    """The tensors of one Vision Transformer and what else a file tells about it.

    Attributes:
        kind: Where such weights come from, for people.
        tensors: Under the names of timm and the official MAE.
        dropped: Names in the file of what is no part of an encoder, e.g. a projection head.
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
        branch: Which of several models in one file, of `BRANCHES`; None = the teacher of DINO, the
            base encoder of MoCo v3, the model itself where an average is kept beside it.

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


def interpret(content: Any, branch: str | None = None) -> PublishedWeights:
    """Finds the Vision Transformer in the content of a checkpoint.

    Args:
        content: Names and tensors, or a dictionary that holds them among other things.
        branch: As in `read_published`.

    Raises:
        CheckpointError: There is none, or the branch asked for is missing.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(f"a {type(content).__name__}, expected names and tensors")
    container = None
    if not any(isinstance(value, Tensor) for value in content.values()):
        container = _container(content, branch)
    tensors = _tensors_only(content[container] if container else content)
    hugging_face = [name for name in tensors if name.endswith(_HUGGING_FACE_EMBEDDING)]
    if hugging_face:
        prefix = hugging_face[0].removesuffix(_HUGGING_FACE_EMBEDDING)
        tensors = _from_hugging_face(tensors, prefix)
        return _described("Hugging Face ViTMAE", tensors, ())
    prefix = _body_prefix(tensors, branch)
    body = {
        _modern(name.removeprefix(prefix)): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
    moco = any(part in prefix for part in _MOCO_BRANCHES)
    dropped = _take_class_head(body, rest, prefix, moco)
    body |= rest  # what nobody expected will be named when the encoder is built
    if moco:
        kind = "MoCo v3"
    elif container in ("teacher", "student") or any("head.last_layer" in name for name in dropped):
        kind = "DINO"
    elif "mae" in prefix.split("."):
        kind = "AME or TORE (Lightning)"
    elif "decoder_embed.weight" in body:
        kind = "masked autoencoder"
    elif "blocks.0.ls1.gamma" in body:
        kind = "Vision Transformer with layer scale (DeiT-III)"
    elif "dist_token" in body:
        kind = "distilled DeiT"
    else:
        kind = "Vision Transformer"
    if layout := _sincos_layout(body):
        moco = moco or layout.row_first  # a MoCo v3 backbone on its own
    weights = _described(kind, body, dropped, _MOCO_HEADS if moco else _HEADS)
    return _with_command_line(weights, content) if container else weights


def _container(content: Mapping[str, Any], branch: str | None) -> str:
    present = [key for key in _CONTAINERS if isinstance(content.get(key), Mapping)]
    if branch in _CONTAINERS:
        if branch not in present:
            raise CheckpointError(f"no branch {branch!r}; there are {present}")
        return branch
    if not present:
        raise CheckpointError(
            f"no tensors: found {sorted(map(str, content))[:8]}, expected names and tensors, or "
            f"one of {list(_CONTAINERS)} holding them"
        )
    return present[0]


def _tensors_only(values: Mapping[str, Any]) -> dict[str, Tensor]:
    wrong = [name for name, value in values.items() if not isinstance(value, Tensor)]
    if wrong:
        found = type(values[wrong[0]]).__name__
        raise CheckpointError(f"{wrong[0]} is a {found}, expected a tensor")
    return dict(values)


def _body_prefix(tensors: Mapping[str, Tensor], branch: str | None) -> str:
    """What stands before the names of the Vision Transformer, e.g. `module.backbone.`."""
    found = [
        name.removesuffix(_PATCH_EMBEDDING) for name in tensors if name.endswith(_PATCH_EMBEDDING)
    ]
    if not found:
        raise CheckpointError(
            f"not a Vision Transformer: no {_PATCH_EMBEDDING} among {len(tensors)} tensors "
            f"({', '.join(list(tensors)[:4])}, ...)"
        )
    for wanted in [branch] if branch in _MOCO_BRANCHES else _MOCO_BRANCHES:
        for prefix in found:
            if wanted in prefix.split("."):
                return prefix
    if branch in _MOCO_BRANCHES:
        raise CheckpointError(f"no branch {branch!r}; Vision Transformers found below {found}")
    if len(found) > 1:
        raise CheckpointError(f"several Vision Transformers, below {found}; expected one")
    return found[0]


def _modern(name: str) -> str:
    """Turns a name of DeiT-III into timm's."""
    return re.sub(r"\.gamma_([12])$", r".ls\1.gamma", name)


def _take_class_head(
    body: dict[str, Tensor], rest: dict[str, Tensor], prefix: str, moco: bool
) -> tuple[str, ...]:
    """Moves a class head from `rest` to `body` and removes what is no part of an encoder.

    AME and TORE keep the head, a `Sequential` of one layer, beside the model; DINO and MoCo v3 keep
    projection heads of several layers.
    """
    dropped = []
    for name in list(rest):
        local = re.sub(r"^(module\.|model\.)+", "", name)
        if re.match(r"head\.(0\.)?(weight|bias)$", local):
            body[local] = rest.pop(name)
        elif re.match(r"head\.(mlp|last_layer)\.|imagenet_(mean|std)$", local) or (
            moco and local.startswith(("predictor.", *(f"{b}." for b in _MOCO_BRANCHES)))
        ):
            del rest[name]
            dropped.append(name)
    projections = [name for name in body if name.startswith("head.")]
    if moco and any(re.match(r"head\.[1-9]", name) for name in projections):
        for name in projections:
            del body[name]
            dropped.append(prefix + name)
    if "head.weight" not in body:
        for kind in ("weight", "bias"):
            if f"head.0.{kind}" in body:
                body[f"head.{kind}"] = body.pop(f"head.0.{kind}")
    return tuple(dropped)


_HUGGING_FACE_NAMES = (
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


def _from_hugging_face(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Names of every generation of transformers' ViTMAE; query, key and value become one matrix."""
    renamed = {}
    for name, tensor in tensors.items():
        name = name.removeprefix(prefix)
        for pattern, replacement in _HUGGING_FACE_NAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    for name in [name for name in renamed if ".attn.q." in name]:
        parts = [name.replace(".attn.q.", f".attn.{part}.") for part in "qkv"]
        if missing := [part for part in parts if part not in renamed]:
            raise CheckpointError(f"missing {', '.join(missing)} beside {name}")
        merged = torch.cat([renamed.pop(part) for part in parts])
        renamed[name.replace(".attn.q.", ".attn.qkv.")] = merged
    return renamed


def _sincos_layout(tensors: Mapping[str, Tensor]) -> SincosLayout | None:
    table = tensors.get("pos_embed")
    return None if table is None or table.ndim != 3 else recognise_sincos(table, 1)


def _described(
    kind: str,
    tensors: dict[str, Tensor],
    dropped: tuple[str, ...],
    heads: Mapping[int, int] = _HEADS,
) -> PublishedWeights:
    widths = {name: tensor.shape[:1].numel() for name, tensor in tensors.items()}
    return PublishedWeights(
        kind,
        tensors,
        dropped,
        num_heads=heads.get(widths[_PATCH_EMBEDDING]),
        decoder_num_heads=_DECODER_HEADS.get(widths.get("decoder_embed.weight", 0)),
    )


def _with_command_line(weights: PublishedWeights, content: Mapping[str, Any]) -> PublishedWeights:
    """Adds what the arguments kept beside the tensors say: MAE's loss, TORE's decoder heads."""
    arguments = content.get("args")
    if arguments is None and isinstance(content.get("hyper_parameters"), Mapping):
        arguments = content["hyper_parameters"].get("args")
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
        "config.json is neither ours nor that of a Hugging Face ViTMAE (model_type 'vit_mae') or a "
        f"timm model (architecture); it has {sorted(config)[:8]}"
    )

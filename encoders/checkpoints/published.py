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
from encoders.checkpoints.unwrapping import MOCO, PATCH_EMBEDDING, find_tensors, unwrap
from encoders.checkpoints.weight_files import CheckpointError, read_json, read_weight_file
from encoders.layers.positions import recognise_sincos

HUGGING_FACE_MAE = "Hugging Face ViTMAE"

# What Hugging Face and timm call the files of a folder.
_FOLDER_CONFIG = "config.json"
_FOLDER_COLOURS = "preprocessor_config.json"
_FOLDER_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclasses.dataclass(frozen=True)
class PublishedWeights:
    """The tensors of one Vision Transformer and what else a file tells about it.

    None stands for what it does not tell; `encoders.checkpoints.assumptions` fills that in.

    Attributes:
        kind: Where such weights come from, for people.
        tensors: Under the names of timm and the official MAE.
        dropped: Names in the file that are not part of an encoder, e.g. a projection head.
        num_heads: Attention heads.
        decoder_num_heads: The same of the decoder.
        image_size: Height and width in pixels of the images it was trained on.
        usual_image_size: The same of the published weights of the model that is named.
        no_embed_class: Whether the patches alone have rows in the position table.
        norm_eps: Epsilon of all layer norms.
        activation: Of the MLPs, one of `encoders.support.choices.ACTIVATIONS`.
        patch_normalised_pixels: Whether the decoder was trained on `norm_pix_loss` targets.
        timm_model: timm's name of the architecture, which stands for its shape.
        timm_arguments: What that architecture was made with beside its name.
        named: timm's name of the model that the file mentions, whose shape the tensors tell.
        mean: Channel means of the normalisation.
        std: Channel standard deviations.
        interpolation: How the images were scaled.
        assumed: Names of those settings above that were assumed.
    """

    kind: str
    tensors: Mapping[str, Tensor]
    dropped: tuple[str, ...] = ()
    num_heads: int | None = None
    decoder_num_heads: int | None = None
    image_size: tuple[int, int] | None = None
    usual_image_size: tuple[int, int] | None = None
    no_embed_class: bool | None = None
    norm_eps: float | None = None
    activation: str | None = None
    patch_normalised_pixels: bool | None = None
    timm_model: str | None = None
    timm_arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    named: str | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: str | None = None
    assumed: frozenset[str] = frozenset()

    @property
    def width(self) -> int:
        """Channels of a token."""
        return self.tensors[PATCH_EMBEDDING].shape[:1].numel()

    @property
    def decoder_width(self) -> int:
        """Channels of a decoder token; 0 without a decoder."""
        embed = self.tensors.get("decoder_embed.weight")
        return 0 if embed is None else embed.shape[:1].numel()


def read_content(path: Path) -> Any:  # `torch.save` writes anything
    """What a file of weights holds.

    Args:
        path: A file, or a folder with `config.json` and weights as Hugging Face and timm write it.

    Raises:
        CheckpointError: The file is missing, damaged or unsafe.
    """
    return read_weight_file(_weights_in(path) if path.is_dir() else path)


def describe_published(path: Path, content: object, branch: str | None = None) -> PublishedWeights:
    """The Vision Transformer that others published.

    Args:
        path: File or folder that was read.
        content: What it holds, of `read_content`.
        branch: Which of several models in one file, of `unwrapping.BRANCHES`; None = the teacher of
            DINO, the base encoder of MoCo v3, the model itself where an average is kept beside it.

    Raises:
        CheckpointError: There is no Vision Transformer in it.
    """
    folder = path if path.is_dir() else path.parent
    try:
        weights = interpret(content, branch)
        if path.is_dir() or (path.name in _FOLDER_WEIGHTS and (folder / _FOLDER_CONFIG).is_file()):
            weights = _with_folder_config(weights, read_json(folder / _FOLDER_CONFIG))
            if (folder / _FOLDER_COLOURS).is_file():
                weights = _with_colours(weights, read_json(folder / _FOLDER_COLOURS))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return weights


def interpret(content: object, branch: str | None = None) -> PublishedWeights:
    """Finds the Vision Transformer in the content of a checkpoint.

    Args:
        content: Names and tensors, or a dictionary that holds them among other things.
        branch: As in `describe_published`.

    Raises:
        CheckpointError: There is none, or the branch asked for is missing.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(f"a {type(content).__name__}, expected names and tensors")
    container, tensors = find_tensors(content, branch)
    hugging_face = hugging_face_prefix(tensors)
    if hugging_face is not None:
        return PublishedWeights(HUGGING_FACE_MAE, from_hugging_face(tensors, hugging_face))
    found = unwrap(container, tensors, branch)
    # MoCo v3 alone encodes the row first, which tells its backbone where nothing else is left.
    kind = MOCO if _encodes_rows_first(found.tensors) else found.kind
    weights = PublishedWeights(kind, found.tensors, found.dropped)
    return _with_command_line(weights, content) if container else weights


def _encodes_rows_first(tensors: Mapping[str, Tensor]) -> bool:
    table = tensors.get("pos_embed")
    layout = None if table is None or table.ndim != 3 else recognise_sincos(table, 1)
    return layout is not None and layout.row_first


def _with_command_line(
    weights: PublishedWeights, content: Mapping[str, object]
) -> PublishedWeights:
    """Adds what is kept beside the tensors: timm's name, MAE's loss, TORE's decoder heads."""
    from encoders.families.timm_models import is_plain_vit  # brings timm

    arguments, parameters = content.get("args"), content.get("hyper_parameters")
    if arguments is None and isinstance(parameters, Mapping):
        arguments = parameters.get("args")
    values = arguments if isinstance(arguments, Mapping) else getattr(arguments, "__dict__", {})
    names = (content.get("arch"), values.get("model"), values.get("arch"))
    weights = dataclasses.replace(
        weights,
        named=next((str(name) for name in names if is_plain_vit(name)), None),
        patch_normalised_pixels=values.get("norm_pix_loss"),
    )
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
            arguments = dict(config.get("model_args") or {})
            size, usual = arguments.get("img_size"), published.get("input_size")
            if isinstance(size, int):
                size = [size, size]
            return dataclasses.replace(
                weights,
                kind=f"timm {config['architecture']}",
                timm_model=config["architecture"],
                timm_arguments={
                    name: value
                    for name, value in arguments.items()
                    if name not in ("img_size", "in_chans", "num_classes")
                },
                image_size=tuple(size) if size else None,
                usual_image_size=tuple(usual[1:]) if usual else None,
                no_embed_class=arguments.get("no_embed_class"),
                mean=tuple(published["mean"]),
                std=tuple(published["std"]),
                interpolation=published.get("interpolation"),
            )
    except KeyError as error:
        raise CheckpointError(f"config.json has no {error}") from error
    raise CheckpointError(
        "config.json is not that of an encoder of this package, a Hugging Face ViTMAE (model_type "
        f"'vit_mae') or a timm model (architecture); it has {sorted(config)[:8]}"
    )


def _with_colours(weights: PublishedWeights, processor: dict[str, Any]) -> PublishedWeights:
    """Adds what transformers' `preprocessor_config.json` says."""
    mean, std = processor.get("image_mean"), processor.get("image_std")
    return dataclasses.replace(
        weights,
        mean=weights.mean if mean is None else tuple(mean),
        std=weights.std if std is None else tuple(std),
    )

"""Weights of other people's formats become encoders of this package."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict, Unpack

from torch import Tensor

from encoders.checkpoints.assembly import assemble
from encoders.checkpoints.assumptions import list_assumptions
from encoders.checkpoints.formats import Wishes
from encoders.checkpoints.found_format import FoundFormat, find_format
from encoders.checkpoints.published import describe_published, interpret, read_content
from encoders.checkpoints.weight_files import CheckpointError
from encoders.config import EncoderConfig
from encoders.families.tore.model import GlimpseEncoder
from encoders.storage import (
    CONFIG_FILE,
    find_encoder_folder,
    load_encoder,
    load_strictly,
    save_encoder,
    weights_hash,
)
from encoders.support.choices import ACTIVATIONS
from encoders.support.notices import warn

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
    patch_size: int | None
    repeats: int | None
    trained_image_size: tuple[int, int] | None
    num_heads: int | None
    decoder_num_heads: int | None
    class_names: tuple[str, ...] | None
    branch: str | None
    timm_model: str | None
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None
    activation: str | None
    norm_eps: float | None
    patch_normalised_pixels: bool | None


def import_encoder(
    path: str | os.PathLike[str],
    *,
    image_size: tuple[int, int] | None = None,
    patch_size: int | None = None,
    repeats: int | None = None,
    trained_image_size: tuple[int, int] | None = None,
    num_heads: int | None = None,
    decoder_num_heads: int | None = None,
    class_names: tuple[str, ...] | None = None,
    branch: str | None = None,
    timm_model: str | None = None,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
    activation: str | None = None,
    norm_eps: float | None = None,
    patch_normalised_pixels: bool | None = None,
) -> Any:
    """Reads weights of any format known here, on the CPU and in evaluation mode.

    Known are the folders of `save_encoder`, folders of Hugging Face ViTMAE and of timm, and files
    (`.safetensors`, or anything `torch.save` writes) of timm, DeiT, DeiT-III, MAE, DINO, MoCo v3,
    AME and TORE; beside these Vision Transformers of SparseFormer (both papers), ConvMixer (timm's
    and the authors') and RIFormer (mmpretrain's). Half-precision weights become float32.

    What neither the caller nor the file says is taken from the model of timm that either of them
    names, or from the publication whose files look like this. What is left is assumed, which a
    warning says and `encoder.config.assumed` lists.

    Args:
        path: A file or folder.
        image_size: Height and width of the scenes; position tables are fitted to its grid. None =
            the size the weights were trained at.
        patch_size: Side of the patches that scenes are seen by, where the weights know none; None =
            16. Of others it is checked.
        repeats: How often the first unit of a SparseFormer of the first paper runs; None = 4 times
            where it has the width of one that was published.
        trained_image_size: Height and width that a learned position table was made for. None = as
            the file or the model says, else a square.
        num_heads: Attention heads of the encoder. None = what the file says, else what the models
            published at this width have.
        decoder_num_heads: The same of the decoder.
        class_names: Classes of the head, in order. None = ImageNet's for a head with 1000 outputs,
            else unknown, so that the head counts as untrained.
        branch: Which of several models in one file, of `encoders.checkpoints.unwrapping.BRANCHES`.
        timm_model: timm's name of the model, with or without the tag of its weights.
        mean: Channel means of the normalisation, on pixels in [0, 1].
        std: Channel standard deviations of the normalisation.
        activation: Of the MLPs, one of `encoders.support.choices.ACTIVATIONS`.
        norm_eps: Epsilon of all layer norms.
        patch_normalised_pixels: Whether the decoder was trained with MAE's `norm_pix_loss`, so that
            its pixels are not colours.

    Raises:
        CheckpointError: The file is damaged, unsafe or of no format known here, does not make up an
            encoder, or leaves something open that must be given; or something is given of what an
            encoder of this package says itself.
    """
    encoder = read_encoder(
        path,
        image_size=image_size,
        patch_size=patch_size,
        repeats=repeats,
        trained_image_size=trained_image_size,
        num_heads=num_heads,
        decoder_num_heads=decoder_num_heads,
        class_names=class_names,
        branch=branch,
        timm_model=timm_model,
        mean=mean,
        std=std,
        activation=activation,
        norm_eps=norm_eps,
        patch_normalised_pixels=patch_normalised_pixels,
    )
    if getattr(encoder.config, "assumed", ()) and not find_encoder_folder(path):
        warn(f"{path}: {describe_assumptions(encoder)}")
    return encoder


def describe_assumptions(encoder: GlimpseEncoder) -> str:
    """What was assumed of an encoder, and how to say better."""
    return (
        f"the file does not say all; ASSUMED: {', '.join(list_assumptions(encoder.config))}. Name "
        "its model (--timm-model) or give the values to `python -m encoders.checkpoints convert`"
    )


def read_encoder(path: str | os.PathLike[str], **options: Unpack[ImportOptions]) -> Any:
    """As `import_encoder`, without its warning."""
    given = {name: value for name, value in options.items() if value is not None}
    image_size = options.get("image_size")
    if folder := find_encoder_folder(path):
        if others := sorted(set(given) - {"image_size"}):
            raise CheckpointError(
                f"{path}: an encoder of this package, which says its {', '.join(others)} itself; "
                f"edit {folder / CONFIG_FILE} to change what it says"
            )
        encoder = load_encoder(folder)
        return encoder if image_size is None else encoder.resized(image_size)
    source = Path(path)
    content = read_content(source)
    if (other := find_format(source, content, options.get("branch"))) is not None:
        try:
            return _of_another_family(other, source.name.split(".")[0], given)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error
    if "repeats" in given:
        raise CheckpointError(f"{path}: repeats={given['repeats']}: of SparseFormer; leave it out")
    weights = describe_published(source, content, options.get("branch"))
    settings: dict[str, Any] = {name: given[name] for name in _SETTINGS if name in given}
    if trained := options.get("trained_image_size"):
        settings["image_size"] = trained
    if (activation := options.get("activation")) not in (None, *ACTIVATIONS):
        raise CheckpointError(
            f"activation={activation!r}; expected one of {', '.join(ACTIVATIONS)}"
        )
    weights = dataclasses.replace(weights, **settings)
    try:
        encoder = assemble(
            weights,
            source.name.split(".")[0],
            image_size=image_size,
            patch_size=options.get("patch_size"),
        )
        encoder.config = _with_class_names(encoder.config, options.get("class_names"))
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return encoder


# Arguments that take the place of what a file says.
_SETTINGS = (
    *("num_heads", "decoder_num_heads", "timm_model", "mean", "std", "activation", "norm_eps"),
    "patch_normalised_pixels",
)


def _of_another_family(found: FoundFormat, name: str, given: Mapping[str, Any]) -> Any:
    """An encoder that is no Vision Transformer.

    Raises:
        CheckpointError: It cannot be made, or something is given that it does not have.
    """
    own = {field.name for field in dataclasses.fields(Wishes)}
    if unknown := sorted(set(given) - own - {"branch", "class_names"}):
        raise CheckpointError(
            f"{', '.join(unknown)}: of Vision Transformers, and this is a {found.format.kind}; "
            "leave it out"
        )
    encoder = found.load(Wishes(name, **{key: value for key, value in given.items() if key in own}))
    try:
        encoder.config = _with_class_names(encoder.config, given.get("class_names"))
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    return encoder


def _with_class_names(config: Any, names: tuple[str, ...] | None) -> Any:
    """Names the classes of the head: as given, else ImageNet's for 1000 of them."""
    if names is not None:
        changes: dict[str, Any] = {"class_names": names}
        if isinstance(config, EncoderConfig):
            changes["assumed"] = tuple(name for name in config.assumed if name != "class_names")
        return dataclasses.replace(config, **changes)
    if config.num_classes == 1000:
        from timm.data import ImageNetInfo  # timm takes seconds to import

        return dataclasses.replace(config, class_names=tuple(ImageNetInfo().label_names()))
    return config


def build_from_state_dict(
    state_dict: Mapping[str, Tensor],
    *,
    image_size: tuple[int, int],
    num_heads: int,
    decoder_num_heads: int | None = None,
    patch_size: int | None = None,
    trained_image_size: tuple[int, int] | None = None,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
    activation: str | None = None,
    norm_eps: float | None = None,
) -> GlimpseEncoder:
    """Builds an encoder around bare tensors; depths, widths and decoder are read off them.

    What is not given and not in the tensors is assumed; `encoder.config.assumed` lists it.

    Understood are the names of timm's VisionTransformer (DeiT, DeiT-III, DINO, ...), of the
    official MAE (`decoder_*`, `mask_token`), of transformers' ViTMAE, and all of them below a
    prefix such as `mae.`, `module.` or `backbone.`, with a class head `head` or `head.0`.

    Args:
        state_dict: Names and tensors.
        image_size: Height and width of the scenes; position tables are fitted to its grid.
        num_heads: Attention heads of the encoder, which no tensor tells.
        decoder_num_heads: Heads of the decoder; needed when there is one.
        patch_size: Checked against the tensors when given.
        trained_image_size: Height and width that a learned position table was made for; None = a
            square.
        mean: Channel means of the normalisation, on pixels in [0, 1]; None = ImageNet's.
        std: Channel standard deviations; None = ImageNet's.
        activation: Of the MLPs; None = GELU.
        norm_eps: Epsilon of all layer norms; None = 1e-6.

    Returns:
        An encoder in evaluation mode, with the dtype of the tensors but at least float32.

    Raises:
        CheckpointError: Tensors that do not make up such a model; the message names them.
    """
    weights = dataclasses.replace(
        interpret(state_dict),
        image_size=trained_image_size,
        num_heads=num_heads,
        decoder_num_heads=decoder_num_heads,
        mean=mean,
        std=std,
        activation=activation,
        norm_eps=norm_eps,
    )
    return assemble(weights, "state-dict", image_size=image_size, patch_size=patch_size)

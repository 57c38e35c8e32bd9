"""The command `python -m encoders.checkpoints`: look into files of weights, and convert them."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from encoders.checkpoints.assumptions import list_assumptions
from encoders.checkpoints.found_format import find_format
from encoders.checkpoints.importing import ImportOptions, read_encoder
from encoders.checkpoints.published import describe_published, read_content
from encoders.checkpoints.tensors import listed
from encoders.checkpoints.unwrapping import BRANCHES
from encoders.checkpoints.weight_files import CheckpointError
from encoders.families.tore.model import GlimpseEncoder
from encoders.layers.positions import recognise_sincos
from encoders.protocol import Encoder, EncoderDescription
from encoders.storage import find_encoder_folder, save_encoder, weights_hash
from encoders.support.choices import ACTIVATIONS

DESCRIPTION = """\
inspect prints what a file of weights is, the shapes in it, whether an encoder can be made of it,
and the hash of that encoder's weights. convert writes the encoder as a folder that
encoders.create_encoder opens."""


def encoder_summary(encoder: Encoder) -> str:
    """A few lines on an encoder of any family: sizes, heads, positions, parameters."""
    config, (rows, columns) = encoder.config, encoder.grid
    parameters = cast(nn.Module, encoder).parameters()
    lines = {
        "image": f"{config.image_size[0]}x{config.image_size[1]}, patches of {config.patch_size}, "
        f"grid {rows}x{columns}"
    }
    if isinstance(encoder, GlimpseEncoder):
        lines |= _tore_sizes(encoder)
    else:
        lines["family"] = encoder.family
    lines["class head"] = _class_head(config)
    if isinstance(encoder, GlimpseEncoder):
        lines["positions"] = _positions(encoder)
        lines["colours"] = _colours(encoder)
        lines["layers"] = _layers(encoder)
    lines["parameters"] = f"{sum(parameter.numel() for parameter in parameters):,}"
    lines["hash"] = weights_hash(encoder)
    if isinstance(encoder, GlimpseEncoder) and encoder.config.assumed:
        lines["ASSUMED"] = "; ".join(list_assumptions(encoder.config))
        lines[""] = "the file does not say so: name its model or give the values (see --help)"
    return "\n".join(f"  {name:<12}{value}" for name, value in lines.items())


def _class_head(config: EncoderDescription) -> str:
    if not config.num_classes:
        return "none"
    names = f"{config.class_names[0]}, ..." if config.class_names else "classes unnamed"
    return f"{config.num_classes} outputs ({names})"


def _tore_sizes(encoder: GlimpseEncoder) -> dict[str, str]:
    attention: Any = encoder.backbone.blocks[0].attn  # torch types it as a tensor or a module
    decoder = "none"
    if encoder.config.decoder is not None:
        shape = encoder.config.decoder
        decoder = f"width {shape.width}, {shape.depth} blocks, {shape.num_heads} heads"
        if encoder.config.patch_normalised_pixels:
            decoder += ", pixels relative to each patch's mean and spread"
    return {
        "encoder": f"width {encoder.width}, {encoder.depth} blocks, {attention.num_heads} heads, "
        f"{encoder.backbone.num_prefix_tokens} prefix tokens",
        "decoder": decoder,
    }


def _colours(encoder: GlimpseEncoder) -> str:
    config, scaled = encoder.config, encoder.config.interpolation
    mean, std = (" ".join(f"{value:g}" for value in each) for each in (config.mean, config.std))
    return f"mean {mean}, std {std}" + (f", images scaled by {scaled}" if scaled else "")


def _layers(encoder: GlimpseEncoder) -> str:
    settings = encoder.parts()["backbone"].settings
    epsilons = ", ".join(f"{epsilon:g}" for epsilon in settings["norm_epsilons"])
    return f"activation {', '.join(settings['activations'])}, norm epsilon {epsilons}"


def _positions(encoder: GlimpseEncoder) -> str:
    table = encoder.backbone.vit.pos_embed
    if table is None or not recognise_sincos(table, encoder.backbone.first_position_row):
        return "learned"
    return "sine-cosine"


def list_shapes(tensors: Mapping[str, Tensor]) -> str:
    """Names, shapes and dtypes, with blocks that are alike on one line."""
    alike: dict[tuple[str, str], list[int]] = {}
    for name, tensor in tensors.items():
        numbers = re.findall(r"blocks\.(\d+)\.", name)
        pattern = re.sub(r"blocks\.\d+\.", "blocks.*.", name)
        shape = f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
        alike.setdefault((pattern, shape), []).extend(map(int, numbers))
    lines = []
    for (pattern, shape), numbers in alike.items():
        span = f"{min(numbers)}-{max(numbers)}" if len(numbers) > 1 else "".join(map(str, numbers))
        lines.append(f"  {pattern.replace('*', span):<44}{shape}")
    return "\n".join(lines)


def inspect(path: Path, options: ImportOptions) -> bool:
    """Prints what a file of weights is.

    Args:
        path: A file or folder.
        options: Keyword arguments of `import_encoder`.

    Returns:
        Whether an encoder can be made of it.
    """
    if find_encoder_folder(path):
        print(f"{path}: an encoder of this package")
    else:
        content, branch = read_content(path), options.get("branch")
        if (other := find_format(path, content, branch)) is not None:
            print(f"{path}: {other.format.kind}\n{list_shapes(other.tensors)}")
        else:
            weights = describe_published(path, content, branch)
            print(f"{path}: {weights.kind}\n{list_shapes(weights.tensors)}")
            if weights.dropped:
                print(f"  not part of the encoder, left out: {listed(weights.dropped)}")
    try:
        encoder = read_encoder(path, **options)
    except CheckpointError as error:
        print(f"does not fit: {error}")
        return False
    print(f"fits:\n{encoder_summary(encoder)}")
    return True


def convert(path: Path, out: Path, options: ImportOptions) -> None:
    """Writes weights of any known format as an encoder folder.

    Args:
        path: A file or folder.
        out: The folder to write; must not exist, or be empty.
        options: Keyword arguments of `import_encoder`.

    Raises:
        CheckpointError: See `import_encoder`; or `out` holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CheckpointError(f"{out} exists; nothing is overwritten")
    encoder = read_encoder(path, **options)
    save_encoder(encoder, out)
    print(f"{out}:\n{encoder_summary(encoder)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        Exit code: 0, or 1 for weights that do not fit; argparse exits with 2.
    """
    given = _parser().parse_args(arguments)
    try:
        options = _import_options(given)
        if given.command == "inspect":
            return 0 if inspect(given.path, options) else 1
        convert(given.path, given.out, options)
    except (CheckpointError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _import_options(given: argparse.Namespace) -> ImportOptions:
    """What the command line says about an import, lists and files read into tuples."""
    size, names = given.image_size, given.class_names
    return ImportOptions(
        image_size=tuple(size) if size else None,
        patch_size=given.patch_size,
        repeats=given.repeats,
        num_heads=given.num_heads,
        decoder_num_heads=given.decoder_num_heads,
        class_names=tuple(names.read_text("utf-8").splitlines()) if names else None,
        trained_image_size=tuple(given.trained_size) if given.trained_size else None,
        branch=given.branch,
        timm_model=given.timm_model,
        mean=tuple(given.mean) if given.mean else None,
        std=tuple(given.std) if given.std else None,
        activation=given.activation,
        norm_eps=given.norm_eps,
        patch_normalised_pixels=given.norm_pix_loss,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m encoders.checkpoints",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("inspect", "say what a file is"), ("convert", "write an encoder folder")):
        command = commands.add_parser(name, help=text, description=f"{text.capitalize()}.")
        command.add_argument("path", type=Path, metavar="FILE", help="file or folder of weights")
        if name == "convert":
            command.add_argument("out", type=Path, metavar="OUT", help="folder to write")
        _add_options(command)
    return parser


def _add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="scenes to encode; position tables are fitted (default: as trained)",
    )
    command.add_argument(
        "--patch-size",
        type=int,
        metavar="P",
        help="side of the patches that scenes are seen by, where the weights know none (default: "
        "16)",
    )
    command.add_argument(
        "--repeats",
        type=int,
        metavar="N",
        help="how often the first unit of a SparseFormer of the first paper runs (default: 4 in "
        "the published sizes)",
    )
    command.add_argument(
        "--trained-size",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="images it was trained on, where a learned position table is not square",
    )
    command.add_argument(
        "--num-heads", type=int, metavar="N", help="attention heads (default: as published)"
    )
    command.add_argument(
        "--decoder-num-heads", type=int, metavar="N", help="the same of the decoder"
    )
    command.add_argument(
        "--class-names", type=Path, metavar="FILE", help="text file, one class per line, in order"
    )
    command.add_argument(
        "--branch",
        choices=BRANCHES,
        help="which of several models in one file (default: DINO's teacher, MoCo's base encoder)",
    )
    command.add_argument(
        "--timm-model",
        metavar="NAME",
        help="timm's name of the model, with or without the tag of its weights: says what tensors "
        "do not",
    )
    for name, text in (("mean", "means"), ("std", "standard deviations")):
        command.add_argument(
            f"--{name}",
            type=float,
            nargs=3,
            metavar=("R", "G", "B"),
            help=f"channel {text} of the normalisation, on colours from 0 to 1",
        )
    command.add_argument("--activation", choices=ACTIVATIONS, help="of the MLPs")
    command.add_argument("--norm-eps", type=float, metavar="E", help="epsilon of all layer norms")
    command.add_argument(
        "--norm-pix-loss",
        action=argparse.BooleanOptionalAction,
        help="whether the decoder's pixels are relative to each patch's mean and spread",
    )

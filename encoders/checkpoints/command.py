"""The command `python -m encoders.checkpoints`: look into files of weights, and convert them."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from encoders.checkpoints.importing import import_encoder
from encoders.checkpoints.published import read_published
from encoders.checkpoints.tensors import listed
from encoders.checkpoints.unwrapping import BRANCHES
from encoders.checkpoints.weight_files import CheckpointError
from encoders.families.tore.model import GlimpseEncoder
from encoders.layers.positions import recognise_sincos
from encoders.storage import find_encoder_folder, save_encoder, weights_hash

DESCRIPTION = """\
inspect prints what a file of weights is, the shapes in it, whether an encoder can be made of it,
and the hash of that encoder's weights. convert writes the encoder as a folder that
encoders.create_encoder opens."""


def describe(encoder: GlimpseEncoder) -> str:
    """A few lines on an encoder: sizes, heads, positions, parameters."""
    config = encoder.config
    vit: Any = encoder.backbone.vit
    rows, columns = encoder.grid
    heads = vit.blocks[0].attn.num_heads
    decoder = "none"
    if config.decoder is not None:
        shape = config.decoder
        decoder = f"width {shape.width}, {shape.depth} blocks, {shape.num_heads} heads"
        if config.patch_normalised_pixels:
            decoder += ", pixels relative to each patch's mean and spread"
    head = "none"
    if config.num_classes:
        names = f"{config.class_names[0]}, ..." if config.class_names else "classes unnamed"
        head = f"{config.num_classes} outputs ({names})"
    prefix = 0 if vit.no_embed_class else vit.num_prefix_tokens
    sincos = vit.pos_embed is not None and recognise_sincos(vit.pos_embed, prefix)
    count = sum(parameter.numel() for parameter in encoder.parameters())
    lines = {
        "image": f"{config.image_size[0]}x{config.image_size[1]}, patches of {config.patch_size}, "
        f"grid {rows}x{columns}",
        "encoder": f"width {encoder.width}, {encoder.depth} blocks, {heads} heads, "
        f"{vit.num_prefix_tokens} prefix tokens",
        "decoder": decoder,
        "class head": head,
        "positions": "sine-cosine" if sincos else "learned",
        "parameters": f"{count:,}",
        "hash": weights_hash(encoder),
    }
    return "\n".join(f"  {name:<12}{value}" for name, value in lines.items())


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


def inspect(path: Path, options: Mapping[str, Any]) -> bool:
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
        weights = read_published(path, options["branch"])
        print(f"{path}: {weights.kind}\n{list_shapes(weights.tensors)}")
        if weights.dropped:
            print(f"  no part of the encoder, left out: {listed(weights.dropped)}")
    try:
        encoder = import_encoder(path, **options)
    except CheckpointError as error:
        print(f"does not fit: {error}")
        return False
    print(f"fits:\n{describe(encoder)}")
    return True


def convert(path: Path, out: Path, options: Mapping[str, Any]) -> None:
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
    encoder = import_encoder(path, **options)
    save_encoder(encoder, out)
    print(f"{out}:\n{describe(encoder)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        Exit code: 0, or 1 for weights that do not fit; argparse exits with 2.
    """
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
    options = vars(parser.parse_args(arguments))
    command_name, path, out = options.pop("command"), options.pop("path"), options.pop("out", None)
    try:
        if size := options["image_size"]:
            options["image_size"] = tuple(size)
        if names := options["class_names"]:
            options["class_names"] = tuple(names.read_text("utf-8").splitlines())
        if command_name == "inspect":
            return 0 if inspect(path, options) else 1
        convert(path, out, options)
    except (CheckpointError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="scenes to encode; position tables are fitted (default: as trained)",
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
        help="timm's name of the architecture, where the tensors do not describe it",
    )

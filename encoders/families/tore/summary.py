"""What a TORE encoder is, in a few lines for a notebook."""

from __future__ import annotations

from typing import Any

from encoders.config import EncoderConfig
from encoders.families.tore.surgery import PatchVit
from encoders.layers.decoder import GlimpseDecoder


def summarise(config: EncoderConfig, backbone: PatchVit, decoder: GlimpseDecoder | None) -> str:
    """Name, then a line each on scenes, blocks, parts, weights and colours."""
    attention: Any = backbone.blocks[0].attn  # torch types it as a tensor or a module
    split = config.default_split_block
    split = 2 * backbone.depth // 3 if split is None else split
    classes = f"{config.num_classes} classes" if config.num_classes else "none"
    named = ", unnamed" if config.num_classes and not config.class_names else ""
    painter = f"{decoder.width} x {len(decoder.blocks)}" if decoder else "none"
    modules = [backbone] if decoder is None else [backbone, decoder]
    count = sum(each.numel() for module in modules for each in module.parameters())
    (height, width), (rows, columns) = config.image_size, backbone.grid
    lines = {
        "image": f"{height}x{width} pixels, {rows}x{columns} patches of {config.patch_size}",
        "blocks": f"{backbone.depth} of width {backbone.width}, {attention.num_heads} heads"
        f"{' of angular attention' if backbone.attention == 'angular' else ''}; "
        f"split block K = {split}",
        "parts": f"class head {classes}{named}; decoder {painter}",
        "weights": f"{config.weights}, {count:,} parameters on {backbone.device}",
        "colours": f"mean {_numbers(config.mean)}, std {_numbers(config.std)}",
    }
    text = "\n".join(f"  {name:<9}{line}" for name, line in lines.items())
    return f"{config.name!r}\n{text}"


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)

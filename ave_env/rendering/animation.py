"""Frames in, one animated picture out."""

import os
from collections.abc import Sequence

import numpy as np

from ave_env.rendering import ink
from encoders.support.files import replacing

_UNCHANGED = 255  # index of pixels that stay as they were; transparent


def save_gif(
    frames: Sequence[np.ndarray],
    path: str | os.PathLike[str],
    frames_per_second: float = 1.5,
    *,
    hold: float = 2.0,
) -> None:
    """Writes an endless GIF; the file appears under its name only when it is whole.

    The colours of the interface (`ink.COLORS`) are exact in every frame; all others are the nearest
    of one palette, without dithering.

    Args:
        frames: RGB frames of one size, each uint8 `[H, W, 3]`.
        path: File to write; an existing one is replaced.
        frames_per_second: Speed of the animation.
        hold: Seconds for which the last frame stays, before the animation starts again.

    Raises:
        ValueError: If there is no frame, a frame is not uint8 RGB, the frames differ in size, or
            the speed is not positive.
    """
    from PIL import Image

    kinds = sorted({(np.shape(frame), str(frame.dtype)) for frame in frames})
    if len(kinds) != 1 or len(kinds[0][0]) != 3 or kinds[0][0][2] != 3 or kinds[0][1] != "uint8":
        raise ValueError(
            f"{path}: expected at least one frame, all uint8 [H, W, 3] and of one size; "
            f"got {len(frames)} frames of shapes and types {kinds}."
        )
    if not frames_per_second > 0:
        raise ValueError(f"{path}: frames_per_second must be positive, got {frames_per_second}.")

    frames = [np.ascontiguousarray(frame) for frame in frames]
    palette = _palette_of(frames)
    table = palette.astype(np.uint8).ravel().tolist()
    pictures, before = [], None
    for frame in frames:
        indices = _indices(frame, palette)
        shown = indices if before is None else np.where(indices == before, _UNCHANGED, indices)
        before = indices
        pictures.append(Image.fromarray(shown))
        pictures[-1].putpalette(table)
    durations = [round(1000 / frames_per_second)] * len(pictures)  # milliseconds
    durations[-1] = max(durations[-1], round(1000 * hold))

    with replacing(path) as partial:
        pictures[0].save(
            partial,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=durations,
            loop=0,
            optimize=False,
            transparency=_UNCHANGED,
            disposal=1,  # leave what was there, to be seen through unchanged pixels
        )


def _palette_of(frames: Sequence[np.ndarray]) -> np.ndarray:
    """One palette for all frames, as colours that change from frame to frame would flicker.

    The colours of the interface come first and are exact; the others follow the pixels that are
    shown anew, so that the glimpses weigh more than the scene behind them. Int64 `[255, 3]`.
    """
    from PIL import Image

    reserved = _packed(np.array(ink.COLORS, np.uint8))
    shown, before = [], None
    for frame in frames:
        packed = _packed(frame)
        new = ~np.isin(packed, reserved)
        if before is not None:
            new &= packed != before
        before = packed
        shown.append(frame[new])
    pixels = np.concatenate(shown)
    if not len(pixels):
        pixels = np.array(ink.COLORS[:1], np.uint8)
    room = _UNCHANGED - len(ink.COLORS)
    adapted = Image.fromarray(pixels[None]).quantize(room, method=Image.Quantize.FASTOCTREE)
    colors = np.array(adapted.getpalette()).reshape(-1, 3)[:room]
    palette = np.zeros((_UNCHANGED, 3), np.int64)
    palette[: len(ink.COLORS)] = ink.COLORS
    palette[len(ink.COLORS) : len(ink.COLORS) + len(colors)] = colors
    return palette


def _indices(frame: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """The nearest colour of each pixel, uint8 `[H, W]`: no dithering, dots would look like data."""
    from PIL import Image

    table = Image.new("P", (1, 1))
    table.putpalette(palette.astype(np.uint8).ravel().tolist())
    quantized = Image.fromarray(frame).quantize(palette=table, dither=Image.Dither.NONE)
    indices = np.array(quantized, np.uint8)
    # Pillow looks up neighbouring colours together; those of the interface are to be exact.
    packed = _packed(frame)
    for index, color in enumerate(_packed(np.array(ink.COLORS, np.uint8))):
        indices[packed == color] = index
    return indices


def _packed(colors: np.ndarray) -> np.ndarray:
    """Colours uint8 `[..., 3]` as one number each."""
    red, green, blue = np.moveaxis(colors.astype(np.uint32), -1, 0)
    return (red << 16) | (green << 8) | blue

"""Marks on a canvas: text, blocks, discs and frames.

A canvas is a uint8 `[H, W, 3]` RGB array that is drawn on in place.
"""

import importlib.util
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from PIL import ImageFont

Color = tuple[int, int, int]

PAPER: Color = (255, 255, 255)
INK: Color = (30, 34, 42)
MUTED: Color = (112, 119, 132)
TRACK: Color = (234, 237, 242)  # the empty part of a bar
BLUE: Color = (66, 116, 196)
GREEN: Color = (32, 146, 98)  # the true class
AMBER: Color = (255, 171, 25)  # the newest glimpse and what it cost
UNKNOWN: Color = (150, 152, 156)  # what the agent has not seen, in the panel of what it knows

# All that carry a meaning: what animations must not change.
COLORS = (PAPER, INK, MUTED, TRACK, BLUE, GREEN, AMBER, UNKNOWN)


def write(
    canvas: np.ndarray,
    text: str,
    x: float,
    y: float,
    *,
    size: int = 13,
    color: Color = INK,
    bold: bool = False,
    align: Literal["left", "center", "right"] = "left",
    width: float | None = None,
) -> int:
    """Writes one line of antialiased text.

    Args:
        canvas: Canvas to write on.
        text: The line.
        x: Left end, middle or right end of the line, as `align` says.
        y: Middle of the capital letters.
        size: Size of the font, in pixels.
        color: RGB colour.
        bold: Whether to use the bold face.
        align: What `x` refers to.
        width: Room for the line; a longer one ends in an ellipsis.

    Returns:
        Width of what was written, in pixels.
    """
    text = "".join(character if character.isprintable() else " " for character in text)
    if width is not None:
        text = shorten(text, size, bold, int(width))
    mask, middle = _stencil(text, size, bold)
    extent = mask.shape[1]
    left = round(x - {"left": 0.0, "center": extent / 2, "right": extent}[align])
    _blend(canvas, mask, left, round(y - middle), color)
    return extent


def heat(levels: np.ndarray) -> np.ndarray:
    """Colours uint8 `[h, w, 3]` of levels uint8 `[h, w]`, from black to pale yellow."""
    import cv2

    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_MAGMA), cv2.COLOR_BGR2RGB)


@lru_cache(maxsize=4096)
def shorten(text: str, size: int, bold: bool, width: int) -> str:
    """Cuts `text` so that it fits `width` pixels, with an ellipsis where it was cut."""
    font = _font(size, bold)
    if font.getlength(text) <= width:
        return text
    keep = len(text)
    while keep and font.getlength(text[:keep].rstrip() + "…") > width:
        keep -= 1
    return text[:keep].rstrip() + "…" if keep else ""


def blank(height: int, width: int) -> np.ndarray:
    """Returns an empty canvas."""
    return np.full((height, width, 3), PAPER[0], np.uint8)  # a grey paper: one level fills it fast


def block(canvas: np.ndarray, x: int, y: float, width: float, height: int, color: Color) -> None:
    """Fills a rectangle; its right edge may lie between two pixels."""
    top, end = round(y), x + int(width)
    canvas[top : top + height, x:end] = color
    rest = np.full((height, 1), round((width - int(width)) * 255), np.uint8)
    _blend(canvas, rest, end, top, color)


def disc(canvas: np.ndarray, x: float, y: float, radius: float, color: Color) -> None:
    """Fills an antialiased disc."""
    import cv2

    center = (round(x * 16), round(y * 16))  # shift=4: positions in sixteenths of a pixel
    cv2.circle(canvas, center, round(radius * 16), color, cv2.FILLED, cv2.LINE_AA, shift=4)


def frame(
    canvas: np.ndarray, corners: tuple[int, int, int, int], color: Color, thickness: int
) -> None:
    """Draws the outline of a rectangle (y0, x0, y1, x1) inside it; parts off the canvas are cut."""
    y0, x0, y1, x1 = corners
    height, width = canvas.shape[:2]

    def fill(top: int, left: int, bottom: int, right: int) -> None:
        rows = slice(max(top, 0), max(min(bottom, height), 0))
        canvas[rows, max(left, 0) : max(min(right, width), 0)] = color

    fill(y0, x0, y0 + thickness, x1)
    fill(y1 - thickness, x0, y1, x1)
    fill(y0, x0, y1, x0 + thickness)
    fill(y0, x1 - thickness, y1, x1)


def _blend(canvas: np.ndarray, mask: np.ndarray, left: int, top: int, color: Color) -> None:
    """Paints `color` through a uint8 `[h, w]` mask (255 = opaque), cut at the canvas's edges."""
    rows = slice(max(0, -top), max(0, canvas.shape[0] - top))
    columns = slice(max(0, -left), max(0, canvas.shape[1] - left))
    mask = mask[rows, columns]
    if not mask.size:
        return
    top, left = max(0, top), max(0, left)
    target = canvas[top : top + mask.shape[0], left : left + mask.shape[1]]
    alpha = mask[..., None].astype(np.uint16)
    target[:] = (target * (255 - alpha) + np.array(color, np.uint16) * alpha + 127) // 255


@lru_cache(maxsize=4096)
def _stencil(text: str, size: int, bold: bool) -> tuple[np.ndarray, int]:
    """Renders a line as a uint8 `[h, w]` mask; also returns the row at mid-height of capitals."""
    from PIL import Image, ImageDraw

    font = _font(size, bold)
    ascent, descent = font.getmetrics()
    extent = max(1, int(np.ceil(font.getlength(text))))
    image = Image.new("L", (extent, ascent + descent))
    ImageDraw.Draw(image).text((0, ascent), text, fill=255, font=font, anchor="ls")
    return np.asarray(image), ascent + int(font.getbbox("H", anchor="ls")[1]) // 2


@cache
def _font(size: int, bold: bool) -> "ImageFont.FreeTypeFont":
    """Opens DejaVu Sans, which comes with matplotlib (found without importing it)."""
    from PIL import ImageFont

    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "Rendering takes its font from matplotlib, which is not installed: "
            "`pip install matplotlib`."
        )
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / name
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)

"""Image bytes of any common kind to RGB pixels of one size.

Ordinary JPEG and PNG images are decoded by OpenCV. What it reads wrongly or silently (16-bit
samples, transparency, CMYK, orientation tags) goes through Pillow, and so does every other format.
Colour profiles are ignored.
"""

from __future__ import annotations

import io
from typing import Literal

import cv2
import numpy as np
from PIL import Image, ImageOps

from ave_env.scenes.errors import SceneError
from ave_env.scenes.files import jpeg

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
)
TRANSPARENT_COLOUR = (255, 255, 255)  # what shows through transparent pixels

Fit = Literal["stretch", "crop"]

_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_REDUCED = {  # libjpeg decodes at these fractions of the size for little work
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def image_kind(data: bytes) -> Literal["jpeg", "png", "other"]:
    """Tells the format of an image by its first bytes; file names lie."""
    if data.startswith(jpeg.START):
        return "jpeg"
    return "png" if data.startswith(_PNG_START) else "other"


def decode(data: bytes, path: str, target: tuple[int, int] | None = None) -> np.ndarray:
    """Decodes an image.

    Args:
        data: The encoded image.
        path: Where it comes from, for errors.
        target: Size (height, width) it will be resized to. A JPEG at least four times as large
            may then be decoded at a fraction of its size, at least twice the target.

    Returns:
        RGB image, uint8 `[h, w, 3]`, upright, on a white background where it is transparent.

    Raises:
        SceneError: The data are empty, truncated, damaged, or of an unknown format.
    """
    if not data:
        raise SceneError(path, "is empty (0 bytes)")
    try:
        flag = _opencv_flag(data, path, target)
        if flag is not None:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
            if image is not None:
                return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        return _decode_with_pillow(data, path, target)
    except (SceneError, MemoryError):
        raise
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        if isinstance(error, Image.UnidentifiedImageError) and image_kind(data) == "other":
            start = data[:8].hex(" ")
            reason = f"not an image in a known format (it begins with bytes {start})"
        else:
            reason = f"damaged or truncated: {error}"
        raise SceneError(path, reason) from error


def decode_strictly(data: bytes, path: str, target: tuple[int, int] | None = None) -> np.ndarray:
    """Decodes an image as `decode` does, and refuses also what decoders paint in spite of damage.

    It takes about a quarter longer, and is for whoever looks at images once, before they are used.

    Raises:
        SceneError: The image cannot be decoded, or shows traces of damage (see `jpeg`).
    """
    # A file without an end is truncated, which is what `decode` says.
    if image_kind(data) == "jpeg" and jpeg.END in data and (damage := jpeg.find_damage(data)):
        raise SceneError(path, f"damaged JPEG: {damage}")
    return decode(data, path, target)


def read_size(path: str) -> tuple[int, int] | None:
    """Height and width of an image, of which little is read; None if that is not to be had."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except Exception:  # whoever decodes it will say what is wrong
        return None


def fit(image: np.ndarray, image_size: tuple[int, int], how: Fit) -> np.ndarray:
    """Brings an image to one size, averaging areas where it shrinks.

    Args:
        image: uint8 `[h, w, 3]`.
        image_size: Height and width wanted.
        how: "stretch" resizes each side by itself, as suits panoramas; "crop" resizes the shorter
            side and cuts the middle out of the longer one, as suits photos.

    Returns:
        uint8 `[H, W, 3]`, C-contiguous.
    """
    height, width = image_size
    if how == "crop":
        scale = max(height / image.shape[0], width / image.shape[1])
        scaled = (
            max(height, round(image.shape[0] * scale)),
            max(width, round(image.shape[1] * scale)),
        )
        image = _resize(image, scaled)
        top, left = (scaled[0] - height) // 2, (scaled[1] - width) // 2
        return np.ascontiguousarray(image[top : top + height, left : left + width])
    return np.ascontiguousarray(_resize(image, image_size))


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    # INTER_AREA averages only while neither side grows, so growing is a step of its own.
    smaller = (min(image.shape[0], size[0]), min(image.shape[1], size[1]))
    for step, interpolation in ((smaller, cv2.INTER_AREA), (size, cv2.INTER_LINEAR)):
        if image.shape[:2] != step:
            image = cv2.resize(image, step[::-1], interpolation=interpolation)
    return image


def _opencv_flag(data: bytes, path: str, target: tuple[int, int] | None) -> int | None:
    """Returns how OpenCV should read the image; None where it should not."""
    kind = image_kind(data)
    if kind == "jpeg":
        header = jpeg.read_header(data)
        if header is None:
            return None
        # Scans hold no end marker but the last; one in the header belongs to a thumbnail.
        if not data.endswith(jpeg.END) and data.find(jpeg.END, header.scan) < 0:
            raise SceneError(path, f"truncated JPEG: it ends after {len(data):,} bytes")
        if not header.ordinary:
            return None
        return _REDUCED.get(_reduction(header.size, target), cv2.IMREAD_COLOR)
    if kind == "png":
        if _PNG_END not in data[-1024:]:
            raise SceneError(path, f"truncated PNG: it ends after {len(data):,} bytes")
        # Bytes of the header chunk: 24 = bits per sample, 25 = colour type (0 grey, 2 RGB).
        plain = len(data) > 26 and data[24] == 8 and data[25] in (0, 2)
        if plain and b"tRNS" not in data and b"eXIf" not in data:
            return cv2.IMREAD_COLOR
    return None


def _reduction(size: tuple[int, int], target: tuple[int, int] | None) -> int:
    if target is None:
        return 1
    factor = min(size[0] // (2 * target[0]), size[1] // (2 * target[1]))
    return next((step for step in (8, 4, 2) if step <= factor), 1)


def _decode_with_pillow(data: bytes, path: str, target: tuple[int, int] | None) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        if image.format == "PNG":
            with Image.open(io.BytesIO(data)) as checked:
                checked.verify()  # the checksums; loading does not look at them
        if target is not None:
            image.draft(None, (2 * max(target), 2 * max(target)))  # JPEG only
        image.load()
        return _to_rgb(image, path)


def _to_rgb(image: Image.Image, path: str) -> np.ndarray:
    # Pillow scales the samples of PGM files to 16 bits, whatever their range.
    has_16_bits = image.format in ("PNG", "PPM")
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and has_16_bits):
        # Pillow clips 16-bit grey at 255; its high byte is what other readers show.
        grey = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("I", "F"):
        kind = "floating-point" if image.mode == "F" else "32-bit"
        raise SceneError(path, f"{kind} pixels have no known range; save it with 8 or 16 bits")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, (*TRANSPARENT_COLOUR, 255))
        image = Image.alpha_composite(background, image)
    pixels: np.ndarray = np.array(image.convert("RGB"))
    return pixels

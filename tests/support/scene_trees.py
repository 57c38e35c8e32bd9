"""Small data sets on disk for the tests of scenes."""

import contextlib
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

CORNERS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))  # row-major


def noise(seed: int, height: int = 24, width: int = 32) -> np.ndarray:
    """A smooth random image, which JPEG hardly changes."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def quadrants(height: int = 32, width: int = 64) -> np.ndarray:
    """An image whose four quarters have the colours of `CORNERS`."""
    image = np.zeros((height, width, 3), np.uint8)
    rows, columns = np.mgrid[:height, :width]
    image[:] = np.array(CORNERS, np.uint8)[(rows >= height // 2) * 2 + (columns >= width // 2)]
    return image


def encoded(image: np.ndarray | Image.Image, image_format: str = "JPEG", **options) -> bytes:
    """An image as the bytes of a file."""
    buffer = io.BytesIO()
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    if image_format == "JPEG":
        options = {"quality": 95, "subsampling": 0} | options
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def make_tree(root: Path, images: Mapping[str, int], suffix: str = ".jpg") -> Path:
    """Makes folders with some images each, e.g. `{"train/cat": 5}`; no two images are equal."""
    seed = 0
    for folder, count in images.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            data = encoded(noise(seed), "PNG" if suffix == ".png" else "JPEG")
            (root / folder / f"{number:04d}{suffix}").write_bytes(data)
            seed += 1
    return root


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Lets file permissions apply, also to a test run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)

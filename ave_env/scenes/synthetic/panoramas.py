"""Procedural 360-degree panoramas whose category hides in three small landmarks.

Every scene is a landscape under a sun, crossed by one road. Its category is the combination of
three landmarks out of three each: one in the sky at the azimuth of the sun, one at the horizon
opposite the sun, one on the ground at the azimuth of the road. The light tells everywhere where the
sun is, the fields, walls and cloud streets tell where the road leads, and nothing but the landmarks
tells the category. Hence whoever looks well needs few glimpses, and whoever looks at random many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ave_env.scenes.base import Scenes
from ave_env.scenes.synthetic.backdrop import (
    CLOUD_VARIANTS,
    HILL_VARIANTS,
    TEXTURE_VARIANTS,
    Backdrop,
    build_backdrop,
)
from ave_env.scenes.synthetic.counter import uniform
from ave_env.scenes.synthetic.landmarks import BYSTANDERS, LANDMARKS, Drawing, draw_figure, tinted
from ave_env.scenes.synthetic.palettes import PALETTES

SPLIT_SIZES = {"train": 100_000, "val": 2_000, "test": 2_000}
CLASS_NAMES = tuple(
    f"{sky.__name__}-{horizon.__name__}-{ground.__name__}"
    for sky in LANDMARKS[0]
    for horizon in LANDMARKS[1]
    for ground in LANDMARKS[2]
)[:26]  # the 27th combination is left out: 26 categories, as many as SUN360 has

# Lengths below are in pixels of a 128 x 256 image and scale with the image.
_REFERENCE_SIZE = (128, 256)
_BAND_ROWS = (27.0, 59.0, 101.0)  # centres of the landmarks: sky, horizon, ground
_JITTER = (3.0, 4.0)  # rows, columns
_LANDMARK_HALF_SIZES = (12.0, 12.5, 13.0)
_BYSTANDER_ROWS = ((8.0, 44.0), (62.0, 66.0), (76.0, 118.0))
_BYSTANDER_SCALES = (0.8, 1.0, 1.25)
_BYSTANDER_COUNTS = (8, 14)
_CLEARANCE = 17.0  # no bystander is centred closer to a landmark than this

_DRAWS_PER_SCENE = 128
_LABEL, _SUN, _ROAD, _PALETTE, _CLOUDS, _HILLS, _TEXTURE, _COUNT = range(8)
_HILL_TURNS, _TEXTURE_TURN, _GRAIN_TURN = 8, 10, 11
_JITTERS, _VARIANTS, _BYSTANDER_DRAWS = 12, 18, 24  # 6, 6 and 5 per bystander


@dataclass(frozen=True)
class SceneFactors:
    """What one scene was made from.

    Attributes:
        label: Category, index into the class names.
        landmarks: Names of the landmarks in the sky, at the horizon and on the ground.
        centers: Their centres (y, x) in pixels, int64 `[3, 2]`, in the same order.
        sun_azimuth: Azimuth of the sun in degrees; 0 is the left edge, growing to the right.
        road_azimuth: Direction of the road in degrees.
        palette: Name of the palette.
    """

    label: int
    landmarks: tuple[str, str, str]
    centers: np.ndarray
    sun_azimuth: float
    road_azimuth: float
    palette: str


class _Figure(NamedTuple):
    """A drawing to lay over an image.

    Attributes:
        colours: RGB times alpha, float32 `[h, w, 3]`.
        shows_through: How much of the image remains, 1 - alpha, once for every channel (arrays of
            one shape are multiplied several times as fast), float32 `[h, w, 3]`.
    """

    colours: np.ndarray
    shows_through: np.ndarray

    @classmethod
    def of(cls, drawing: np.ndarray) -> _Figure:
        """From RGB times alpha and alpha, float32 `[h, w, 4]`."""
        return cls(drawing[..., :3].copy(), np.repeat(1 - drawing[..., 3:], 3, axis=-1))


@dataclass(frozen=True)
class _Figures:
    """Figures at one image size, indexed `[palette][band][kind][variant]`."""

    landmarks: list[list[list[list[_Figure]]]]
    bystanders: list[list[list[list[_Figure]]]]


@lru_cache(maxsize=4)
def _tables(image_size: tuple[int, int]) -> tuple[Backdrop, _Figures]:
    tall, wide = (
        size / reference for size, reference in zip(image_size, _REFERENCE_SIZE, strict=True)
    )

    def variants(drawing: Drawing, half_sizes: Sequence[float]) -> list[np.ndarray]:
        figures = [draw_figure(drawing, half * tall, half * wide) for half in half_sizes]
        return [*figures, *(figure[:, ::-1] for figure in figures)]

    def in_every_light(bands: list[list[list[np.ndarray]]]) -> list[list[list[list[_Figure]]]]:
        return [
            [[[_Figure.of(tinted(one, p.tint)) for one in kind] for kind in band] for band in bands]
            for p in PALETTES
        ]

    # Drawing takes much longer than tinting: every figure is drawn once for all palettes.
    landmarks = [[variants(kind, _LANDMARK_HALF_SIZES) for kind in band] for band in LANDMARKS]
    bystanders = [
        [variants(kind, [half * s for s in _BYSTANDER_SCALES]) for kind, half in band]
        for band in BYSTANDERS
    ]
    figures = _Figures(in_every_light(landmarks), in_every_light(bystanders))
    return build_backdrop(image_size), figures


def _place(image: np.ndarray, figure: _Figure, row: int, column: int) -> None:
    """Lays a figure over an image, centred on a pixel; columns wrap, rows are cut."""
    height, width = image.shape[:2]
    tall, wide = figure.colours.shape[:2]
    top, left = row - tall // 2, (column - wide // 2) % width
    first, last = max(0, -top), min(tall, height - top)
    done = 0
    while done < wide:
        part = slice(first, last), slice(done, done + width - left)
        region = image[top + first : top + last, left : left + wide - done]
        region *= figure.shows_through[part]
        region += figure.colours[part]
        done, left = done + region.shape[1], 0


class SyntheticScenes(Scenes):
    """Procedural panoramas in 26 categories; needs no files.

    A scene depends on (seed, split, index) alone: not on numpy's global state, its release, or the
    order of access. Splits never share a scene.

    Args:
        split: "train" (100,000 scenes), "val" (2,000) or "test" (2,000).
        image_size: Height and width in pixels.
        seed: Selects another world with the same rules.

    Raises:
        ValueError: If the split is unknown or the image has no pixels.
    """

    name = "synthetic"
    class_names = CLASS_NAMES
    seamless = True

    def __init__(self, split: str, image_size: tuple[int, int] = (128, 256), seed: int = 0):
        if split not in SPLIT_SIZES:
            raise ValueError(f"split must be one of {', '.join(SPLIT_SIZES)}, got {split!r}")
        height, width = (int(size) for size in image_size)
        if height < 2 or width < 2:
            raise ValueError(f"image_size must be at least (2, 2), got {tuple(image_size)}")
        self.split = split
        self.image_size = (height, width)
        self.seed = int(seed)
        first = list(SPLIT_SIZES).index(split) << 32
        self._first_counter = first
        indexes = np.arange(SPLIT_SIZES[split], dtype=np.int64)
        draws = uniform((first + indexes) * _DRAWS_PER_SCENE + _LABEL, self.seed)
        self.labels = (draws * len(CLASS_NAMES)).astype(np.int64)

    def _draws(self, index: int) -> np.ndarray:
        """The scene's random numbers in [0, 1), float64 `[_DRAWS_PER_SCENE]`."""
        if not 0 <= index < len(self):
            raise IndexError(f"scene {index} is out of range: {self.split} has {len(self)} scenes")
        first = (self._first_counter + int(index)) * _DRAWS_PER_SCENE
        return uniform(np.arange(first, first + _DRAWS_PER_SCENE), self.seed)

    def _columns(self, draws: np.ndarray) -> tuple[int, int]:
        """Columns of the sun and of the road."""
        width = self.image_size[1]
        return int(draws[_SUN] * width), int(draws[_ROAD] * width)

    def _centers(self, draws: np.ndarray) -> np.ndarray:
        """Centres (y, x) of the three landmarks in pixels, int64 `[3, 2]`."""
        height, width = self.image_size
        sun, road = self._columns(draws)
        jitter = (2 * draws[_JITTERS : _JITTERS + 6].reshape(3, 2) - 1) * _JITTER
        rows = (np.asarray(_BAND_ROWS) + jitter[:, 0]) * height / _REFERENCE_SIZE[0]
        columns = np.array([sun, sun + width / 2, road])
        columns += jitter[:, 1] * width / _REFERENCE_SIZE[1]
        return np.stack([np.rint(rows), np.rint(columns) % width], axis=1).astype(np.int64)

    def factors(self, index: int) -> SceneFactors:
        """Returns what a scene was made from, for analysis; agents must not see it.

        Args:
            index: Number of the scene.

        Raises:
            IndexError: If `index` is out of range.
        """
        draws = self._draws(index)
        label = int(self.labels[index])
        sky, horizon, ground = CLASS_NAMES[label].split("-")
        sun, road = (column * 360 / self.image_size[1] for column in self._columns(draws))
        palette = PALETTES[int(draws[_PALETTE] * len(PALETTES))].name
        return SceneFactors(label, (sky, horizon, ground), self._centers(draws), sun, road, palette)

    def load(self, index: int) -> np.ndarray:
        """Draws one panorama.

        Args:
            index: Number of the scene.

        Returns:
            RGB image, uint8 `[H, W, 3]`.

        Raises:
            IndexError: If `index` is out of range.
        """
        draws = self._draws(index)
        tables, figures = _tables(self.image_size)
        palette = int(draws[_PALETTE] * len(PALETTES))
        image = self._landscape(draws, palette, tables)
        centers = self._centers(draws)
        self._place_bystanders(image, draws, centers, figures.bystanders[palette])
        label = int(self.labels[index])
        for band, kind in enumerate((label // 9, label // 3 % 3, label % 3)):
            variants = figures.landmarks[palette][band][kind]
            chosen = variants[int(draws[_VARIANTS + band] * len(variants))]
            _place(image, chosen, *centers[band])
        image += _turned(tables.grain, draws[_GRAIN_TURN], axis=1)
        np.clip(image, 0, 255, out=image)
        return image.astype(np.uint8)

    def _landscape(self, draws: np.ndarray, palette: int, tables: Backdrop) -> np.ndarray:
        height, width = self.image_size
        sky_rows = height // 2
        sun, road = (-column / width for column in self._columns(draws))
        image = np.empty((height, width, 3), np.float32)

        sky, ground = image[:sky_rows], image[sky_rows:]
        clouds = _turned(tables.clouds[int(draws[_CLOUDS] * CLOUD_VARIANTS)], road, axis=1)
        clear = _turned(tables.sky[palette], sun, axis=1)
        np.subtract(_turned(tables.cloud_colour[palette], sun, axis=1), clear, out=sky)
        sky *= clouds
        sky += clear

        variant = int(draws[_HILLS] * HILL_VARIANTS)
        for layer in range(2):
            profile = tables.hills[variant, layer]
            top = max(0, sky_rows - int(np.ceil(profile.max())) - 1)
            heights = _turned(profile, draws[_HILL_TURNS + layer], axis=0)
            rows = sky_rows - np.arange(top, sky_rows, dtype=np.float32)[:, None, None]
            cover = heights - rows
            cover += 1
            np.clip(cover, 0, 1, out=cover)
            behind = image[top:sky_rows]
            change = _turned(tables.hill_colour[palette, layer], sun, axis=1) - behind
            change *= cover
            behind += change

        texture = tables.texture[int(draws[_TEXTURE] * TEXTURE_VARIANTS)]
        shading = _turned(texture, draws[_TEXTURE_TURN], axis=1)
        np.multiply(_turned(tables.ground[palette], road, axis=1), shading, out=ground)
        ground *= _turned(tables.light[palette], sun, axis=1)
        return image

    def _place_bystanders(
        self,
        image: np.ndarray,
        draws: np.ndarray,
        centers: np.ndarray,
        figures: list[list[list[_Figure]]],
    ) -> None:
        height, width = self.image_size
        tall, wide = height / _REFERENCE_SIZE[0], width / _REFERENCE_SIZE[1]
        low, high = _BYSTANDER_COUNTS
        count = low + int(draws[_COUNT] * (high - low + 1))
        table = draws[_BYSTANDER_DRAWS : _BYSTANDER_DRAWS + 5 * count].reshape(count, 5)
        bands = np.searchsorted([0.3, 0.65], table[:, 0], side="right")
        upper, lower = np.asarray(_BYSTANDER_ROWS)[bands].T
        rows = upper + table[:, 1] * (lower - upper)
        columns = table[:, 2] * _REFERENCE_SIZE[1]
        dy = rows[:, None] - centers[:, 0] / tall
        dx = np.abs(columns[:, None] - centers[:, 1] / wide)
        dx = np.minimum(dx, _REFERENCE_SIZE[1] - dx)
        clear = (np.hypot(dy, dx) >= _CLEARANCE).all(axis=1)
        for k in np.argsort(rows, kind="stable"):  # from far to near
            if clear[k]:
                kinds = figures[bands[k]]
                variants = kinds[int(table[k, 3] * len(kinds))]
                figure = variants[int(table[k, 4] * len(variants))]
                _place(image, figure, int(rows[k] * tall), int(columns[k] * wide))


def _turned(table: np.ndarray, turn: float, axis: int) -> np.ndarray:
    """View of a doubled table that starts `turn` of a revolution to the right."""
    width = table.shape[axis] // 2
    start = round(turn * width) % width
    return table[(slice(None),) * axis + (slice(start, start + width),)]

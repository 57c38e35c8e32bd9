"""Sky, clouds, hills and ground of the synthetic panoramas, in equirectangular projection.

Everything here is a table over relative azimuth, computed once per image size. Tables are stored
twice side by side, so that turning the world by any number of columns is a slice, not a copy.
World coordinates: the eye is one unit above a flat ground; clouds drift on a flat layer overhead.
Across the road is `u`, along the road is `v`.
"""

from dataclasses import dataclass

import numpy as np

from ave_env.scenes.synthetic.counter import uniform
from ave_env.scenes.synthetic.palettes import PALETTES, Palette

CLOUD_VARIANTS = 8
HILL_VARIANTS = 12
TEXTURE_VARIANTS = 4

_ROAD_HALF_WIDTH = 0.42
_PLAZA_RADIUS = 0.5
_WALL_DISTANCE = 1.75
_WALL_HEIGHT = 0.36
_SUN_ELEVATION = np.deg2rad(17.0)
_SUN_RADIUS = np.deg2rad(5.0)
_STARS = 220
_HILL_HEIGHTS = (0.085, 0.045)  # far and near, as parts of the image's height


@dataclass(frozen=True)
class Backdrop:
    """Tables for one image size `(H, W)`; the horizon lies below the first `S = H // 2` rows.

    The last axis is red, green and blue, also where they are alike.

    Attributes:
        sky: Clear sky with the sun at column 0, float32 `[palettes, S, 2W, 3]`.
        cloud_colour: Colour of clouds with the sun at column 0, `[palettes, 1, 2W, 3]`.
        clouds: Opacity of the clouds with the road at column 0, `[variants, S, 2W, 3]`.
        ground: Ground in flat light with the road at column 0, `[palettes, H - S, 2W, 3]`.
        light: Factor on the ground with the sun at column 0, `[palettes, 1, 2W, 3]`.
        hills: Heights of hills in rows, far and near, `[variants, 2, 2W, 3]`.
        hill_colour: Colours of hills with the sun at column 0, `[palettes, 2, 1, 2W, 3]`.
        texture: Factor on the ground, turned at random, `[variants, H - S, 2W, 3]`.
        grain: Film grain, added last, `[H, 2W, 3]`.
    """

    sky: np.ndarray
    cloud_colour: np.ndarray
    clouds: np.ndarray
    ground: np.ndarray
    light: np.ndarray
    hills: np.ndarray
    hill_colour: np.ndarray
    texture: np.ndarray
    grain: np.ndarray


def value_noise(x: np.ndarray, y: np.ndarray, key: int) -> np.ndarray:
    """Smooth noise in [0, 1) with features of size one: random lattice values, interpolated."""
    x0, y0 = np.floor(x), np.floor(y)
    tx, ty = x - x0, y - y0
    tx, ty = tx * tx * (3 - 2 * tx), ty * ty * (3 - 2 * ty)
    lattice = (x0.astype(np.int64) + 2**20) + (y0.astype(np.int64) + 2**20) * 2**24

    def corner(dx: int, dy: int) -> np.ndarray:
        return uniform(lattice + dx + dy * 2**24, key)

    upper = corner(0, 0) * (1 - tx) + corner(1, 0) * tx
    lower = corner(0, 1) * (1 - tx) + corner(1, 1) * tx
    return upper * (1 - ty) + lower * ty


def fractal_noise(x: np.ndarray, y: np.ndarray, key: int, octaves: int = 3) -> np.ndarray:
    """Sum of octaves of `value_noise`, in [0, 1)."""
    weights = 0.5 ** np.arange(octaves)
    layers = (w * value_noise(x / w, y / w, key + k) for k, w in enumerate(weights))
    return sum(layers) / weights.sum()


def _smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _in_colour(table: np.ndarray) -> np.ndarray:
    """Repeats every value for red, green and blue.

    Arrays of one shape are combined several times as fast as those that have to be spread.
    """
    return np.repeat(table[..., None], 3, axis=-1)


def _twice(table: np.ndarray, axis: int) -> np.ndarray:
    return np.ascontiguousarray(np.concatenate([table, table], axis=axis), dtype=np.float32)


def _blend(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return first + weight[..., None] * (second - first)


def _angles(rows: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Elevation `[len(rows), 1]` and relative azimuth `[1, width]` of pixel centres."""
    elevation = (0.5 - (rows + 0.5) / height) * np.pi
    azimuth = np.arange(width) / width * 2 * np.pi
    return elevation[:, None], azimuth[None]


def _sky(palette: Palette, elevation: np.ndarray, azimuth: np.ndarray) -> np.ndarray:
    colours = {k: np.asarray(getattr(palette, k), float) for k in ("zenith", "horizon", "far_sky")}
    toward = (1 + np.cos(azimuth)) / 2 * np.ones_like(elevation)
    rim = _blend(colours["far_sky"], colours["horizon"], toward**1.3)
    # The azimuth stays readable up to high elevations: the dome is darker opposite the sun.
    dome = colours["zenith"] * (0.72 + 0.5 * toward[..., None] * np.cos(elevation)[..., None])
    sky = _blend(dome, rim, np.exp(-elevation / np.deg2rad(30)) * np.ones_like(azimuth))
    cosine = np.sin(elevation) * np.sin(_SUN_ELEVATION) + np.cos(elevation) * np.cos(
        _SUN_ELEVATION
    ) * np.cos(azimuth)
    distance = np.arccos(np.clip(cosine, -1, 1))
    sun = np.asarray(palette.sun, float)
    glow = 0.75 * np.exp(-distance / np.deg2rad(22)) + 0.25 * np.exp(-distance / np.deg2rad(60))
    sky = _blend(sky, sun, 0.8 * glow)
    sky = _blend(
        sky, sun * 0.3 + 255 * 0.7, 1 - _smoothstep(_SUN_RADIUS * 0.8, _SUN_RADIUS * 1.2, distance)
    )
    if palette.stars:
        shape = (len(elevation), azimuth.size)
        pixels = np.arange(shape[0] * shape[1]).reshape(shape)
        share = _STARS * np.cos(elevation) / pixels.size
        sparkle = (uniform(pixels, 77) < share) * (0.3 + uniform(pixels, 78))
        sky += (palette.stars * 150 * sparkle * (1 - toward) * np.sin(elevation) ** 0.5)[..., None]
    return sky


def _clouds(elevation: np.ndarray, azimuth: np.ndarray, variant: int) -> np.ndarray:
    """Cloud streets along the road, which thin out in the direction of the road."""
    reach = 1 / np.tan(np.maximum(elevation, np.deg2rad(4)))
    u, v = np.sin(azimuth) * reach, np.cos(azimuth) * reach
    noise = fractal_noise(u * 2.4 + 40, v * 0.8 + 40, key=100 + 8 * variant, octaves=4)
    streets = 0.5 + 0.5 * np.cos(2 * np.pi * u * 0.9 + 2 * np.pi * value_noise(u * 0, v * 0.3, 9))
    cover = 0.8 * noise + 0.2 * streets
    threshold = 0.46 + 0.06 * np.cos(azimuth) + 0.24 * np.sin(elevation) ** 5
    opacity = _smoothstep(0, 0.2, cover - threshold)
    return 0.85 * opacity * _smoothstep(np.deg2rad(4), np.deg2rad(20), elevation)


@dataclass(frozen=True)
class _Rays:
    """Rays below the horizon, `fine` by `fine` to a pixel, and where they meet ground and walls.

    Attributes:
        fine: Rays per pixel along each side.
        depression: Angle below the horizon, `[rows, 1]`.
        azimuth: Relative to the road, `[1, columns]`.
        u: Where a ray meets the ground across the road, `[rows, columns]`.
        v: Where it meets the ground along the road, `[rows, columns]`.
        radius: Distance of that place, `[rows, columns]`.
        wall_height: Height at which it meets the plane of the wall or hedge, `[rows, columns]`.
        along: Where it does so along the road, `[rows, columns]`.
    """

    fine: int
    depression: np.ndarray
    azimuth: np.ndarray
    u: np.ndarray
    v: np.ndarray
    radius: np.ndarray
    wall_height: np.ndarray
    along: np.ndarray

    @classmethod
    def cast(cls, height: int, width: int, sky_rows: int) -> "_Rays":
        """Casts the rays of an image; small images get more of them to a pixel."""
        fine = 4 if height * width <= 2**16 else 2 if height * width <= 2**20 else 1
        rows = sky_rows + (np.arange((height - sky_rows) * fine) + 0.5) / fine - 0.5
        elevation, _ = _angles(rows, width, height)
        depression = np.maximum(-elevation, np.deg2rad(0.2))
        azimuth = (((np.arange(width * fine) + 0.5) / fine - 0.5) / width * 2 * np.pi)[None]
        reach = 1 / np.tan(depression)
        u, v = np.sin(azimuth) * reach, np.cos(azimuth) * reach
        # It meets a wall's plane u = +-d at a height of 1 - (distance to it) * tan(depression).
        wall_reach = _WALL_DISTANCE / np.maximum(np.abs(np.sin(azimuth)), 1e-6)
        return cls(
            fine=fine,
            depression=depression,
            azimuth=azimuth,
            u=u,
            v=v,
            radius=np.broadcast_to(reach, u.shape),
            wall_height=1 - wall_reach * np.tan(depression),
            along=wall_reach * np.cos(azimuth) * np.ones_like(depression),
        )

    def average(self, table: np.ndarray) -> np.ndarray:
        """Means over the rays of each pixel, float32."""
        rows, columns = (size // self.fine for size in table.shape)
        blocks = table.astype(np.float32).reshape(rows, self.fine, columns, self.fine)
        return blocks.mean(axis=(1, 3))


@dataclass(frozen=True)
class _Surfaces:
    """What each ray meets, bool `[rows, columns]`; the ground continues behind what is upright.

    Attributes:
        plaza: Round place at the eye.
        road: Road, kerbs aside.
        kerb: Its kerbs and that of the plaza.
        dashes: Marks in the middle of the road.
        hedge: Hedge right of the road.
        wall: Wall left of it.
    """

    plaza: np.ndarray
    road: np.ndarray
    kerb: np.ndarray
    dashes: np.ndarray
    hedge: np.ndarray
    wall: np.ndarray

    @classmethod
    def met_by(cls, rays: _Rays) -> "_Surfaces":
        """Finds what rays meet."""
        plaza = rays.radius < _PLAZA_RADIUS
        ahead = (rays.v > 0) & ~plaza
        road = (np.abs(rays.u) < _ROAD_HALF_WIDTH) & ahead
        kerb = (np.abs(np.abs(rays.u) - _ROAD_HALF_WIDTH) < 0.05) & ahead
        kerb |= np.abs(rays.radius - _PLAZA_RADIUS) < 0.035
        upright = (rays.wall_height > 0) & (rays.wall_height < _WALL_HEIGHT)
        return cls(
            plaza=plaza,
            road=road,
            kerb=kerb,
            dashes=road & (np.abs(rays.u) < 0.03) & (np.mod(rays.v, 0.8) < 0.4),
            hedge=upright & (np.sin(rays.azimuth) > 0),
            wall=upright & (np.sin(rays.azimuth) < 0),
        )

    @property
    def upright(self) -> np.ndarray:
        """Wall and hedge."""
        return self.hedge | self.wall


def _shading(rays: _Rays, surfaces: _Surfaces) -> np.ndarray:
    """Brightness by pattern: stripes of fields, tiles, courses of stones, leaves, shadows."""
    upright, plaza = surfaces.upright, surfaces.plaza
    shade = np.ones_like(rays.u)
    stripes = np.sign(np.sin(2 * np.pi * rays.u / 0.7)) * _smoothstep(0.02, 0.25, rays.depression)
    field = ~(surfaces.road | plaza | surfaces.kerb | upright)
    shade *= np.where(field, 0.97 + 0.06 * stripes, 1)
    ring = np.floor(rays.radius / 0.125)
    tiles = np.mod(rays.azimuth / (2 * np.pi) * 12 + 0.5 * ring, 1) < 0.07
    shade *= np.where(plaza & (tiles | (np.mod(rays.radius, 0.125) < 0.015)), 0.88, 1)
    course = np.floor(rays.wall_height / 0.09)
    joints = surfaces.wall & (
        (np.mod(rays.wall_height, 0.09) < 0.018) | (np.mod(rays.along + 0.15 * course, 0.3) < 0.035)
    )
    shade *= np.where(joints, 0.85, 1)
    shade *= np.where(upright & (rays.wall_height > _WALL_HEIGHT - 0.05), 1.15, 1)
    leaves = value_noise(rays.along * 7, rays.wall_height * 22, 31)
    shade *= np.where(surfaces.hedge, 0.85 + 0.3 * leaves, 1)
    shade *= np.where(upright, 0.8 + 0.3 * rays.wall_height / _WALL_HEIGHT, 1)
    # Contact shadow on the ground outside the walls.
    shade *= np.where(~upright & (np.abs(np.abs(rays.u) - _WALL_DISTANCE) < 0.12), 0.8, 1)
    return shade


def _materials(height: int, width: int, sky_rows: int) -> dict[str, np.ndarray]:
    """Shares of what the ground is made of, and its brightness, `[H - S, W]` each."""
    rays = _Rays.cast(height, width, sky_rows)
    surfaces = _Surfaces.met_by(rays)
    upright, kerb = surfaces.upright, surfaces.kerb
    tables = {
        "road": surfaces.road & ~(kerb | upright),
        "stone": (surfaces.plaza | kerb | surfaces.wall) & ~surfaces.hedge,
        "hedge": surfaces.hedge,
        "dashes": surfaces.dashes & ~upright,
        "shade": _shading(rays, surfaces),
    }
    return {name: rays.average(table) for name, table in tables.items()}


def _ground(
    palette: Palette, materials: dict[str, np.ndarray], elevation: np.ndarray, azimuth: np.ndarray
) -> np.ndarray:
    # Four fields meet at the eye; their hues turn with the azimuth relative to the road.
    weights = np.stack(
        [np.clip(np.cos(azimuth - quarter * np.pi / 2), 0, None) ** 2 for quarter in range(4)], -1
    )
    ground = (weights / weights.sum(-1, keepdims=True)) @ np.asarray(palette.fields, float)
    ground = ground.mean(-1, keepdims=True) * 0.4 + ground * 0.6
    ground = np.broadcast_to(ground, (*materials["shade"].shape, 3))
    for name in ("road", "stone", "hedge"):
        ground = _blend(ground, np.asarray(getattr(palette, name), float), materials[name])
    ground = _blend(ground, np.full(3, 250.0), 0.8 * materials["dashes"])
    ground = ground * materials["shade"][..., None]
    haze = 0.45 * np.exp(elevation / np.deg2rad(5)) * np.ones_like(azimuth)
    return _blend(ground, np.asarray(palette.far_sky, float) * 0.5 + 105, haze)


def _hills(width: int, variant: int) -> np.ndarray:
    """Profiles of far and near hills in [0, 1], `[2, width]`: noise on a circle, seamless."""
    azimuth = np.arange(width) / width * 2 * np.pi
    x, y = np.cos(azimuth), np.sin(azimuth)
    far = fractal_noise(x * 3.2 + 50, y * 3.2 + 50, key=400 + 16 * variant, octaves=4)
    near = fractal_noise(x * 2.2 + 50, y * 2.2 + 50, key=408 + 16 * variant, octaves=3)
    ridged = 1 - np.abs(2 * far - 1)
    profiles = np.stack([ridged**1.6, near])
    low = profiles.min(axis=1, keepdims=True)
    return (profiles - low) / (profiles.max(axis=1, keepdims=True) - low)


def build_backdrop(image_size: tuple[int, int]) -> Backdrop:
    """Computes all tables for one image size.

    Args:
        image_size: Height and width in pixels.

    Returns:
        The tables.
    """
    height, width = image_size
    sky_rows = height // 2
    above, azimuth = _angles(np.arange(sky_rows), width, height)
    below, _ = _angles(np.arange(sky_rows, height), width, height)
    toward = ((1 + np.cos(azimuth)) / 2)[..., None]
    materials = _materials(height, width, sky_rows)

    def towards_sun(lit: np.ndarray, unlit: np.ndarray) -> np.ndarray:
        return unlit + toward * (lit - unlit)

    def both_hills(p: Palette) -> np.ndarray:
        colours = [np.asarray(p.far_hills, float), np.asarray(p.near_hills, float)]
        warm, cool = np.asarray(p.warm), np.asarray(p.cool)
        return np.stack([towards_sun(c * (1 + warm) / 2, c * (1 + cool) / 2) for c in colours])

    reach = 1 / np.tan(np.maximum(-below, np.deg2rad(1.5)))
    x, z = np.sin(azimuth) * reach, np.cos(azimuth) * reach
    near = _smoothstep(np.deg2rad(6), np.deg2rad(30), -below)  # farther, it would only flicker
    texture = [
        1 + near * 0.3 * (fractal_noise(x * 4 + 99, z * 4 + 99, key=700 + 8 * k, octaves=3) - 0.5)
        for k in range(TEXTURE_VARIANTS)
    ]
    hills = np.stack([_hills(width, k) for k in range(HILL_VARIANTS)])
    hills *= np.asarray(_HILL_HEIGHTS)[:, None] * height
    grain = uniform(np.arange(height * width), 900) + uniform(np.arange(height * width), 901) - 1

    return Backdrop(
        sky=_twice(np.stack([_sky(p, above, azimuth) for p in PALETTES]), 2),
        cloud_colour=_twice(
            np.stack(
                [
                    towards_sun(np.asarray(p.cloud, float), np.asarray(p.cloud_shade, float))
                    for p in PALETTES
                ]
            ),
            2,
        ),
        clouds=_twice(
            _in_colour(np.stack([_clouds(above, azimuth, k) for k in range(CLOUD_VARIANTS)])), 2
        ),
        ground=_twice(np.stack([_ground(p, materials, below, azimuth) for p in PALETTES]), 2),
        light=_twice(
            np.stack([towards_sun(np.asarray(p.warm), np.asarray(p.cool)) for p in PALETTES]), 2
        ),
        hills=_twice(_in_colour(hills), 2),
        hill_colour=_twice(np.stack([both_hills(p) for p in PALETTES]), 3),
        texture=_twice(_in_colour(np.stack(texture)), 2),
        grain=_twice(_in_colour((grain * 3).reshape(height, width)), 1),
    )

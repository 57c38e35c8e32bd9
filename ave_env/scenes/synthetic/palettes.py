"""Colours of the synthetic panoramas: one palette per time of day or season."""

from dataclasses import dataclass

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Palette:
    """Colours (8-bit RGB) of one kind of weather and light.

    Attributes:
        name: What the light looks like.
        zenith: Sky overhead.
        horizon: Sky just above the horizon, on the side of the sun.
        far_sky: Sky just above the horizon, opposite the sun.
        sun: Disc of the sun and its glow.
        cloud: Sunlit clouds.
        cloud_shade: Clouds opposite the sun.
        far_hills: The row of hills farther away.
        near_hills: The row of hills closer by.
        fields: Ground in front of the road's viewer, to the right, behind and to the left.
        road: Surface of the road.
        stone: Plaza, kerbs and the wall left of the road.
        hedge: Hedge right of the road.
        warm: Factor on ground colours on the side of the sun.
        cool: Factor on ground colours opposite the sun.
        tint: Factor on everything that stands in the scene.
        stars: Brightness of stars opposite the sun, 0 for none.
    """

    name: str
    zenith: Colour
    horizon: Colour
    far_sky: Colour
    sun: Colour
    cloud: Colour
    cloud_shade: Colour
    far_hills: Colour
    near_hills: Colour
    fields: tuple[Colour, Colour, Colour, Colour]
    road: Colour
    stone: Colour
    hedge: Colour
    warm: tuple[float, float, float]
    cool: tuple[float, float, float]
    tint: tuple[float, float, float]
    stars: float = 0.0


PALETTES = (
    Palette(
        name="summer",
        zenith=(96, 150, 214),
        horizon=(232, 240, 232),
        far_sky=(112, 168, 220),
        sun=(255, 250, 214),
        cloud=(255, 253, 246),
        cloud_shade=(186, 200, 222),
        far_hills=(112, 148, 178),
        near_hills=(78, 132, 88),
        fields=((112, 172, 72), (216, 190, 92), (172, 124, 88), (72, 150, 120)),
        road=(206, 188, 156),
        stone=(180, 174, 164),
        hedge=(74, 120, 70),
        warm=(1.12, 1.08, 0.98),
        cool=(0.74, 0.79, 0.90),
        tint=(1.00, 1.00, 1.00),
    ),
    Palette(
        name="golden",
        zenith=(92, 124, 186),
        horizon=(255, 214, 140),
        far_sky=(150, 148, 188),
        sun=(255, 238, 170),
        cloud=(255, 232, 196),
        cloud_shade=(150, 138, 172),
        far_hills=(150, 122, 140),
        near_hills=(116, 112, 72),
        fields=((138, 158, 62), (228, 176, 76), (178, 106, 76), (92, 138, 106)),
        road=(212, 178, 138),
        stone=(184, 166, 148),
        hedge=(98, 116, 66),
        warm=(1.15, 1.04, 0.90),
        cool=(0.71, 0.73, 0.88),
        tint=(1.00, 0.97, 0.94),
    ),
    Palette(
        name="dusk",
        zenith=(84, 82, 150),
        horizon=(250, 164, 126),
        far_sky=(122, 106, 168),
        sun=(255, 214, 140),
        cloud=(255, 190, 170),
        cloud_shade=(136, 122, 178),
        far_hills=(112, 96, 146),
        near_hills=(90, 90, 124),
        fields=((92, 128, 82), (186, 134, 88), (142, 82, 94), (60, 106, 122)),
        road=(160, 136, 140),
        stone=(138, 128, 146),
        hedge=(72, 98, 84),
        warm=(1.17, 0.98, 0.88),
        cool=(0.68, 0.70, 0.90),
        tint=(0.96, 0.92, 0.93),
        stars=1.0,
    ),
    Palette(
        name="autumn",
        zenith=(96, 146, 190),
        horizon=(250, 226, 188),
        far_sky=(150, 172, 186),
        sun=(255, 244, 208),
        cloud=(255, 246, 230),
        cloud_shade=(168, 168, 178),
        far_hills=(150, 136, 136),
        near_hills=(160, 120, 86),
        fields=((146, 152, 66), (226, 160, 66), (170, 88, 58), (98, 138, 92)),
        road=(190, 166, 140),
        stone=(172, 162, 150),
        hedge=(146, 98, 66),
        warm=(1.14, 1.04, 0.93),
        cool=(0.74, 0.77, 0.86),
        tint=(1.00, 0.98, 0.96),
    ),
    Palette(
        name="winter",
        zenith=(104, 152, 204),
        horizon=(255, 228, 222),
        far_sky=(142, 160, 200),
        sun=(255, 246, 232),
        cloud=(255, 246, 244),
        cloud_shade=(160, 172, 202),
        far_hills=(190, 204, 226),
        near_hills=(132, 156, 176),
        fields=((186, 214, 186), (236, 218, 184), (212, 180, 174), (162, 206, 214)),
        road=(176, 166, 164),
        stone=(156, 156, 166),
        hedge=(84, 122, 106),
        warm=(1.08, 1.03, 0.98),
        cool=(0.74, 0.79, 0.91),
        tint=(0.99, 0.99, 1.00),
    ),
)

"""Small drawings that stand in the synthetic panoramas: landmarks and bystanders.

Each drawing is made of a few shapes in a frame that spans [-1, 1] in x (to the right) and y (down),
painted at several times the wanted size and averaged, so that edges are smooth at any size.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from ave_env.scenes.synthetic.palettes import Colour

_SUPERSAMPLE = 6
_OUTLINE: Colour = (44, 40, 52)

WHITE: Colour = (250, 248, 240)
RED: Colour = (236, 36, 32)
YELLOW: Colour = (255, 214, 30)
ORANGE: Colour = (255, 122, 0)
LIME: Colour = (140, 226, 30)
VIOLET: Colour = (160, 36, 208)
MAGENTA: Colour = (240, 20, 110)
BLUE: Colour = (24, 84, 228)
SKY_BLUE: Colour = (120, 200, 244)
GREEN: Colour = (58, 132, 62)
BROWN: Colour = (122, 82, 54)
GREY: Colour = (150, 150, 156)
DARK: Colour = (58, 54, 66)


class Sketch:
    """A canvas for one drawing.

    Args:
        height: Height of the finished drawing in pixels.
        width: Width of the finished drawing in pixels.
    """

    def __init__(self, height: int, width: int):
        rows = (np.arange(height * _SUPERSAMPLE) + 0.5) / (height * _SUPERSAMPLE) * 2 - 1
        columns = (np.arange(width * _SUPERSAMPLE) + 0.5) / (width * _SUPERSAMPLE) * 2 - 1
        self.y, self.x = np.meshgrid(rows, columns, indexing="ij")
        self._size = (height, width)
        self._rgb = np.zeros((*self.x.shape, 3), np.float32)  # times alpha
        self._alpha = np.zeros(self.x.shape, np.float32)

    def ellipse(self, x: float, y: float, rx: float, ry: float | None = None) -> np.ndarray:
        """Mask of an ellipse (a disc when `ry` is left out)."""
        return ((self.x - x) / rx) ** 2 + ((self.y - y) / (ry or rx)) ** 2 <= 1

    def box(self, left: float, top: float, right: float, bottom: float) -> np.ndarray:
        """Mask of an upright rectangle."""
        return (self.x >= left) & (self.x <= right) & (self.y >= top) & (self.y <= bottom)

    def polygon(self, *corners: tuple[float, float]) -> np.ndarray:
        """Mask of a polygon with (x, y) corners, by the even-odd rule."""
        inside = np.zeros(self.x.shape, bool)
        for (x0, y0), (x1, y1) in zip(corners, (*corners[1:], corners[0]), strict=True):
            if y0 != y1:
                crosses = (y0 > self.y) != (y1 > self.y)
                inside ^= crosses & (self.x < (x1 - x0) * (self.y - y0) / (y1 - y0) + x0)
        return inside

    def line(self, x0: float, y0: float, x1: float, y1: float, width: float) -> np.ndarray:
        """Mask of a straight stroke with round ends."""
        dx, dy = x1 - x0, y1 - y0
        along = ((self.x - x0) * dx + (self.y - y0) * dy) / (dx * dx + dy * dy)
        along = np.clip(along, 0, 1)
        distance = np.hypot(self.x - x0 - along * dx, self.y - y0 - along * dy)
        return distance <= width / 2

    def paint(self, mask: np.ndarray, colour: Colour, opacity: float = 1.0) -> None:
        """Lays a colour over a mask."""
        self._rgb[mask] += opacity * (np.asarray(colour, np.float32) - self._rgb[mask])
        self._alpha[mask] += opacity * (1 - self._alpha[mask])

    def shade(self, mask: np.ndarray, factor: float) -> None:
        """Darkens or brightens what has been painted under a mask."""
        self._rgb[mask] = np.clip(self._rgb[mask] * factor, 0, 255)

    def outline(self, width: int = 2) -> None:
        """Draws a dark contour, `width` supersampled pixels wide, around what is opaque."""
        solid = np.pad(self._alpha > 0.9, width)
        grown = np.zeros_like(self._alpha, bool)
        height, breadth = grown.shape
        for dy in range(2 * width + 1):
            for dx in range(2 * width + 1):
                grown |= solid[dy : dy + height, dx : dx + breadth]
        self.paint(grown & (self._alpha <= 0.9), _OUTLINE, 0.75)

    def finish(self) -> np.ndarray:
        """Returns the drawing: float32 `[height, width, 4]`, RGB times alpha, then alpha."""
        height, width = self._size
        layers = np.concatenate([self._rgb, self._alpha[..., None]], axis=-1)
        blocks = layers.reshape(height, _SUPERSAMPLE, width, _SUPERSAMPLE, 4)
        return blocks.mean(axis=(1, 3)).astype(np.float32)


Drawing = Callable[[Sketch], None]


def balloon(s: Sketch) -> None:
    """Hot-air balloon with red and white gores."""
    envelope = s.ellipse(0, -0.25, 0.72, 0.7) | s.polygon(
        (-0.62, 0.1), (0.62, 0.1), (0.16, 0.6), (-0.16, 0.6)
    )
    s.paint(envelope, RED)
    bulge = np.sqrt(np.clip(1 - ((s.y + 0.25) / 0.95) ** 2, 0.02, 1))
    s.paint(envelope & (np.abs(s.x / bulge) < 0.1), WHITE)
    s.paint(envelope & (np.abs(np.abs(s.x / bulge) - 0.55) < 0.09), WHITE)
    s.paint(envelope & (np.abs(s.y + 0.12) < 0.07), WHITE)
    s.shade(envelope & (s.x > 0.25 + 0.2 * s.y), 0.86)
    s.paint(s.line(-0.15, 0.58, -0.12, 0.8, 0.05) | s.line(0.15, 0.58, 0.12, 0.8, 0.05), DARK)
    s.paint(s.box(-0.17, 0.74, 0.17, 0.96), BROWN)
    s.outline()


def kite(s: Sketch) -> None:
    """Diamond kite in two greens with a tail of bows."""
    diamond = s.polygon((0.1, -0.98), (0.86, -0.22), (-0.06, 0.6), (-0.76, -0.38))
    s.paint(diamond, LIME)
    left = (s.x - 0.1) * 1.58 + (s.y + 0.98) * 0.16 < 0
    upper = s.y + 0.38 < (s.x + 0.76) * 0.1
    s.paint(diamond & (left ^ upper), (34, 186, 52))
    s.paint(s.line(0.1, -0.98, -0.06, 0.6, 0.05) & diamond, DARK)
    s.paint(s.line(-0.76, -0.38, 0.86, -0.22, 0.05) & diamond, DARK)
    tail = [(-0.06, 0.6), (0.16, 0.72), (-0.1, 0.86)]
    for (x0, y0), (x1, y1) in itertools.pairwise(tail):
        s.paint(s.line(x0, y0, x1, y1, 0.06), DARK)
    for x, y in tail[1:]:
        s.paint(s.polygon((x - 0.26, y - 0.12), (x - 0.26, y + 0.12), (x, y)), LIME)
        s.paint(s.polygon((x + 0.26, y - 0.12), (x + 0.26, y + 0.12), (x, y)), LIME)
    s.outline()


def airship(s: Sketch) -> None:
    """Violet airship with a white stripe, fins and a gondola."""
    fins = s.polygon((0.45, 0), (0.98, -0.62), (0.98, 0.62))
    s.paint(fins, VIOLET)
    s.paint(s.polygon((-0.25, 0.3), (0.25, 0.3), (0.16, 0.68), (-0.16, 0.68)), DARK)
    s.paint(s.box(-0.12, 0.46, -0.02, 0.58) | s.box(0.03, 0.46, 0.13, 0.58), YELLOW)
    hull = s.ellipse(-0.08, 0, 0.88, 0.46)
    s.paint(hull, VIOLET)
    s.shade(hull & (s.y > 0.16), 0.78)
    s.paint(hull & (np.abs(s.y + 0.02) < 0.09), WHITE)
    s.paint(s.ellipse(-0.3, -0.26, 0.36, 0.06), (226, 150, 250))
    s.outline()


def lighthouse(s: Sketch) -> None:
    """White lighthouse with red bands, a lit lantern and a cottage."""
    s.paint(s.ellipse(0, 0.92, 0.9, 0.08), DARK, 0.35)
    s.paint(s.polygon((-0.75, 0.92), (-0.45, 0.7), (0.55, 0.7), (0.8, 0.92)), GREY)
    tower = s.polygon((-0.54, 0.8), (-0.32, -0.5), (0.32, -0.5), (0.54, 0.8))
    s.paint(tower, WHITE)
    s.paint(tower & (np.mod(s.y + 0.5, 0.52) < 0.32), RED)
    s.shade(tower & (s.x > 0.2), 0.86)
    s.paint(s.box(-0.42, -0.56, 0.42, -0.46), DARK)
    s.paint(s.box(-0.24, -0.8, 0.24, -0.56), (255, 236, 130))
    s.paint(s.box(-0.03, -0.8, 0.03, -0.56), DARK)
    s.paint(s.polygon((-0.34, -0.78), (0, -0.99), (0.34, -0.78)), RED)
    s.outline()


def windmill(s: Sketch) -> None:
    """Yellow windmill with four large white sails."""
    s.paint(s.ellipse(0, 0.92, 0.8, 0.08), DARK, 0.35)
    body = s.polygon((-0.66, 0.92), (-0.4, -0.2), (0.4, -0.2), (0.66, 0.92))
    s.paint(body, (255, 200, 0))
    s.shade(body & (s.x > 0.14), 0.88)
    s.paint(s.ellipse(0, -0.22, 0.4, 0.24), (255, 160, 0))
    s.paint(s.box(-0.1, 0.6, 0.12, 0.92), DARK)
    s.paint(s.box(-0.08, 0.18, 0.08, 0.34), DARK)
    for angle in np.deg2rad([28, 118, 208, 298]):
        dx, dy = np.cos(angle), np.sin(angle)
        along = s.x * dx + (s.y + 0.22) * dy
        across = -s.x * dy + (s.y + 0.22) * dx
        s.paint((along > 0.16) & (along < 0.92) & (across > -0.04) & (across < 0.2), WHITE)
        s.paint((along > 0) & (along < 0.95) & (np.abs(across) < 0.05), DARK)
    s.paint(s.ellipse(0, -0.22, 0.1), RED)
    s.outline(1)


def castle(s: Sketch) -> None:
    """Blue castle with two round towers."""
    s.paint(s.ellipse(0, 0.92, 0.95, 0.08), DARK, 0.35)
    keep = s.box(-0.5, 0.1, 0.5, 0.92) | (s.box(-0.5, -0.06, 0.5, 0.1) & (np.mod(s.x, 0.26) < 0.14))
    s.paint(keep, (64, 124, 250))
    s.shade(keep & (s.x > 0.1), 0.9)
    for x in (-0.62, 0.62):
        s.paint(s.box(x - 0.27, -0.3, x + 0.27, 0.92), (90, 148, 255))
        s.shade(s.box(x + 0.08, -0.3, x + 0.27, 0.92), 0.84)
        s.paint(s.polygon((x - 0.34, -0.26), (x, -0.95), (x + 0.34, -0.26)), (16, 44, 200))
        s.shade(s.polygon((x + 0.04, -0.26), (x, -0.95), (x + 0.34, -0.26)), 0.76)
        s.paint(s.box(x - 0.07, 0.0, x + 0.07, 0.26), DARK)
    s.paint(s.box(-0.2, 0.5, 0.2, 0.92) | s.ellipse(0, 0.52, 0.2), (20, 30, 110))
    s.outline()


def fountain(s: Sketch) -> None:
    """Round basin of blue water with a white jet."""
    water: Colour = (0, 112, 255)
    s.paint(s.ellipse(0, 0.5, 0.99, 0.48), DARK, 0.3)
    s.paint(s.ellipse(0, 0.36, 0.98, 0.56), (214, 226, 240))
    s.paint(s.ellipse(0, 0.32, 0.88, 0.46), water)
    s.paint(s.ellipse(0, 0.42, 0.56, 0.22), (70, 196, 255))
    s.paint(s.box(-0.12, -0.2, 0.12, 0.36), (214, 226, 240))
    s.paint(s.ellipse(0, -0.12, 0.5, 0.17), (214, 226, 240))
    s.paint(s.ellipse(0, -0.15, 0.42, 0.1), water)
    for side in (-1, 1):
        for reach, fall in ((0.2, 0.5), (0.44, 0.8)):
            bend = ((s.x * side - reach) / reach) ** 2
            arc = np.abs(s.y - (fall * bend - 0.84)) < 0.1
            s.paint(arc & (s.x * side > 0) & (s.x * side < 1.95 * reach), WHITE, 0.92)
    s.paint(s.line(0, -0.9, 0, -0.2, 0.16), WHITE)
    s.outline()


def tent(s: Sketch) -> None:
    """Orange ridge tent with a dark opening and a pennant."""
    s.paint(s.ellipse(0.05, 0.78, 0.98, 0.2), DARK, 0.3)
    s.paint(s.polygon((-0.1, -0.62), (0.5, -0.5), (0.95, 0.66), (0.3, 0.84)), (222, 84, 0))
    front = s.polygon((-0.1, -0.62), (-0.9, 0.78), (0.42, 0.84))
    s.paint(front, ORANGE)
    s.paint(front & (np.mod(s.y + 0.1, 0.5) < 0.14), YELLOW)
    s.paint(s.polygon((-0.1, -0.2), (-0.4, 0.8), (0.08, 0.82)), (70, 44, 40))
    s.paint(s.line(-0.1, -0.96, -0.1, -0.6, 0.05), DARK)
    s.paint(s.polygon((-0.1, -0.98), (0.35, -0.84), (-0.1, -0.7)), GREEN)
    s.outline()


def picnic(s: Sketch) -> None:
    """Magenta and white chequered blanket with a basket and a parasol."""
    blanket = s.polygon((-0.62, -0.1), (0.7, -0.1), (0.96, 0.86), (-0.96, 0.86))
    s.paint(blanket, WHITE)
    depth = (s.y + 0.1) / 0.96
    across = s.x / (0.64 + 0.34 * depth)
    chequer = (np.floor(across * 3) + np.floor(depth * 4)) % 2 == 0
    s.paint(blanket & chequer, MAGENTA)
    s.paint(s.box(0.3, 0.16, 0.76, 0.5), BROWN)
    s.paint(s.ellipse(0.53, 0.16, 0.23, 0.08), (176, 128, 80))
    s.paint(s.line(-0.2, -0.8, -0.2, 0.36, 0.07), WHITE)
    parasol = s.ellipse(-0.2, -0.36, 0.72, 0.58) & (s.y < -0.34)
    s.paint(parasol, MAGENTA)
    s.paint(parasol & (np.abs(np.abs(s.x + 0.2) - 0.3) < 0.08), WHITE)
    s.outline()


def bird(s: Sketch) -> None:
    """A gull on the wing."""
    reach = np.abs(s.x)
    arch = 0.3 - 1.1 * np.sqrt(reach) + 0.75 * reach
    s.paint((np.abs(s.y - arch) < 0.24 * (1.05 - reach)) & (reach < 0.97), DARK, 0.85)


def puff(s: Sketch) -> None:
    """A small round cloud."""
    cloud = s.ellipse(-0.5, 0.2, 0.4) | s.ellipse(0, -0.05, 0.5) | s.ellipse(0.5, 0.15, 0.42)
    cloud &= s.y < 0.45
    s.paint(cloud, WHITE, 0.9)
    s.paint(cloud & (s.y > 0.2), (206, 208, 222), 0.7)


def round_tree(s: Sketch) -> None:
    """A broad-leaved tree."""
    s.paint(s.ellipse(0, 0.92, 0.7, 0.08), DARK, 0.3)
    s.paint(s.box(-0.12, 0.2, 0.12, 0.92), BROWN)
    for x, y, r in ((-0.4, 0.0, 0.48), (0.4, 0.02, 0.46), (0, -0.42, 0.52)):
        s.paint(s.ellipse(x, y, r, r), (70, 128, 60))
    s.paint(s.ellipse(-0.18, -0.45, 0.28, 0.26), (100, 156, 76))


def pine(s: Sketch) -> None:
    """A fir tree in three tiers."""
    s.paint(s.ellipse(0, 0.92, 0.6, 0.08), DARK, 0.3)
    s.paint(s.box(-0.1, 0.6, 0.1, 0.92), BROWN)
    for top, bottom, half in ((-0.1, 0.72, 0.66), (-0.5, 0.3, 0.52), (-0.96, -0.15, 0.38)):
        s.paint(s.polygon((0, top), (half, bottom), (-half, bottom)), (38, 96, 66))
        s.paint(s.polygon((0, top), (-half * 0.2, bottom), (-half, bottom)), (56, 118, 78))


def cottage(s: Sketch) -> None:
    """A small house with a red-brown roof."""
    s.paint(s.ellipse(0, 0.86, 0.95, 0.1), DARK, 0.3)
    s.paint(s.box(-0.72, -0.02, 0.72, 0.86), (214, 204, 186))
    s.paint(s.polygon((-0.92, 0.04), (-0.5, -0.62), (0.5, -0.62), (0.92, 0.04)), (150, 112, 92))
    s.paint(s.box(0.34, -0.9, 0.54, -0.4), (140, 112, 100))
    s.paint(s.box(-0.12, 0.3, 0.16, 0.86), BROWN)
    s.paint(s.box(-0.54, 0.24, -0.28, 0.52) | s.box(0.34, 0.24, 0.58, 0.52), SKY_BLUE)


def bush(s: Sketch) -> None:
    """A low bush with a few blossoms."""
    s.paint(s.ellipse(0, 0.7, 0.95, 0.2), DARK, 0.3)
    for x, y, r in ((-0.45, 0.3, 0.45), (0.42, 0.32, 0.44), (0, 0.05, 0.5)):
        s.paint(s.ellipse(x, y, r, r), (66, 122, 62))
    for x, y in ((-0.4, 0.2), (0.1, -0.1), (0.42, 0.34), (-0.06, 0.44)):
        s.paint(s.ellipse(x, y, 0.13), (246, 190, 214))


def rock(s: Sketch) -> None:
    """A boulder."""
    s.paint(s.ellipse(0.05, 0.6, 0.95, 0.25), DARK, 0.3)
    s.paint(
        s.polygon((-0.85, 0.62), (-0.6, -0.2), (0.0, -0.55), (0.6, -0.2), (0.85, 0.6)),
        (134, 130, 132),
    )
    s.paint(s.polygon((-0.6, -0.2), (0, -0.55), (0.2, 0.0), (-0.35, 0.2)), (168, 164, 162))


def sheep(s: Sketch) -> None:
    """A grazing sheep."""
    s.paint(s.ellipse(0, 0.78, 0.9, 0.16), DARK, 0.3)
    for x in (-0.4, -0.15, 0.2, 0.42):
        s.paint(s.box(x - 0.06, 0.3, x + 0.06, 0.8), DARK)
    for x, y in ((-0.35, 0.05), (0.0, -0.08), (0.34, 0.06), (0, 0.2)):
        s.paint(s.ellipse(x, y, 0.38, 0.34), (238, 234, 224))
    s.paint(s.ellipse(-0.74, 0.1, 0.2, 0.24), DARK)


def flowers(s: Sketch) -> None:
    """A patch of flowers."""
    spots = ((-0.6, 0.1), (-0.25, 0.5), (0.1, -0.1), (0.45, 0.4), (0.7, 0.0), (-0.1, 0.15))
    for x, y in spots:
        s.paint(s.line(x, y, x, y + 0.3, 0.1), GREEN)
    for k, (x, y) in enumerate(spots):
        s.paint(s.ellipse(x, y, 0.17), ((244, 110, 150), (250, 226, 110), WHITE)[k % 3])


# One decisive landmark stands in each of three bands of elevation.
SKY_LANDMARKS: tuple[Drawing, ...] = (balloon, kite, airship)
HORIZON_LANDMARKS: tuple[Drawing, ...] = (lighthouse, windmill, castle)
GROUND_LANDMARKS: tuple[Drawing, ...] = (fountain, tent, picnic)
LANDMARKS = (SKY_LANDMARKS, HORIZON_LANDMARKS, GROUND_LANDMARKS)

# Bystanders say nothing about the category: drawing, half height in 1/128 of the image's height.
SKY_BYSTANDERS: tuple[tuple[Drawing, float], ...] = ((bird, 2.5), (puff, 5.0))
HORIZON_BYSTANDERS: tuple[tuple[Drawing, float], ...] = (
    (round_tree, 6.0),
    (pine, 6.5),
    (cottage, 4.5),
    (bush, 3.5),
)
GROUND_BYSTANDERS: tuple[tuple[Drawing, float], ...] = (
    (rock, 4.0),
    (sheep, 4.5),
    (flowers, 4.0),
    (bush, 4.5),
)
BYSTANDERS = (SKY_BYSTANDERS, HORIZON_BYSTANDERS, GROUND_BYSTANDERS)


def draw_figure(drawing: Drawing, half_height: float, half_width: float) -> np.ndarray:
    """Draws one figure.

    Args:
        drawing: One of the functions of this module.
        half_height: Half of the figure's height in pixels.
        half_width: Half of the figure's width in pixels.

    Returns:
        float32 `[h, w, 4]`: RGB (0 to 255) times alpha, then alpha (0 to 1).
    """
    sketch = Sketch(max(1, round(2 * half_height)), max(1, round(2 * half_width)))
    drawing(sketch)
    return sketch.finish()


def tinted(figure: np.ndarray, tint: Sequence[float]) -> np.ndarray:
    """A figure in another light.

    Args:
        figure: What `draw_figure` returns.
        tint: Factors on red, green and blue.
    """
    figure = figure.copy()
    figure[..., :3] *= np.asarray(tint, np.float32)
    return figure

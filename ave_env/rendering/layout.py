"""Where everything goes in a frame: geometry only, no drawing."""

import math
from dataclasses import dataclass
from functools import cache

MARGIN = 28  # between the edge of the frame and its contents
GAP = 22  # between neighbours
HEADER = 66
CAPTION = 26  # line of text above a panel
FOOT = 20  # line below the last picture, for its colour scale
ROW = 25  # one prediction, name and bar side by side
TALL_ROW = 42  # one prediction, its name above the bar
MAX_PREDICTIONS = 5
METER = 125  # the compute panel, without its caption

_MAX_WIDTH = 960  # of all pictures together
_MAX_SCENE = 512  # height of the scene, with smaller pictures beside it
_MAX_EQUAL = 400  # height of pictures of equal size
_SIDEBAR = 300


@dataclass(frozen=True)
class Area:
    """A rectangle of the frame, in pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """First column to the right of the area."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """First row below the area."""
        return self.y + self.height

    def moved(self, dx: int, dy: int) -> "Area":
        """Returns the same rectangle elsewhere."""
        return Area(self.x + dx, self.y + dy, self.width, self.height)


@dataclass(frozen=True)
class Layout:
    """A frame's size and the areas of its panels; captions stand above the areas."""

    width: int
    height: int
    header: Area
    pictures: tuple[Area, ...]  # the scene first
    predictions: Area | None
    meter: Area | None


@cache
def plan(
    image_size: tuple[int, int],
    num_pictures: int,
    num_predictions: int,
    metered: bool,
    with_scale: bool = False,
) -> Layout:
    """Lays out a frame.

    Args:
        image_size: Height and width of the scene.
        num_pictures: The scene and the smaller pictures that go with it.
        num_predictions: Lines of the prediction panel; 0 for no such panel.
        metered: Whether there is a compute panel.
        with_scale: Whether the last picture has a colour scale below it.

    Returns:
        The layout; its height and width are even, as video encoders require.
    """
    pictures = _place_pictures(image_size[1] / image_size[0], num_pictures)
    width = max(picture.right for picture in pictures)
    height = max(max(each.bottom for each in pictures), pictures[-1].bottom + FOOT * with_scale)
    predictions = meter = None
    if width < 840 and (num_predictions or (metered and width < _SIDEBAR)):  # a sidebar
        left, top = width + GAP + 6, CAPTION
        width = left + _SIDEBAR
        if num_predictions:
            predictions = Area(left, top, _SIDEBAR, num_predictions * TALL_ROW)
            top = predictions.bottom + GAP + CAPTION
        if metered:
            top = max(top, height - METER)  # on one line with the foot of the pictures
            meter = Area(left, top, _SIDEBAR, METER)
            top = meter.bottom
        height = max(height, top)
    elif num_predictions or metered:  # a row below the pictures
        top, lines = height + GAP + CAPTION, num_predictions * ROW
        share = (width - 2 * GAP) // 2 if num_predictions and metered else width
        if num_predictions:
            predictions = Area(0, top, share, lines)
        if metered:
            meter = Area(width - share, top, share, METER)
        height = top + max(lines, METER if metered else 0)

    def on_page(area: Area) -> Area:
        return area.moved(MARGIN, MARGIN + HEADER)

    return Layout(
        width=_even(width + 2 * MARGIN),
        height=_even(height + HEADER + 2 * MARGIN),
        header=Area(MARGIN, MARGIN, width, HEADER),
        pictures=tuple(map(on_page, pictures)),
        predictions=predictions and on_page(predictions),
        meter=meter and on_page(meter),
    )


def _place_pictures(aspect: float, count: int) -> list[Area]:
    """Places `count` pictures of one aspect (width / height), the scene first, from (0, 0)."""
    others = count - 1
    if aspect > 2.5:  # a strip: the scene at full width, the others in a row beneath
        scene = Area(0, CAPTION, _MAX_WIDTH, _pixels(_MAX_WIDTH / aspect))
        if not others:
            return [scene]
        width = (_MAX_WIDTH - GAP * (others - 1)) // others
        top = scene.bottom + GAP // 2 + CAPTION
        row = [Area(i * (width + GAP), top, width, _pixels(width / aspect)) for i in range(others)]
        return [scene, *row]
    if others <= 1 or aspect < 0.6:  # equals, side by side
        height = min(_MAX_EQUAL, (_MAX_WIDTH - GAP * others) / (count * aspect))
        width = _pixels(height * aspect)
        return [Area(i * (width + GAP), CAPTION, width, _pixels(height)) for i in range(count)]
    # A large scene, the others stacked beside it. With s = spacing in the stack, the heights obey
    # h = others * h_small + s and the widths aspect * (h + h_small) + GAP = _MAX_WIDTH.
    spacing = (others - 1) * (GAP // 2 + CAPTION)
    height = ((_MAX_WIDTH - GAP) / aspect + spacing / others) / (1 + 1 / others)
    scene_height = _pixels(min(height, _MAX_SCENE))
    small = (scene_height - spacing) / others
    width = _pixels(scene_height * aspect)
    step = small + GAP // 2 + CAPTION
    stack = [
        Area(width + GAP, CAPTION + round(i * step), _pixels(small * aspect), _pixels(small))
        for i in range(others)
    ]
    return [Area(0, CAPTION, width, scene_height), *stack]


def _pixels(length: float) -> int:
    return max(1, math.floor(length + 1e-6))


def _even(length: int) -> int:
    return length + length % 2

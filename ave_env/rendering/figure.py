"""One frame of an episode, panel by panel."""

import itertools
from collections.abc import Callable

import numpy as np

from ave_env.rendering import ink
from ave_env.rendering.layout import FOOT, MAX_PREDICTIONS, ROW, TALL_ROW, Area, plan
from ave_env.rendering.snapshot import Snapshot
from ave_env.rendering.tokens import describe_tokens, paint_tokens
from encoders.flops.count import FLOPS_CONVENTION

DIMMED = 0.46  # brightness left to the parts of the scene that no glimpse has shown

_MAX_PIPS = 16  # more glimpses than this: a bar in place of one mark per glimpse
_SMALL_GLIMPSE = 48  # pixels of the frame; the number of a smaller one stands outside

_Box = tuple[int, int, int, int]  # y0, x0, y1, x1


def draw(snapshot: Snapshot) -> np.ndarray:
    """Draws one moment of an episode.

    The scene is dimmed where no glimpse has been, and the glimpses are numbered in their order;
    beside it stand what the agent knows and, where `snapshot` has them, its reconstruction,
    what became of its tokens, its entropy map, its prediction and the compute spent.

    Args:
        snapshot: What to show.

    Returns:
        RGB frame, uint8 `[H', W', 3]` with even H' and W', of one size throughout an episode.
    """
    pictures: list[Callable[[np.ndarray, Area, Snapshot], None]] = [_draw_scene, _draw_known]
    if snapshot.reconstruction is not None:
        pictures.append(_draw_reconstruction)
    if snapshot.tokens is not None:
        pictures.append(_draw_tokens)
    if snapshot.entropy is not None:
        pictures.append(_draw_entropy)
    lines = min(len(snapshot.class_names), MAX_PREDICTIONS)
    layout = plan(
        (snapshot.scene.shape[0], snapshot.scene.shape[1]),
        num_pictures=len(pictures),
        num_predictions=0 if snapshot.probabilities is None else lines,
        metered=snapshot.flops_total is not None,
        with_scale=snapshot.entropy is not None,
    )
    canvas = ink.blank(layout.height, layout.width)
    _draw_header(canvas, layout.header, snapshot)
    for draw_picture, area in zip(pictures, layout.pictures, strict=True):
        draw_picture(canvas, area, snapshot)
    if layout.predictions:
        _draw_predictions(canvas, layout.predictions, snapshot)
    if layout.meter:
        _draw_meter(canvas, layout.meter, snapshot)
    return canvas


def _draw_header(canvas: np.ndarray, area: Area, snapshot: Snapshot) -> None:
    """Writes the true class and the source at the left, the progress at the right."""
    first, second = area.y + 9, area.y + 36
    step, budget = len(snapshot.boxes), snapshot.num_glimpses
    reserved = 18 + ink.write(
        canvas, f"glimpse {step} of {budget}", area.right, first, size=16, bold=True, align="right"
    )
    for name, value, form in (
        ("reward", snapshot.reward, "+.3f"),
        ("RMSE", snapshot.rmse, ".1f"),
    ):
        if value is not None:
            score = f"{name} {value:{form}}".replace("-", "\N{MINUS SIGN}")
            right = area.right - reserved
            reserved += 18 + ink.write(
                canvas, score, right, first + 1, color=ink.MUTED, align="right"
            )
    if budget <= _MAX_PIPS:
        for index in range(budget):
            color = ink.INK if index < step - 1 else ink.AMBER if index < step else ink.TRACK
            ink.disc(canvas, area.right - 7 - 16 * (budget - 1 - index), second, 5, color)
    else:
        ink.block(canvas, area.right - 200, second - 4, 200, 8, ink.TRACK)
        ink.block(canvas, area.right - 200, second - 4, 200 * step / budget, 8, ink.INK)
    room = area.width - reserved - 6
    name = snapshot.class_names[snapshot.label]
    used = ink.write(canvas, "true class", area.x, first, size=16, color=ink.MUTED) + 9
    ink.write(
        canvas, name, area.x + used, first, size=16, bold=True, color=ink.GREEN, width=room - used
    )
    ink.write(canvas, snapshot.title, area.x, second, color=ink.MUTED, width=area.width - 270)


def _draw_scene(canvas: np.ndarray, area: Area, snapshot: Snapshot) -> None:
    import cv2

    _caption(canvas, area, "scene and glimpses")
    scene = _resized(snapshot.scene, area)
    view = _view(canvas, area)
    grey = cv2.cvtColor(cv2.cvtColor(scene, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    view[:] = cv2.addWeighted(scene, DIMMED / 2, grey, DIMMED / 2, 0)
    _paste_seen(view, scene, snapshot.visited)

    height, width = snapshot.scene.shape[:2]
    scale = np.array([area.height / height, area.width / width] * 2)
    boxes: list[_Box] = [tuple(box) for box in np.rint(snapshot.boxes * scale).astype(int).tolist()]
    smallest = min((box[2] - box[0] for box in boxes), default=area.height)
    small = smallest < _SMALL_GLIMPSE
    radius = float(np.clip(0.13 * smallest, 7, 12))
    newest = len(boxes) - 1
    parts = [_parts(box, area.width) for box in boxes]
    for y0, x0, y1, x1 in itertools.chain(*parts):  # also pixels that are no whole patches
        view[y0:y1, max(x0, 0) : x1] = scene[y0:y1, max(x0, 0) : x1]
    for index, pair in enumerate(parts):
        color, thickness = (ink.AMBER, 3) if index == newest else (ink.PAPER, 2)
        outside = thickness * small  # of a small glimpse no pixel is to be lost to its frame
        for y0, x0, y1, x1 in pair:
            box = (y0 - outside, x0 - outside, y1 + outside, x1 + outside)
            ink.frame(view, (box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1), ink.INK, 1)
            ink.frame(view, box, color, thickness)
    for index, box in enumerate(boxes):
        y, x = _place_beside(box, radius, area) if small else _place_inside(box, radius, area)
        ink.disc(view, x, y, radius + 1, ink.INK)
        ink.disc(view, x, y, radius, ink.AMBER if index == newest else ink.PAPER)
        ink.write(view, str(index + 1), x, y, size=round(radius * 1.2), bold=True, align="center")


def _parts(box: _Box, width: int) -> list[_Box]:
    """The box, and where it leaves the right edge of a panorama also its part at the left."""
    y0, x0, y1, x1 = box
    return [box, (y0, x0 - width, y1, x1 - width)] if x1 > width else [box]


def _place_inside(box: _Box, radius: float, area: Area) -> tuple[float, float]:
    """Where the number of a glimpse stands: y, x in its top left corner."""
    return box[0] + radius + 4, min(box[1] + radius + 4, area.width - radius - 1)


def _place_beside(box: _Box, radius: float, area: Area) -> tuple[float, float]:
    """Where the number of a small glimpse stands: y, x beyond a corner, so as to hide little."""
    y0, x0, y1, x1 = box
    beyond, edge = 0.7 * radius, radius + 1
    for y in (y0 - beyond, y1 + beyond):
        for x in (x0 - beyond, x1 + beyond):
            if edge <= y <= area.height - edge and edge <= x <= area.width - edge:
                return y, x
    return _place_inside(box, radius, area)


def _draw_known(canvas: np.ndarray, area: Area, snapshot: Snapshot) -> None:
    _caption(canvas, area, "known", f"{np.mean(snapshot.visited > 0):.0%} seen")
    view = _view(canvas, area)
    view[:] = ink.UNKNOWN
    _paste_seen(view, _resized(snapshot.scene, area), snapshot.visited)


def _draw_reconstruction(canvas: np.ndarray, area: Area, snapshot: Snapshot) -> None:
    assert snapshot.reconstruction is not None
    _caption(canvas, area, "reconstruction")
    _view(canvas, area)[:] = _resized(snapshot.reconstruction, area)


def _draw_tokens(canvas: np.ndarray, area: Area, snapshot: Snapshot) -> None:
    """Shows what stands for each patch: merged ones share a colour, dropped ones are crossed."""
    assert snapshot.tokens is not None
    _caption(canvas, area, "tokens", describe_tokens(snapshot.tokens, snapshot.depth))
    scene = _resized(snapshot.scene, area)
    _view(canvas, area)[:] = paint_tokens(scene, snapshot.tokens, snapshot.depth)


def _draw_entropy(canvas: np.ndarray, area: Area, snapshot: Snapshot) -> None:
    """Shows the map from 0 (black: of seen patches nothing is uncertain) to its own maximum."""
    import cv2

    assert snapshot.entropy is not None
    peak = float(snapshot.entropy.max())
    _caption(canvas, area, "entropy", "black: seen")
    levels = np.clip(snapshot.entropy / max(peak, 1e-9) * 255, 0, 255).astype(np.uint8)
    _view(canvas, area)[:] = cv2.resize(
        ink.heat(levels), (area.width, area.height), interpolation=cv2.INTER_NEAREST
    )
    y = area.bottom + FOOT - 8
    left = area.x + 6 + ink.write(canvas, "0", area.x, y, size=12, color=ink.MUTED)
    right = area.right - ink.write(
        canvas, f"{peak:.1f} bit", area.right, y, size=12, color=ink.MUTED, align="right"
    )
    if (length := right - 6 - left) > 0:
        levels = np.linspace(0, 255, length).round().astype(np.uint8)
        canvas[y - 4 : y + 4, left : left + length] = ink.heat(levels[None])


def _draw_predictions(canvas: np.ndarray, area: Area, snapshot: Snapshot) -> None:
    """Shows the likeliest classes as bars; the true one always has a line, with its rank."""
    assert snapshot.probabilities is not None
    _caption(canvas, area, "prediction")
    if not snapshot.trained_head:
        middle = area.y + min(area.height, 60) / 2
        ink.write(canvas, "untrained head", area.x, middle - 10, size=16, bold=True)
        note = "not trained on these classes: no prediction"
        ink.write(canvas, note, area.x, middle + 14, size=12, color=ink.MUTED, width=area.width)
        return
    predictions = snapshot.predictions(MAX_PREDICTIONS)
    tall = area.height >= TALL_ROW * len(predictions)
    left, percent = area.x + 34, 54
    bar_width = area.right - percent - left if tall else round(0.4 * (area.width - 34 - percent))
    bar_left = area.right - percent - bar_width
    room = area.right - left if tall else bar_left - left - 12
    for line, (rank, index, probability) in enumerate(predictions):
        true = index == snapshot.label
        name, y = snapshot.class_names[index], area.y + round(ROW * 0.5)
        y += line * (TALL_ROW if tall else ROW)
        color = ink.GREEN if true else ink.INK
        ink.write(canvas, str(rank + 1), left - 10, y, size=12, color=ink.MUTED, align="right")
        ink.write(canvas, name, left, y, bold=true, color=color, width=room)
        y += 17 if tall else 0
        bar = ink.GREEN if true else ink.BLUE
        for fill, color in ((1.0, ink.TRACK), (probability, bar)):
            ink.block(canvas, bar_left, y - 6, bar_width * fill, 12, color)
        ink.write(canvas, f"{probability:.1%}", area.right, y, size=12, align="right")


def _draw_meter(canvas: np.ndarray, area: Area, snapshot: Snapshot) -> None:
    """Compares the cost so far with that of encoding everything again; amber: the last step."""
    assert snapshot.flops_total is not None
    total, alternative = snapshot.flops_total, snapshot.flops_without_recycling
    highest = max(total, alternative)
    limit = max(snapshot.flops_limit or _round_up(highest), highest)
    decimals = int(np.clip(2 - np.floor(np.log10(limit / 1e9)), 0, 9))  # three digits of the limit
    older = total - snapshot.flops_step

    _caption(canvas, area, "compute", FLOPS_CONVENTION)
    bars = (
        ("with recycling", total, ((total, ink.AMBER), (older, ink.BLUE))),
        ("encoding all again", alternative, ((alternative, ink.MUTED),)),
    )
    for line, (name, cost, fills) in enumerate(bars):
        y = area.y + 46 * line
        amount = f"{cost / 1e9:.{decimals}f} GFLOPs"
        ink.write(canvas, name, area.x, y + 13)
        ink.write(canvas, amount, area.right, y + 13, bold=True, align="right")
        for fill, color in ((limit, ink.TRACK), *fills):
            ink.block(canvas, area.x, y + 25, area.width * fill / limit, 14, color)
    y = area.bottom - 14
    ink.disc(canvas, area.x + 5, y, 4.5, ink.AMBER)
    amount = f"newest glimpse {snapshot.flops_step / 1e9:.{decimals}f} GFLOPs"
    ink.write(canvas, amount, area.x + 16, y, size=12, color=ink.MUTED)
    if alternative:
        saved = f"{1 - total / alternative:.0%} saved"
        ink.write(canvas, saved, area.right, y, size=12, bold=True, align="right")


def _caption(canvas: np.ndarray, area: Area, name: str, note: str = "") -> None:
    """Names a panel, with a note at the right where there is room for the whole of it."""
    y = area.y - 11
    used = ink.write(canvas, name, area.x, y, size=12, width=area.width)
    if ink.shorten(note, 12, False, area.width - used - 8) == note:
        ink.write(canvas, note, area.right, y, size=12, color=ink.MUTED, align="right")


def _view(canvas: np.ndarray, area: Area) -> np.ndarray:
    return canvas[area.y : area.bottom, area.x : area.right]


def _resized(picture: np.ndarray, area: Area) -> np.ndarray:
    """Scales a picture to an area, smoothly."""
    import cv2

    shrinks = area.height < picture.shape[0]
    return cv2.resize(
        picture,
        (area.width, area.height),
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC,
    )


def _paste_seen(view: np.ndarray, scene: np.ndarray, visited: np.ndarray) -> None:
    """Copies the visited patches of `scene` into `view`, both as large as the area."""
    import cv2

    size = (view.shape[1], view.shape[0])
    seen = cv2.resize((visited > 0).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    cv2.copyTo(scene, seen, view)


def _round_up(cost: int) -> float:
    """Rounds up to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(max(cost, 1)))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= cost))

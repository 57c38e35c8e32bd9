"""The laws of sensors, tried on random scenes and actions."""

from __future__ import annotations

import copy
import dataclasses

import gymnasium as gym
import numpy as np

from ave_env.actions import ActionCheck
from ave_env.sensors.base import FiniteSensor, Generators, Glimpse, Sensor
from encoders.support.laws import pickled, require

_ROWS = 6
_TRIALS = 8
_PARTS = ("pixels", "patch_ids", "boxes", "centers", "patches", "scales")
_WRAPPING = ("wrap_azimuth", "seamless")


def check_sensor(sensor: Sensor, *, seed: int = 0) -> None:
    """Holds a sensor to what `ave_env.sensors.base` says of sensors.

    Random scenes are looked at with actions drawn from the sensor's space and with those at its
    ends. What is asked: it is frozen and pickles; shapes, dtypes and ranges are those documented;
    nothing outside the boxes shows in a glimpse; rows do not depend on each other; scenes are not
    written to; equal generators give equal glimpses, in new arrays. Of a `FiniteSensor` also: what
    it says beforehand is what a look then reveals.

    Args:
        sensor: The sensor, with the options to be checked.
        seed: Of scenes and actions.

    Raises:
        AssertionError: A law is broken; the message says which, and what was found.
        TypeError: Its action space is none that environments take.
    """
    _check_description(sensor)
    random = np.random.default_rng(seed)
    shown = False
    for trial in range(_TRIALS):
        images = random.integers(0, 256, (_ROWS, *sensor.image_size, 3), dtype=np.uint8)
        actions = _some_actions(sensor.action_space, seed + trial)
        _check_glimpse(sensor, _look(sensor, images, actions, trial))
        _check_repetition(sensor, images, actions, trial)
        _check_rows(sensor, images, actions, trial)
        _check_leaks(sensor, images, actions, trial)
        others = random.integers(0, 256, images.shape, dtype=np.uint8)
        one, other = (_look(sensor, scene, actions, trial) for scene in (images, others))
        shown |= not np.array_equal(one.pixels, other.pixels)
    require(shown, "a glimpse shows something of the scene", "other scenes gave the same pixels")
    if isinstance(sensor, FiniteSensor):
        _check_finite(sensor, random)


def _check_description(sensor: Sensor) -> None:
    kind = type(sensor).__name__
    require(isinstance(sensor, Sensor), "a sensor derives from Sensor", f"{kind} does not")
    require(
        isinstance(getattr(sensor, "name", None), str), "a sensor has a name", f"{kind} has none"
    )
    frozen = dataclasses.is_dataclass(sensor) and sensor.__dataclass_params__.frozen
    require(frozen, "a sensor is a frozen dataclass", f"{kind} is not")
    fields = {field.name for field in dataclasses.fields(sensor)}  # type: ignore[arg-type]
    missing = {"image_size", "patch_size"} - fields
    require(
        not missing, "image_size and patch_size are fields of a sensor", f"{sorted(missing)} are no"
    )
    (height, width), patch = sensor.image_size, sensor.patch_size
    require(
        height % patch == 0 and width % patch == 0,
        "a scene is a whole number of patches",
        f"image_size {sensor.image_size} with patch_size {patch} was accepted",
    )
    copied = pickled(sensor, "a sensor pickles")
    require(copied == sensor, "a sensor pickles", f"{copied!r} came back for {sensor!r}")
    ActionCheck(sensor.action_space)
    shape = sensor.glimpse_shape
    require(
        len(shape) == 3 and min(shape) >= 1 and shape[2] == 3,
        "glimpse_shape is height, width and 3 channels",
        f"{shape}",
    )


def _check_glimpse(sensor: Sensor, glimpse: Glimpse) -> None:
    """Shapes, dtypes and ranges."""
    (height, width), side = sensor.image_size, sensor.patch_size
    count = sensor.patches_per_glimpse
    expected: dict[str, tuple[tuple[int, ...], type]] = {
        "pixels": ((_ROWS, *sensor.glimpse_shape), np.uint8),
        "patch_ids": ((_ROWS, count), np.int64),
        "boxes": ((_ROWS, 4), np.int64),
        "centers": ((_ROWS, 2), np.float32),
        "patches": ((_ROWS, count, side, side, 3), np.uint8),
        "scales": ((_ROWS,), np.float32),
    }
    for name, (shape, dtype) in expected.items():
        value = getattr(glimpse, name)
        require(
            isinstance(value, np.ndarray) and (value.shape, value.dtype) == (shape, dtype),
            f"a glimpse's {name} are {np.dtype(dtype)} {shape}",
            f"{getattr(value, 'dtype', type(value).__name__)} {np.shape(value)}",
        )
    ids, boxes, centers = glimpse.patch_ids, glimpse.boxes, glimpse.centers
    patches = sensor.grid[0] * sensor.grid[1]
    require(
        bool(((ids >= -1) & (ids < patches)).all()),
        f"patch_ids lie in [-1, {patches})",
        f"{ids.min()} to {ids.max()}",
    )
    for row in ids:
        known = row[row >= 0].tolist()
        require(len(known) == len(set(known)), "the patch_ids of a row differ", f"{row.tolist()}")
    top, left, bottom, right = boxes.T
    # A sensor without such a field may always go round; one that has it says when.
    settings = [getattr(sensor, name) for name in _WRAPPING if hasattr(sensor, name)]
    limit = 2 * width if any(settings) or not settings else width
    inside = (top >= 0) & (top < bottom) & (bottom <= height)
    inside &= (left >= 0) & (left < width) & (left < right)
    inside &= (right <= limit) & (right - left <= width)
    require(
        bool(inside.all()),
        f"boxes lie within the {height}x{width} scene (x1 beyond it only where they go round)",
        f"{boxes[~inside][:1].tolist()}",
    )
    require(
        bool(((centers >= 0) & (centers <= 1)).all()),
        "centers lie in [0, 1]",
        f"{centers.tolist()}",
    )
    slack = 1e-3  # pixels; centers are float32
    down, across = centers[:, 0] * height - top, (centers[:, 1] * width - left + slack) % width
    within = (down >= -slack) & (down <= bottom - top + slack)
    within &= across <= right - left + 2 * slack
    require(
        bool(within.all()),
        "the centre of a glimpse lies in its box",
        f"centre {centers[~within][:1].tolist()} with box {boxes[~within][:1].tolist()}",
    )
    require(bool((glimpse.scales > 0).all()), "scales are positive", f"{glimpse.scales.tolist()}")
    for row, mask in enumerate(_inside(sensor, boxes)):
        whole = mask.reshape(sensor.grid[0], side, sensor.grid[1], side).all(axis=(1, 3)).ravel()
        beyond = [number for number in ids[row].tolist() if number >= 0 and not whole[number]]
        require(
            not beyond,
            "patches that are revealed lie in the box wholly (their truth counts as seen)",
            f"patches {beyond} with box {boxes[row].tolist()}",
        )


def _check_repetition(sensor: Sensor, images: np.ndarray, actions: np.ndarray, trial: int) -> None:
    first = _look(sensor, images, actions, trial)
    kept = _arrays(first)
    for name in _PARTS:
        value = getattr(first, name)
        require(
            not np.shares_memory(value, images),
            "a glimpse is made of new arrays",
            f"{name} are a view of the scenes",
        )
    for name in ("pixels", "patch_ids", "boxes", "centers"):
        getattr(first, name)[...] = 0
    again = _arrays(_look(sensor, images, actions, trial))
    _require_equal(
        again,
        kept,
        "equal generators give equal glimpses, in new arrays",
        "after those of the first look were overwritten",
    )
    restored = pickled(sensor, "a sensor pickles also when it has been used")
    _require_equal(
        _arrays(_look(restored, images, actions, trial)),
        kept,
        "a sensor that was pickled looks as before",
        "after a pickle",
    )


def _check_rows(sensor: Sensor, images: np.ndarray, actions: np.ndarray, trial: int) -> None:
    together = _arrays(_look(sensor, images, actions, trial))
    for row in range(_ROWS):
        one = slice(row, row + 1)
        alone = sensor.look(images[one].copy(), actions[one], _generators(trial)[one])
        _require_equal(
            _arrays(alone),
            {name: values[one] for name, values in together.items()},
            "a row does not depend on the other rows",
            f"row {row} alone and among {_ROWS}",
        )


def _check_leaks(sensor: Sensor, images: np.ndarray, actions: np.ndarray, trial: int) -> None:
    glimpse = _look(sensor, images, actions, trial)
    kept = _arrays(glimpse)
    mask = _inside(sensor, glimpse.boxes)[..., None]
    # Other colours alone keep the mean of a random scene, and half the light keeps their order.
    for others in (255 - images, images // 2):
        _require_equal(
            _arrays(_look(sensor, np.where(mask, images, others), actions, trial)),
            kept,
            "nothing outside the box shows in a glimpse",
            "where only pixels outside the boxes differ",
        )


def _check_finite(sensor: FiniteSensor, random: np.random.Generator) -> None:
    count, space = sensor.num_actions, sensor.action_space
    require(
        isinstance(space, gym.spaces.Discrete) and (space.start, space.n) == (0, count),
        "the action space of a FiniteSensor is Discrete(num_actions)",
        f"{space} with num_actions {count}",
    )
    actions = np.arange(count)
    ids, boxes = sensor.patch_ids(actions), sensor.boxes(actions)
    for start in range(0, count, _ROWS):
        some = actions[start : start + _ROWS]
        images = random.integers(0, 256, (len(some), *sensor.image_size, 3), dtype=np.uint8)
        glimpse = sensor.look(images, some, _generators(0)[: len(some)])
        foreseen = {"patch_ids": ids[some], "boxes": boxes[some]}
        _require_equal(
            {name: getattr(glimpse, name) for name in foreseen},
            foreseen,
            "patch_ids() and boxes() are those that look() then gives",
            f"actions {some.tolist()}",
        )
    visited = random.integers(0, 2, (_ROWS, *sensor.grid), dtype=np.uint8)
    visited[0], visited[1] = 0, 1
    before = visited.copy()
    revealed = sensor.reveals(visited)
    require(
        (revealed.shape, revealed.dtype) == ((_ROWS, count), np.int8),
        f"reveals() is int8 {(_ROWS, count)}",
        f"{revealed.dtype} {revealed.shape}",
    )
    expected = [
        [int(any(number >= 0 and seen[number] == 0 for number in row)) for row in ids.tolist()]
        for seen in visited.reshape(_ROWS, -1).tolist()
    ]
    wrong = np.argwhere(revealed != np.array(expected))
    require(
        not len(wrong),
        "reveals() marks the actions that show a patch not seen before, and no others",
        f"row and action {wrong[:1].tolist()} are wrong",
    )
    require(np.array_equal(visited, before), "reveals() does not write to `visited`", "it changed")


def _some_actions(space: gym.Space, seed: int) -> np.ndarray:
    """Members of a space, those at its ends first, `[N, ...]`."""
    space = copy.deepcopy(space)  # drawing changes its generator
    space.seed(seed)
    check = ActionCheck(space)
    actions = np.array([space.sample() for _ in range(_ROWS)], check.dtype)
    for row, end in enumerate(check.ends):
        actions[row] = np.where(np.isfinite(end), end, actions[row])
    return actions


def _generators(trial: int) -> list[np.random.Generator]:
    return [np.random.default_rng((trial, row)) for row in range(_ROWS)]


def _look(sensor: Sensor, images: np.ndarray, actions: np.ndarray, trial: int) -> Glimpse:
    before, chosen = images.copy(), actions.copy()
    generators: Generators = _generators(trial)
    glimpse = sensor.look(images, actions, generators)
    require(
        np.array_equal(images, before) and np.array_equal(actions, chosen),
        "look() writes neither to scenes nor to actions",
        "they had changed",
    )
    return glimpse


def _arrays(glimpse: Glimpse) -> dict[str, np.ndarray]:
    return {name: getattr(glimpse, name).copy() for name in _PARTS}


def _inside(sensor: Sensor, boxes: np.ndarray) -> np.ndarray:
    """Pixels of each scene within its box, bool `[N, H, W]`."""
    height, width = sensor.image_size
    lines, dots = np.arange(height), np.arange(width)
    top, left, bottom, right = (boxes[:, i, None] for i in range(4))
    vertical = (lines >= top) & (lines < bottom)
    horizontal = ((dots - left) % width) < right - left
    return vertical[:, :, None] & horizontal[:, None, :]


def _require_equal(
    found: dict[str, np.ndarray], expected: dict[str, np.ndarray], law: str, where: str
) -> None:
    wrong = [name for name in expected if not np.array_equal(found[name], expected[name])]
    require(not wrong, law, f"{', '.join(wrong)} differ: {where}")

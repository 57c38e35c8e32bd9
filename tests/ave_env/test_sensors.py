"""Geometry of glimpses, against loops over single pixels and patches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import raises_naming

from ave_env.sensors.grid import GridSensor


@st.composite
def sensors(draw):
    rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    patch = draw(st.sampled_from([1, 2, 5]))
    size = draw(st.integers(1, min(rows, columns)))
    return GridSensor((rows * patch, columns * patch), patch, size, draw(st.booleans()))


def corners(sensor):
    """Row and column of the top left patch of every action, in order."""
    rows, columns = sensor.grid
    last_column = columns if sensor.wrap_azimuth else columns - sensor.glimpse_size + 1
    return [(r, c) for r in range(rows - sensor.glimpse_size + 1) for c in range(last_column)]


@given(sensors())
def test_actions_count_every_position_row_by_row(sensor):
    expected = corners(sensor)
    assert sensor.num_actions == len(expected)
    tops_and_lefts = sensor.boxes(np.arange(sensor.num_actions))[:, :2] // sensor.patch_size
    assert tops_and_lefts.tolist() == [list(corner) for corner in expected]


@given(sensors())
def test_patch_ids_are_those_under_the_window(sensor):
    columns = sensor.grid[1]
    window = range(sensor.glimpse_size)
    expected = [
        [(top + i) * columns + (left + j) % columns for i in window for j in window]
        for top, left in corners(sensor)
    ]
    assert sensor.patch_ids(np.arange(sensor.num_actions)).tolist() == expected


@given(sensors(), st.integers(0, 2**32 - 1))
def test_capture_copies_the_pixels_under_the_window(sensor, seed):
    rng = np.random.default_rng(seed)
    count = sensor.num_actions
    images = rng.integers(0, 256, (count, *sensor.image_size, 3), dtype=np.uint8)
    before = images.copy()
    glimpses = sensor.capture(images, np.arange(count))
    side = sensor.glimpse_size * sensor.patch_size
    for action, (top, left) in enumerate(corners(sensor)):
        lines = np.arange(side) + top * sensor.patch_size
        dots = (np.arange(side) + left * sensor.patch_size) % sensor.image_size[1]
        assert np.array_equal(glimpses[action], images[action][lines][:, dots])
    glimpses[:] = 0
    assert np.array_equal(images, before), "a glimpse is a copy"


@given(sensors(), st.integers(0, 2**32 - 1))
def test_reveals_marks_windows_with_an_unseen_patch(sensor, seed):
    visited = np.random.default_rng(seed).integers(0, 2, (3, *sensor.grid), dtype=np.uint8)
    windows = sensor.patch_ids(np.arange(sensor.num_actions))
    expected = [[int((row.ravel()[ids] == 0).any()) for ids in windows] for row in visited]
    revealed = sensor.reveals(visited)
    assert revealed.dtype == np.int8
    assert revealed.tolist() == expected


@given(sensors())
def test_boxes_and_centers_agree(sensor):
    actions = np.arange(sensor.num_actions)
    boxes, centers = sensor.boxes(actions), sensor.centers(actions)
    assert boxes.dtype == np.int64
    assert centers.dtype == np.float32
    side = sensor.glimpse_size * sensor.patch_size
    assert (boxes[:, 2:] - boxes[:, :2] == side).all()
    assert (boxes[:, 2] <= sensor.image_size[0]).all()
    middle = (boxes[:, :2] + side / 2) / sensor.image_size
    assert np.allclose(centers, middle % 1.0)
    assert ((centers >= 0) & (centers <= 1)).all()


def test_a_window_as_high_as_the_image_is_centred():
    sensor = GridSensor((32, 64), 16, 2)
    assert np.allclose(sensor.centers(np.array([0])), [[0.5, 0.25]])
    whole = GridSensor((32, 32), 16, 2)
    assert np.allclose(whole.centers(np.array([0])), [[0.5, 0.5]])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (((100, 64), 16, 2), ["(100, 64)", "16"]),
        (((64, 64), 16, 5), ["5", "4x4"]),
        (((64, 64), 16, 0), ["0", "4x4"]),
        (((64, 64), 0, 1), ["patch_size 0"]),
    ],
)
def test_sizes_that_do_not_fit_are_named(arguments, words):
    with raises_naming(ValueError, words):
        GridSensor(*arguments)

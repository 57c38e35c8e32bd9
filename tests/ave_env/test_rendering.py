import dataclasses
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ave_env.rendering import Snapshot, draw, ink, save_gif
from ave_env.rendering.figure import DIMMED
from ave_env.rendering.ink import UNKNOWN
from ave_env.rendering.layout import FOOT, MARGIN, MAX_PREDICTIONS, Area, Layout, plan

COLOR = (210, 130, 50)


def make_episode(
    image_size=(128, 256),
    patch_size=16,
    num_glimpses=3,
    num_classes=26,
    pictures=True,
    scores=True,
    seed=0,
):
    """Snapshots of one episode of 2 x 2 patch glimpses, each one anywhere and free to wrap."""
    rng = np.random.default_rng(seed)
    height, width = image_size
    grid = (height // patch_size, width // patch_size)
    scene = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    boxes, visited, snapshots = np.zeros((0, 4), np.int64), np.zeros(grid, np.uint8), []
    for step in range(num_glimpses + 1):
        if step:
            row, column = int(rng.integers(grid[0] - 1)), int(rng.integers(grid[1]))
            visited = visited.copy()
            visited[row : row + 2, [column, (column + 1) % grid[1]]] = 1
            box = np.array([[row, column, row + 2, column + 2]]) * patch_size
            boxes = np.concatenate([boxes, box])
        snapshots.append(
            Snapshot(
                scene=scene,
                visited=visited,
                boxes=boxes,
                num_glimpses=num_glimpses,
                class_names=tuple(f"class {i}" for i in range(num_classes)),
                label=num_classes - 1,
                title="synthetic, scene 7",
                reward=float(rng.normal()) if step else None,
                reconstruction=scene[::-1] if pictures else None,
                rmse=30.0 - step if pictures else None,
                entropy=rng.random(grid, np.float32) if pictures else None,
                probabilities=rng.dirichlet(np.ones(num_classes)).astype(np.float32)
                if scores
                else None,
                flops_total=10**8 * step if scores else None,
                flops_step=10**8 if step else 0,
                flops_without_recycling=10**8 * step * (step + 1) // 2,
            )
        )
    return snapshots


def one_color_snapshot(**changes):
    """A scene of one colour, 128 x 256, seen through one glimpse in the middle."""
    visited = np.zeros((8, 16), np.uint8)
    visited[2:6, 4:8] = 1
    snapshot = Snapshot(
        scene=np.full((128, 256, 3), COLOR, np.uint8),
        visited=visited,
        boxes=np.array([[32, 64, 96, 128]]),
        num_glimpses=4,
        class_names=("beach", "church", "cave", "field", "forest", "street", "theater", "shop"),
        label=2,
        probabilities=np.full(8, 1 / 8, np.float32),
        flops_total=250,
        flops_step=100,
        flops_without_recycling=500,
        flops_limit=1000,
    )
    return dataclasses.replace(snapshot, **changes)


def layout_of(snapshot) -> Layout:
    pictures = 2 + (snapshot.reconstruction is not None) + (snapshot.entropy is not None)
    return plan(
        snapshot.scene.shape[:2],
        pictures,
        0 if snapshot.probabilities is None else min(len(snapshot.class_names), MAX_PREDICTIONS),
        snapshot.flops_total is not None,
        snapshot.entropy is not None,
    )


def crop(frame, area: Area):
    return frame[area.y : area.bottom, area.x : area.right]


def is_color(pixels, color):
    return (pixels == np.array(color, np.uint8)).all(-1)


@pytest.mark.parametrize("pictures", [True, False])
@pytest.mark.parametrize("scores", [True, False])
@pytest.mark.parametrize(
    ("image_size", "patch_size", "num_glimpses", "num_classes"),
    [
        ((128, 256), 16, 8, 26),
        ((224, 224), 16, 14, 1000),
        ((32, 32), 4, 40, 2),
        ((64, 512), 16, 3, 3),
        ((256, 96), 16, 3, 4),
        ((600, 1200), 60, 2, 7),
    ],
)
def test_all_frames_of_an_episode_have_one_even_size(
    image_size, patch_size, num_glimpses, num_classes, pictures, scores
):
    episode = make_episode(image_size, patch_size, num_glimpses, num_classes, pictures, scores)
    frames = [draw(snapshot) for snapshot in episode]
    layout = layout_of(episode[0])
    assert {frame.shape for frame in frames} == {(layout.height, layout.width, 3)}
    assert {frame.dtype for frame in frames} == {np.dtype(np.uint8)}
    assert layout.height % 2 == layout.width % 2 == 0
    for before, after in itertools.pairwise(frames):
        assert (before != after).any()


@given(
    height=st.integers(16, 2000),
    aspect=st.floats(0.2, 8),
    num_pictures=st.integers(2, 4),
    num_predictions=st.integers(0, MAX_PREDICTIONS),
    metered=st.booleans(),
    with_scale=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_panels_lie_inside_the_frame_and_apart(
    height, aspect, num_pictures, num_predictions, metered, with_scale
):
    size = (height, max(1, round(height * aspect)))
    layout = plan(size, num_pictures, num_predictions, metered, with_scale)
    last = layout.pictures[-1]
    scale = Area(last.x, last.bottom, last.width, FOOT) if with_scale else None
    panels = [layout.header, *layout.pictures, scale, layout.predictions, layout.meter]
    areas = [area for area in panels if area is not None]
    assert len(layout.pictures) == num_pictures
    assert (layout.predictions is not None) == (num_predictions > 0)
    assert (layout.meter is not None) == metered
    for area in areas:
        assert area.width > 0
        assert area.height > 0
        assert area.x >= MARGIN
        assert area.y >= MARGIN
        assert area.right <= layout.width - MARGIN
        assert area.bottom <= layout.height - MARGIN
    for i, a in enumerate(areas):
        for b in areas[:i]:
            apart = a.right <= b.x or b.right <= a.x or a.bottom <= b.y or b.bottom <= a.y
            assert apart, (a, b)
    for picture in layout.pictures:
        exact = picture.height * size[1] / size[0]
        assert abs(picture.width - exact) <= 2 + size[1] / size[0]


def test_seen_patches_are_bright_and_unseen_ones_dimmed():
    snapshot = one_color_snapshot()
    frame = draw(snapshot)
    scene, known = (crop(frame, area) for area in layout_of(snapshot).pictures)
    middle = (scene.shape[0] // 2, scene.shape[1] * 3 // 8)
    corner = (scene.shape[0] - 5, scene.shape[1] - 5)
    assert tuple(scene[middle]) == tuple(known[middle]) == COLOR
    assert tuple(known[corner]) == UNKNOWN
    assert scene[corner].max() < max(COLOR) * (DIMMED + 0.05)
    assert scene[corner].min() > 0


def test_known_panel_hides_every_unseen_pixel():
    snapshot = one_color_snapshot()
    scene = snapshot.scene.copy()
    unseen = np.kron(snapshot.visited, np.ones((16, 16))) == 0
    scene[unseen] = np.random.default_rng(0).integers(0, 256, (unseen.sum(), 3))
    other = dataclasses.replace(snapshot, scene=scene)
    dimmed, known = layout_of(snapshot).pictures
    # Two source pixels around a seen patch take part in its smooth enlargement.
    inner = Area(
        known.x + round(known.width * 0.27),
        known.y + round(known.height * 0.29),
        round(known.width * 0.21),
        round(known.height * 0.42),
    )
    before, after = draw(snapshot), draw(other)
    assert (crop(before, inner) == crop(after, inner)).all()
    assert is_color(crop(after, known), UNKNOWN).mean() == pytest.approx(1 - 16 / 128, abs=0.01)
    assert (crop(before, dimmed) != crop(after, dimmed)).any()


def test_only_the_newest_glimpse_is_highlighted():
    boxes = np.array([[0, 0, 32, 32], [64, 128, 96, 160]])
    snapshot = one_color_snapshot(boxes=boxes)
    scene = crop(draw(snapshot), layout_of(snapshot).pictures[0])
    half = scene.shape[1] // 2 - 4
    assert not is_color(scene[:, :half], ink.AMBER).any()
    assert is_color(scene[:, half:], ink.AMBER).any()
    assert is_color(scene[:, :half], ink.PAPER).any()


def test_glimpse_across_the_seam_is_drawn_at_both_edges():
    visited = np.zeros((8, 16), np.uint8)
    visited[2:4, [15, 0]] = 1
    boxes = np.array([[32, 240, 64, 272]])
    snapshot = one_color_snapshot(visited=visited, boxes=boxes)
    scene = crop(draw(snapshot), layout_of(snapshot).pictures[0])
    amber = is_color(scene, ink.AMBER)
    patch = scene.shape[1] // 16
    assert amber[:, : patch + 2].any()
    assert amber[:, -patch - 2 :].any()
    assert not amber[:, patch + 2 : -patch - 2].any()
    top, bottom = scene.shape[0] // 4, scene.shape[0] // 2
    assert amber[top + 1, : patch - 2].all()
    assert amber[bottom - 2, -patch + 2 :].all()


def test_a_glimpse_is_bright_also_where_it_covers_no_whole_patch():
    snapshot = one_color_snapshot(visited=np.zeros((8, 16), np.uint8))
    scene, known = (crop(draw(snapshot), area) for area in layout_of(snapshot).pictures)
    middle = (scene.shape[0] // 2, scene.shape[1] * 3 // 8)
    assert tuple(scene[middle]) == COLOR
    assert is_color(known, UNKNOWN).all()


@pytest.mark.parametrize(("image_size", "glimpse"), [((256, 512), 16), ((224, 224), 16)])
def test_numbers_and_frames_leave_small_glimpses_visible(image_size, glimpse):
    height, width = image_size
    corners = [(y, x) for y in (0, 112, height - 16) for x in (0, 80, width - 16)]
    for y, x in corners:
        snapshot = one_color_snapshot(
            scene=np.full((height, width, 3), COLOR, np.uint8),
            visited=np.zeros((height // 16, width // 16), np.uint8),
            boxes=np.array([[y, x, y + glimpse, x + glimpse]]),
        )
        area = layout_of(snapshot).pictures[0]
        scene, scale = crop(draw(snapshot), area), area.height / height
        inside = scene[round(y * scale) :, round(x * scale) :]
        side = round(glimpse * scale)
        assert is_color(inside[:side, :side], COLOR).mean() > 0.8, (y, x)
        number = is_color(scene, ink.AMBER)
        assert number.sum() > 2 * 3 * side + 80, (y, x)  # more than the frame: the number


def test_untrained_head_shows_no_prediction():
    first = one_color_snapshot(trained_head=False)
    second = dataclasses.replace(first, probabilities=np.eye(8, dtype=np.float32)[2])
    area = layout_of(first).predictions
    assert (draw(first) == draw(second)).all()
    panel = crop(draw(first), area)
    assert (panel != ink.PAPER).any()
    assert not is_color(panel, ink.TRACK).any()
    trained = dataclasses.replace(first, trained_head=True)
    assert draw(trained).shape == draw(first).shape
    assert is_color(crop(draw(trained), area), ink.TRACK).any()


@pytest.mark.parametrize("label", range(8))
def test_true_class_is_listed_whatever_its_rank(label):
    probabilities = np.arange(8, 0, -1, dtype=np.float32) / 36
    snapshot = one_color_snapshot(label=label, probabilities=probabilities)
    panel = crop(draw(snapshot), layout_of(snapshot).predictions)
    rows = np.flatnonzero(is_color(panel, ink.GREEN).any(1))
    line = min(label, MAX_PREDICTIONS - 1)
    assert rows.min() // (panel.shape[0] // MAX_PREDICTIONS) == line
    assert rows.max() // (panel.shape[0] // MAX_PREDICTIONS) == line


def test_bars_are_as_long_as_their_probabilities():
    probabilities = np.array([0.5, 0.25, 0.25, 0, 0, 0, 0, 0], np.float32)
    snapshot = one_color_snapshot(label=7, probabilities=probabilities)
    panel = crop(draw(snapshot), layout_of(snapshot).predictions)
    filled, empty = is_color(panel, ink.BLUE), is_color(panel, ink.TRACK)
    whole = (filled | empty).sum(1).max()
    lengths = [rows.sum(1).max() / whole for rows in np.array_split(filled, MAX_PREDICTIONS)]
    assert lengths == pytest.approx([0.5, 0.25, 0.25, 0, 0], abs=0.02)


def test_meter_is_as_long_as_the_cost():
    snapshot = one_color_snapshot()
    area = layout_of(snapshot).meter
    panel = crop(draw(snapshot), area)
    blue, amber, grey = (
        is_color(panel, color).sum(1) / area.width for color in (ink.BLUE, ink.AMBER, ink.MUTED)
    )
    line = int(np.argmax(blue))
    assert blue[line] == pytest.approx(0.15, abs=0.01)
    assert amber[line] == pytest.approx(0.10, abs=0.01)
    assert grey.max() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("limit", [None, 100])
def test_meter_stays_inside_its_panel_when_the_cost_passes_the_limit(limit):
    snapshot = one_color_snapshot(flops_limit=limit, flops_without_recycling=987_654_321)
    area = layout_of(snapshot).meter
    assert (draw(snapshot)[area.y :, area.right :] == ink.PAPER).all()


def test_long_names_stay_inside_their_panels():
    snapshot = one_color_snapshot(
        class_names=tuple(f"{i} " + "a name without end " * 20 for i in range(8)),
        title="a title without end " * 20,
        probabilities=np.eye(8, dtype=np.float32)[5],
    )
    frame, layout = draw(snapshot), layout_of(snapshot)
    for panel in (layout.header, layout.predictions):
        gap = frame[panel.y : panel.bottom, panel.right : panel.right + 10]
        assert (gap == ink.PAPER).all()
    assert (frame[:, :MARGIN] == ink.PAPER).all()


@given(
    text=st.text(st.characters(exclude_categories=["C", "Z"])),
    width=st.integers(0, 300),
    bold=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_shortened_text_fits_and_begins_like_the_whole(text, width, bold):
    short = ink.shorten(text, 13, bold, width)
    assert short == text or text.startswith(short.removesuffix("…"))
    if short:
        assert ink.write(ink.blank(20, 400), short, 0, 10, bold=bold) <= width + 1


@given(text=st.text(max_size=20) | st.sampled_from(["two\nlines", "\udcff", "\u202eleft", "\t"]))
@settings(max_examples=100, deadline=None)
def test_any_characters_can_be_written_within_their_room(text):
    canvas = ink.blank(30, 200)
    assert ink.write(canvas, text, 100, 15, width=90) <= 91
    assert (canvas[:, :98] == ink.PAPER).all()


def test_text_and_blocks_are_cut_at_the_edges_of_the_canvas():
    canvas = ink.blank(12, 30)
    ink.write(canvas, "a line longer than the canvas", -20, 2, size=20)
    ink.write(canvas, "off", 200, 200)
    ink.block(canvas, 25, 8, 50.5, 30, ink.BLUE)
    ink.frame(canvas, (-5, -5, 40, 5), ink.AMBER, 2)
    assert is_color(canvas[8:, 25:], ink.BLUE).all()
    assert is_color(canvas[:, 3:5], ink.AMBER).any()


def test_the_scale_of_the_entropy_map_goes_from_black_to_its_brightest_colour():
    entropy = np.linspace(0, 7, 128, dtype=np.float32).reshape(8, 16)
    snapshot = one_color_snapshot(entropy=entropy)
    frame, area = draw(snapshot), layout_of(snapshot).pictures[2]
    panel = crop(frame, area)
    row = frame[area.bottom + FOOT - 8, area.x : area.right]
    shades = row[(row != ink.PAPER).any(-1)].astype(int)
    for end in (panel[0, 0], panel[-1, -1]):
        assert (np.abs(shades - end).max(-1) <= 3).any()
    assert (np.abs(shades[:, None] - panel[::20, ::20].reshape(-1, 3)).max(-1).min(0) <= 12).all()


def test_constant_entropy_map_can_be_drawn():
    for level in (0.0, 3.0):
        snapshot = one_color_snapshot(entropy=np.full((8, 16), level, np.float32))
        panel = crop(draw(snapshot), layout_of(snapshot).pictures[2])
        assert len(np.unique(panel.reshape(-1, 3), axis=0)) == 1


def test_drawing_leaves_the_snapshot_alone_and_repeats_itself():
    snapshot = make_episode()[-1]
    arrays = {
        name: value.copy()
        for name, value in vars(snapshot).items()
        if isinstance(value, np.ndarray)
    }
    assert (draw(snapshot) == draw(snapshot)).all()
    for name, value in arrays.items():
        assert (getattr(snapshot, name) == value).all(), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scene": np.zeros((128, 256, 3), np.float32)}, "scene has shape .* float32"),
        ({"visited": np.zeros(128, np.uint8)}, r"visited has shape \(128,\)"),
        ({"boxes": np.zeros((2, 3), np.int64)}, r"boxes has shape \(2, 3\)"),
        ({"boxes": np.zeros((5, 4), np.int64)}, r"5 glimpses, more than num_glimpses \(4\)"),
        ({"entropy": np.zeros((4, 4))}, r"entropy has shape \(4, 4\); expected \(8, 16\)"),
        ({"probabilities": np.ones(9)}, r"probabilities has shape \(9,\); expected \(8,\)"),
        ({"reconstruction": np.zeros((8, 8, 3), np.uint8)}, "reconstruction has shape"),
        ({"label": 8}, "label is 8, but there are 8 class names"),
    ],
)
def test_inconsistent_snapshot_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        one_color_snapshot(**changes)


def test_gif_holds_every_frame_at_the_speed_asked(tmp_path):
    frames = [draw(snapshot) for snapshot in make_episode()]
    path = tmp_path / "new folder" / "episode.gif"
    save_gif(frames, path, frames_per_second=4, hold=1.5)
    with Image.open(path) as picture:
        assert picture.n_frames == len(frames)
        assert picture.info["loop"] == 0
        durations = []
        for index, frame in enumerate(frames):
            picture.seek(index)
            durations.append(picture.info["duration"])
            pixels = np.asarray(picture.convert("RGB")).astype(int)
            assert pixels.shape == frame.shape
            assert np.abs(pixels.mean((0, 1)) - frame.mean((0, 1))).max() < 4
    assert durations == [250, 250, 250, 1500]
    assert os.listdir(path.parent) == ["episode.gif"]


def smooth_episode():
    """An episode in a scene of 30,000 colours, as photos have."""
    rows, columns = np.mgrid[0:128, 0:256]
    scene = np.stack([columns, 2 * rows, (rows + columns) // 2], -1).clip(0, 255).astype(np.uint8)
    return [
        dataclasses.replace(each, scene=scene, reconstruction=scene[::-1])
        for each in make_episode(num_glimpses=5)
    ]


def test_a_gif_keeps_what_colours_mean_in_every_frame(tmp_path):
    frames = [draw(snapshot) for snapshot in smooth_episode()]
    save_gif(frames, tmp_path / "episode.gif")
    with Image.open(tmp_path / "episode.gif") as picture:
        for index, frame in enumerate(frames):
            picture.seek(index)
            pixels = np.asarray(picture.convert("RGB"))
            assert np.abs(pixels.astype(int) - frame).max() < 64
            seen = set()
            for color in ink.COLORS:
                there = is_color(frame, color)
                assert is_color(pixels[there], color).all(), color
                seen |= {color} if there.any() else set()
            assert seen >= set(ink.COLORS) - {ink.AMBER, ink.BLUE} or index
            # No dithering: one colour stays one colour.
            pairs = np.concatenate([frame.reshape(-1, 3), pixels.reshape(-1, 3)], axis=1)
            assert len(np.unique(pairs, axis=0)) == len(np.unique(pairs[:, :3], axis=0))


def test_frames_of_a_gif_that_hardly_differ_cost_next_to_nothing(tmp_path):
    frames = [draw(snapshot) for snapshot in make_episode(pictures=False)]
    save_gif(frames[:1] * 2, tmp_path / "one.gif")
    again = [frames[0].copy() for _ in range(20)]
    for index, frame in enumerate(again):
        frame[:8, : 8 * index] = ink.BLUE
    save_gif(again, tmp_path / "twenty.gif")
    one, twenty = ((tmp_path / f"{name}.gif").stat().st_size for name in ("one", "twenty"))
    assert twenty < 1.2 * one


@pytest.mark.parametrize("colors", [1, 2, 300])
def test_a_gif_of_any_number_of_colours_is_written(tmp_path, colors):
    frame = np.zeros((20, 20, 3), np.uint8)
    frame.reshape(-1, 3)[:, 0] = np.arange(400) % colors % 256
    frame.reshape(-1, 3)[:, 1] = np.arange(400) % colors // 256 * 99
    save_gif([frame, 255 - frame], tmp_path / "some.gif")
    with Image.open(tmp_path / "some.gif") as picture:
        for index, expected in enumerate((frame, 255 - frame)):
            picture.seek(index)
            pixels = np.asarray(picture.convert("RGB")).astype(int)
            assert np.abs(pixels - expected).max() <= (4 if colors < 3 else 40)


@pytest.mark.parametrize(
    ("frames", "speed", "message"),
    [
        ([], 1, "at least one frame"),
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)], 1, "of one size"),
        ([np.zeros((4, 4), np.uint8)], 1, r"\(4, 4\)"),
        ([np.zeros((4, 4, 3), np.float32)], 1, "float32"),
        ([np.zeros((4, 4, 3), np.uint8)], 0, "frames_per_second must be positive, got 0"),
    ],
)
def test_gif_of_unusable_frames_is_refused_and_nothing_is_written(tmp_path, frames, speed, message):
    with pytest.raises(ValueError, match=message):
        save_gif(frames, tmp_path / "episode.gif", speed)
    assert os.listdir(tmp_path) == []


def test_import_does_not_load_the_drawing_libraries():
    code = (
        "import sys, ave_env.rendering; "
        "print(sorted({'cv2', 'PIL', 'matplotlib', 'torch'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr

"""What evaluations measure, against plain formulas and laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tiny import SETTINGS, MemoryScenes, raises_naming, tiny_encoder
from torchmetrics.functional.classification import binary_calibration_error

from agents import make_agent
from agents.evaluation.curves import area_weights
from agents.evaluation.gaze import measure_gaze
from agents.evaluation.stopping import stop_at_confidence
from agents.evaluation.walk import Evaluation, evaluate
from ave_env.sensors.grid import GridSensor
from ave_env.tasks.base import Truth
from ave_env.tasks.calibration import CALIBRATION_BINS, calibration_error
from ave_env.tasks.classification import Classification
from ave_env.tasks.metrics import COVERAGE
from ave_env.tasks.reconstruction import measure_pixels, paste_known, root_mean_squared_error
from ave_env.vector import ActiveExplorationVectorEnv


def evaluation_of(confidence, correct, flops=None, per_action=0) -> Evaluation:
    """Episodes in which only these are known, `[N, T+1]` each."""
    count, steps = confidence.shape
    flops = np.tile(np.arange(steps) * 10, (count, 1)) if flops is None else flops
    nothing = np.zeros((count, steps), np.int64)
    return Evaluation(
        agent="someone",
        task="classification",
        uses_chance=False,
        flops_per_action=per_action,
        scene_ids=np.arange(count),
        labels=np.where(correct[:, -1], 1, 0),
        boxes=np.zeros((count, steps, 4), np.int64),
        columns={
            "flops": flops,
            "flops_without_recycling": flops,
            "tokens": nothing,
            "coverage": nothing / 1.0,
            "prediction": np.where(correct, np.where(correct[:, -1:], 1, 0), 5),
            "correct": correct,
            "rank": nothing,
            "confidence": confidence,
            "log_probability": nothing / 1.0,
        },
        declared=(*Classification(9).metrics, COVERAGE),
        scores=nothing / 1.0,
    )


# Pixels and classes ------------------------------------------------------------------------------


def test_errors_of_pixels_are_those_of_the_plain_formulas():
    rng = np.random.default_rng(0)
    images, pixels = rng.integers(0, 256, (2, 3, 32, 48, 3), dtype=np.uint8)
    visited = rng.integers(0, 2, (3, 4, 6)).astype(np.uint8)
    found = measure_pixels(pixels, images, visited)
    difference = pixels.astype(float) - images
    unseen = visited.repeat(8, axis=1).repeat(8, axis=2) == 0
    for scene in range(3):
        squared = difference[scene] ** 2
        assert found["rmse_predicted"][scene] == pytest.approx(np.sqrt(squared.mean()))
        expected = np.sqrt(squared[unseen[scene]].mean())
        assert found["rmse_unseen"][scene] == pytest.approx(expected)
        distances = np.sqrt(squared.sum(axis=-1))
        assert found["pixel_distance"][scene] == pytest.approx(distances.mean())
    # Pasting the truth leaves the error of the rest, spread over the whole scene.
    overall = root_mean_squared_error(paste_known(pixels, images, visited), images)
    share = unseen.mean(axis=(1, 2))
    np.testing.assert_allclose(overall, found["rmse_unseen"] * np.sqrt(share), rtol=1e-5)


def test_a_scene_that_was_seen_whole_has_no_unseen_error():
    images = np.zeros((1, 16, 16, 3), np.uint8)
    found = measure_pixels(images + 9, images, np.ones((1, 2, 2), np.uint8))
    assert found["rmse_unseen"] == 0
    assert found["rmse_predicted"] == pytest.approx(9)
    assert found["pixel_distance"] == pytest.approx(9 * np.sqrt(3))


def test_the_rank_counts_the_classes_above_the_true_one():
    logits = np.array([[0.0, 3.0, 1.0, 2.0]]).repeat(4, axis=0)
    nothing = np.zeros((4, 1, 1), np.uint8)
    truth = Truth(images=nothing, labels=np.arange(4), visited=nothing)
    found = Classification(4).measure({"logits": logits}, truth)
    assert found["correct"].tolist() == [False, True, False, False]
    assert found["rank"].tolist() == [3, 0, 2, 1]
    assert found["prediction"].tolist() == [1, 1, 1, 1]
    np.testing.assert_allclose(np.exp(found["log_probability"]).sum(), 1)
    np.testing.assert_allclose(found["confidence"], np.exp(3) / np.exp(logits[0]).sum())


def test_reconstructions_are_measured_as_painted_and_as_pasted():
    env = ActiveExplorationVectorEnv(
        5,
        scenes=MemoryScenes(),
        encoder=tiny_encoder(),
        task="reconstruction",
        observe=(),
        autoreset_mode="DISABLED",
        **SETTINGS,
    )
    found = evaluate(make_agent("raster", env), env, progress=False)
    columns = found.columns
    rmse = columns["rmse"]
    assert (rmse <= columns["rmse_predicted"] + 1e-3).all()  # pasting the truth can only help
    share = np.sqrt(1 - columns["coverage"])
    np.testing.assert_allclose(rmse, columns["rmse_unseen"] * share, rtol=1e-4)
    np.testing.assert_allclose(found.returns(), rmse[:, 0] - rmse[:, -1])
    assert {"rmse", "rmse_predicted", "rmse_unseen", "pixel_distance"} <= set(found.metrics())


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy():
    rng = np.random.default_rng(0)
    confidence = rng.random((500, 2))
    correct = rng.random((500, 2)) < confidence**2  # sure of itself too often
    found = calibration_error({"confidence": confidence, "correct": correct})
    for column, error in enumerate(found):
        bins = np.floor(confidence[:, column] * 15).astype(int)
        gaps = 0.0
        for each in range(15):
            inside = bins == each
            if inside.any():
                gap = confidence[inside, column].mean() - correct[inside, column].mean()
                gaps += inside.mean() * abs(gap)
        assert error == pytest.approx(gaps, abs=1e-12)


@settings(deadline=None)
@given(st.data(), st.integers(1, 60), st.integers(1, 3))
def test_the_calibration_error_is_torchmetrics(data, scenes, steps):
    # Coarse confidences meet the ends of bins, 0 and 1 among them, and share them.
    confidence = data.draw(arrays(np.float64, (scenes, steps), elements=st.floats(0, 1)))
    coarse = data.draw(arrays(np.bool_, (scenes, steps)))
    confidence = np.where(coarse, np.rint(confidence * 5) / 5, confidence)
    correct = data.draw(arrays(np.bool_, (scenes, steps)))
    found = calibration_error({"confidence": confidence, "correct": correct})
    assert found.dtype == np.float64
    for column, error in enumerate(found):
        given, right = (torch.from_numpy(each[:, column].copy()) for each in (confidence, correct))
        expected = binary_calibration_error(given, right.long(), n_bins=CALIBRATION_BINS)
        assert error == pytest.approx(expected.item(), abs=1e-12)


# Areas -------------------------------------------------------------------------------------------


@given(
    arrays(np.float64, 5, elements=st.floats(0, 10)),
    arrays(np.float64, 6, elements=st.floats(-5, 5)),
    st.floats(0.1, 80),
)
def test_areas_are_those_of_the_trapezoidal_rule(steps, values, end):
    places = np.concatenate([[0], steps.cumsum()])
    weights = area_weights(places, end)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= -1e-12).all()
    # Without vertical jumps, which have no unique height, a fine Riemann sum says the same.
    if steps.min() > 0.05:
        middles = (np.arange(20_000) + 0.5) * end / 20_000
        expected = np.interp(middles, places, values).mean()
        assert values @ weights == pytest.approx(expected, abs=0.02)


def test_areas_that_do_not_exist_are_refused():
    with raises_naming(ValueError, ["end=0"]):
        area_weights(np.arange(3), 0)
    with raises_naming(ValueError, ["ascend"]):
        area_weights(np.array([0.0, 2.0, 1.0]), 1)


# Stopping ----------------------------------------------------------------------------------------


def test_episodes_stop_at_the_first_glimpse_that_is_sure_enough():
    confidence = np.array([[0.9, 0.1, 0.8, 0.3], [0.1, 0.2, 0.3, 0.4], [0.0, 0.7, 0.7, 0.7]])
    correct = np.array([[0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 1, 1]], bool)
    found = stop_at_confidence(evaluation_of(confidence, correct, per_action=1), 0.7)
    # A belief from before the first glimpse ends nothing, however sure it is.
    assert found.glimpses.tolist() == [2, 3, 1]
    assert found.reached.tolist() == [True, False, True]
    assert found.correct.tolist() == [True, True, False]
    assert found.flops.tolist() == [10 + 20, 10 + 20 + 30, 10]
    assert found.policy_flops.tolist() == [2, 3, 1]
    assert found.saved == pytest.approx(1 - (100 + 6) / (3 * 63))
    assert found.median_glimpses == 2
    assert stop_at_confidence(evaluation_of(confidence, correct), 0.8).median_glimpses is None


@given(arrays(np.float64, (6, 5), elements=st.floats(0, 1)), st.floats(0.01, 1), st.floats(0.01, 1))
def test_more_confidence_takes_more_glimpses(confidence, first, second):
    low, high = sorted((first, second))
    episodes = evaluation_of(confidence, np.ones((6, 5), bool))
    early, late = stop_at_confidence(episodes, low), stop_at_confidence(episodes, high)
    assert (early.glimpses <= late.glimpses).all()
    assert early.saved >= late.saved >= 0


@pytest.mark.parametrize("confidence", [0, 1.5, float("nan")])
def test_a_confidence_that_is_no_probability_is_refused(confidence):
    episodes = evaluation_of(np.ones((1, 2)), np.ones((1, 2), bool))
    with raises_naming(ValueError, ["stop_confidence", str(confidence)]):
        stop_at_confidence(episodes, confidence)


# Gaze --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [False, True])
def test_maps_of_gaze_count_the_patches_that_glimpses_showed(wrap):
    sensor = GridSensor((64, 96), 16, 2, wrap)
    rng = np.random.default_rng(0)
    actions = rng.integers(sensor.num_actions, size=(7, 3))
    gaze = measure_gaze(
        np.stack([sensor.boxes(row) for row in actions]), sensor.grid, sensor.patch_size
    )
    expected = np.zeros((7, 3, 24))
    for scene, glimpse in np.ndindex(7, 3):
        expected[scene, glimpse, sensor.patch_ids(actions[scene, glimpse])] = 1
    np.testing.assert_allclose(gaze.by_glimpse.reshape(3, 24), expected.mean(axis=0))
    np.testing.assert_allclose(gaze.in_episode.ravel(), expected.any(axis=1).mean(axis=0))


def test_a_glimpse_of_any_size_looks_at_every_patch_that_it_overlaps():
    boxes = np.array([[[0, 0, 1, 1], [15, 16, 17, 32], [10.5, 90, 20, 100], [0, 0, 0, 0]]])
    gaze = measure_gaze(boxes, (2, 6), 16)
    looked = [[], [], [], []]
    for glimpse, row, column in zip(*gaze.by_glimpse.nonzero(), strict=True):
        looked[glimpse].append((int(row), int(column)))
    # The third goes on at the left edge; the last is none.
    assert looked == [[(0, 0)], [(0, 1), (1, 1)], [(0, 0), (0, 5), (1, 0), (1, 5)], []]

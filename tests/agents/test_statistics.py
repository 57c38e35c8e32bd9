"""Intervals: against definitions, published tables, other libraries, and how often they hold."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from agents.evaluation.statistics import (
    bootstrap_interval,
    bootstrap_intervals,
    holm_adjusted,
    mcnemar_p_value,
    mean_intervals,
    newcombe_interval,
    wilson_interval,
)

# Proportions -------------------------------------------------------------------------------------


# statsmodels 0.15.0: proportion_confint(hits, scenes, method="wilson").
@pytest.mark.parametrize(
    ("hits", "scenes", "low", "high"),
    [
        (0, 16, 0.0, 0.19360768053443655),
        (300, 300, 0.9873570287754538, 1.0),
        (1, 12, 0.014865094404917095, 0.35387991114111705),
        (700, 2000, 0.32940189345498666, 0.37117322072938913),
        (1, 1, 0.2065493143772374, 1.0),
        (0, 1, 0.0, 0.7934506856227627),
    ],
)
def test_intervals_of_proportions_are_those_of_statsmodels(hits, scenes, low, high):
    interval = wilson_interval(np.arange(scenes) < hits)
    assert interval.method == "wilson"
    assert interval.mean == hits / scenes
    assert (interval.low, interval.high) == (pytest.approx(low), pytest.approx(high))


# Table III of Newcombe (1998): both right, the first alone, the second alone, none.
@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        ((36, 12, 2, 0), 0.0569, 0.3404),
        ((20, 12, 2, 16), 0.0562, 0.3292),
        ((18, 12, 2, 18), 0.0562, 0.3290),
        ((36, 14, 0, 0), 0.1528, 0.4167),
        ((18, 14, 0, 18), 0.1441, 0.3963),
        ((2, 97, 1, 0), 0.8721, 0.9854),
        ((0, 29, 1, 0), 0.6666, 0.9882),
        ((2, 98, 0, 0), 0.9178, 0.9945),
        ((0, 30, 0, 0), 0.8395, 1.0),
        ((54, 0, 0, 0), -0.0664, 0.0664),
        ((53, 0, 0, 1), -0.0729, 0.0729),
        ((30, 0, 0, 24), -0.0358, 0.0358),
        ((27, 0, 0, 27), -0.0351, 0.0351),
    ],
)
def test_intervals_of_paired_differences_are_the_published_ones(table, low, high):
    first = np.repeat([1, 1, 0, 0], table)
    second = np.repeat([1, 0, 1, 0], table)
    interval = newcombe_interval(first, second)
    assert interval.method == "newcombe"
    assert interval.mean == pytest.approx((table[1] - table[2]) / sum(table))
    assert (interval.low, interval.high) == (
        pytest.approx(low, abs=6e-5),
        pytest.approx(high, abs=6e-5),
    )
    other = newcombe_interval(second, first)
    assert (other.low, other.high) == (pytest.approx(-interval.high), pytest.approx(-interval.low))


def test_nothing_and_everything_have_an_interval_of_some_width():
    for value in (0.0, 1.0):
        for seeds in (1, 3):
            interval = wilson_interval(np.full(16, value), per_scene=seeds)
            assert interval.high - interval.low == pytest.approx(0.1936, abs=1e-4)
            difference = newcombe_interval(np.full(16, value), np.full(16, value))
            assert difference.high == -difference.low == pytest.approx(0.1936, abs=1e-4)
    # Areas under curves that are 1 throughout, too.
    (area,) = mean_intervals({"a": np.ones((16, 1))}, {"a": 7.0}).values()
    assert area.low < 0.85


@pytest.mark.parametrize("scenes", [30, 300])
@pytest.mark.parametrize(("seeds", "alike"), [(1, 0.0), (3, 0.3), (3, 0.9), (5, 0.5)])
def test_intervals_hold_the_truth_as_often_as_they_say(scenes, seeds, alike):
    """Scenes of different difficulty, explored by several seeds, are drawn 3,000 times."""
    rng = np.random.default_rng(0)
    share = 0.3
    difficulty = np.full((scenes, 3_000), share)
    if alike:
        spread = (1 - alike) / alike
        difficulty = rng.beta(share * spread, (1 - share) * spread, difficulty.shape)
    first = rng.binomial(seeds, difficulty) / seeds
    second = rng.binomial(1, 0.2 + difficulty / 2)  # an agent without chance
    interval = wilson_interval(first, per_scene=seeds)
    difference = newcombe_interval(first, second, per_scene=(seeds, 1))
    for found, truth in ((interval, share), (difference, share - (0.2 + share / 2))):
        covered = ((found.low <= truth) & (truth <= found.high)).mean()
        assert 0.93 <= covered <= 0.985, (found.method, covered)


def test_seeds_that_agree_tell_no_more_than_one():
    scenes = np.arange(40) < 13
    alike = wilson_interval(scenes, per_scene=5)
    once = wilson_interval(scenes)
    assert (alike.low, alike.high) == (once.low, once.high)
    rng = np.random.default_rng(0)
    independent = wilson_interval(rng.binomial(5, 0.325, 4_000) / 5, per_scene=5)
    width = independent.high - independent.low
    assert width == pytest.approx(2 * 1.96 * math.sqrt(0.325 * 0.675 / 20_000), rel=0.05)


def test_what_is_no_share_has_no_interval_of_one():
    with pytest.raises(ValueError, match="no shares"):
        wilson_interval(np.array([0.0, 1.2]))
    with pytest.raises(ValueError, match="scenes"):
        newcombe_interval(np.empty(0), np.empty(0))


def test_quantities_get_the_interval_of_their_kind():
    rng = np.random.default_rng(0)
    values = {"error": rng.random((20, 3)), "hit": (rng.random((20, 3)) < 0.5).astype(float)}
    found = mean_intervals(values, {"hit": 1}, 100)
    assert list(found) == ["error", "hit"]
    assert {name: each.method for name, each in found.items()} == {
        "error": "bootstrap",
        "hit": "wilson",
    }
    np.testing.assert_array_equal(
        found["error"].low, bootstrap_interval(values["error"], resamples=100).low
    )


# The bootstrap -----------------------------------------------------------------------------------


def test_a_single_scene_has_a_mean_and_no_interval():
    interval = bootstrap_interval(np.array([[3.0, 4.0]]))
    assert interval.mean.tolist() == [3, 4]
    assert not interval.exists
    assert bootstrap_interval(np.array([3.0, 4.0])).exists


def test_intervals_are_quantiles_of_the_means_of_resampled_scenes():
    values = np.random.default_rng(1).random((40, 3)) ** 2
    interval = bootstrap_interval(values, resamples=500, seed=4)
    rng = np.random.default_rng(4)
    means = [values[rng.integers(40, size=40)].mean(axis=0) for _ in range(500)]
    np.testing.assert_allclose(interval.mean, values.mean(axis=0))
    np.testing.assert_allclose(interval.low, np.quantile(means, 0.025, axis=0))
    np.testing.assert_allclose(interval.high, np.quantile(means, 0.975, axis=0))


def test_intervals_of_hits_and_misses_are_as_wide_as_the_binomial_law_says():
    hits = np.arange(2_000) % 10 < 3
    interval = bootstrap_interval(hits)
    half_width = 1.96 * np.sqrt(0.3 * 0.7 / 2_000)
    assert interval.high - 0.3 == pytest.approx(half_width, rel=0.1)
    assert 0.3 - interval.low == pytest.approx(half_width, rel=0.1)


def test_intervals_do_not_depend_on_how_many_resamples_fit_in_memory(monkeypatch):
    values = np.random.default_rng(2).random((30, 2))
    reference = bootstrap_interval(values, resamples=100)
    monkeypatch.setattr("agents.evaluation.statistics._DRAWS_AT_A_TIME", 7 * 30)
    chunked = bootstrap_interval(values, resamples=100)
    np.testing.assert_allclose(chunked.low, reference.low)
    np.testing.assert_allclose(chunked.high, reference.high)


def test_quantities_of_the_same_scenes_share_their_resamples():
    rng = np.random.default_rng(3)
    first, second = rng.random((2, 50, 4))
    together = bootstrap_intervals({"first": first, "second": second}, 200)
    np.testing.assert_allclose(
        together["second"].low, bootstrap_interval(second, resamples=200).low
    )


@pytest.mark.parametrize("values", [np.empty((0, 2)), np.array([1.0, np.nan])])
def test_means_that_do_not_exist_have_no_interval(values):
    with pytest.raises(ValueError, match=r"scenes|finite"):
        bootstrap_interval(values)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test(lost, won):
    expected = binomtest(lost, lost + won).pvalue if lost + won else 1.0
    assert mcnemar_p_value(lost, won) == pytest.approx(expected)


def test_holm_by_hand():
    assert holm_adjusted([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm_adjusted([0.9, 0.8]) == [1.0, 1.0]
    assert holm_adjusted([]) == []
    with pytest.raises(ValueError, match="lost=-1"):
        mcnemar_p_value(-1, 2)

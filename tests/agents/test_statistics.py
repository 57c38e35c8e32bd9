"""Bootstrap intervals, against their definition and the binomial law."""

import numpy as np
import pytest

from agents.evaluation.statistics import bootstrap_interval, bootstrap_intervals


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

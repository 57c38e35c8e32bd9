"""Drift, spectrum and probe of features: others' numbers, other libraries', and laws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_numbers import Golden
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from encoders.analysis.drift import feature_drift
from encoders.analysis.probe import fit_probe
from encoders.analysis.spectrum import (
    diagonal_frequencies,
    feature_map_variance,
    maps_of_tokens,
    relative_log_amplitude,
)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", ["tokens", "grid"])
def test_spectrum_and_variance_are_the_authors(kind, dtype):
    golden = Golden("mixers", dtype)
    values = golden[f"analysis/{kind}"]
    maps = maps_of_tokens(values, (8, 8)) if kind == "tokens" else values
    golden.check(relative_log_amplitude(maps), f"analysis/fourier_{kind}")
    golden.check(feature_map_variance(maps), f"analysis/variance_{kind}")


def waves(height, width, cycles):
    """A map with one wave along both axes, `cycles` of them along each side."""
    rows, columns = np.mgrid[:height, :width]
    wave = np.cos(2 * np.pi * cycles * (rows / height + columns / width))
    return torch.from_numpy(wave)[None, None]


@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 5))
def test_a_wave_is_found_at_its_frequency(height, width, cycles):
    count = min(height, width) // 2
    frequencies = diagonal_frequencies(height, width)
    constant = torch.ones(1, 1, height, width, dtype=torch.float64)
    found = relative_log_amplitude(constant + 0.5 * waves(height, width, 0))
    assert found.shape == frequencies.shape == (count,)
    assert found[0] == 0
    assert (found[1:] < -8).all()  # a constant map has no other frequency
    if height == width and 0 < cycles < count:
        spectrum = relative_log_amplitude(constant + waves(height, width, cycles))
        assert int(spectrum[1:].argmax()) + 1 == cycles
        assert float(frequencies[cycles]) == pytest.approx(2 * cycles / height)


def test_oblong_maps_are_read_at_equal_frequencies():
    # Twice as many columns: one cycle along a side of 8 has the frequency of two along 16.
    rows, columns = np.mgrid[:8, :16]
    wave = 1 + np.cos(2 * np.pi * (2 * rows / 8 + 4 * columns / 16))
    spectrum = relative_log_amplitude(torch.from_numpy(wave)[None, None])
    assert int(spectrum[1:].argmax()) + 1 == 2


@given(st.integers(0, 1000))
def test_variance_ignores_a_shift_and_scales_with_the_square(seed):
    maps = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(seed)).double()
    expected = np.var(maps.numpy().reshape(2, 3, 20), axis=2, ddof=1).mean()
    assert float(feature_map_variance(maps)) == pytest.approx(expected)
    assert float(feature_map_variance(3 * maps + 5)) == pytest.approx(9 * expected)
    with pytest.raises(ValueError, match=r"expected \[B, D, h, w\]"):
        feature_map_variance(maps[..., :1])


@given(st.integers(0, 1000))
def test_drift_against_numpy(seed):
    rng = np.random.default_rng(seed)
    one, other = rng.normal(size=(2, 6, 9))
    drift = feature_drift(torch.from_numpy(one), torch.from_numpy(other))
    np.testing.assert_allclose(drift.l2, np.sqrt(((one - other) ** 2).sum(1)))
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    np.testing.assert_allclose(drift.cosine, 1 - (one * other).sum(1) / lengths)
    still = feature_drift(torch.from_numpy(one), torch.from_numpy(one))
    assert float(still.l2.max()) == 0
    assert float(still.cosine.max()) < 1e-12
    with pytest.raises(ValueError, match=r"expected \[N, D\] twice"):
        feature_drift(torch.from_numpy(one), torch.from_numpy(other[:3]))


def test_the_probe_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    features = rng.normal(size=(300, 7)) + np.eye(7)[labels] * 1.5 + 10
    probe = fit_probe(torch.from_numpy(features), torch.from_numpy(labels), 4, weight_decay=1e-2)
    spread = features.std(0)
    theirs = LogisticRegression(C=1 / (1e-2 * 300), tol=1e-10, max_iter=10_000)
    theirs.fit((features - features.mean(0)) / spread, labels)
    np.testing.assert_allclose(probe.weight * spread, theirs.coef_, atol=1e-4)
    logits = probe(torch.from_numpy(features)).softmax(1)
    expected = theirs.predict_proba((features - features.mean(0)) / spread)
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_a_probe_of_nothing_is_refused():
    features, labels = torch.randn(4, 3), torch.tensor([0, 1, 0, 1])
    with pytest.raises(ValueError, match="at least 2 classes"):
        fit_probe(features, labels * 0, 1)
    with pytest.raises(ValueError, match="not finite"):
        fit_probe(features / 0, labels, 2)
    with pytest.raises(ValueError, match="N of at least 1"):
        fit_probe(features[:0], labels[:0], 2)

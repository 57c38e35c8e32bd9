"""Weighted nearest neighbours: the authors' numbers, a plain oracle, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_numbers import DTYPES, Golden
from hypothesis import given
from hypothesis import strategies as st

from encoders.analysis import knn
from encoders.analysis.knn import knn_classify


def golden_features(golden):
    names = ("train_features", "train_labels", "test_features", "test_labels")
    return tuple(golden[f"knn/{name}"] for name in names)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("neighbours", [5, 10, 20])
def test_authors_accuracies(dtype, neighbours):
    golden = Golden("dino", dtype)
    train, train_labels, features, labels = golden_features(golden)
    predictions = knn_classify(train, train_labels, features, neighbours=neighbours)
    expected = golden[f"knn/k{neighbours}_T0.07_top1_top5"] / 100
    assert predictions.accuracy(labels) == pytest.approx(float(expected[0]), abs=1e-6)
    assert predictions.accuracy(labels, top=5) == pytest.approx(float(expected[1]), abs=1e-6)


def oracle(train, train_labels, features, neighbours, temperature):
    """Votes of each class, one feature and one neighbour at a time."""
    classes = train_labels.max() + 1
    votes = np.zeros((len(features), classes))
    for row, feature in enumerate(features):
        lengths = np.linalg.norm(train, axis=1) * np.linalg.norm(feature)
        similarities = train @ feature / lengths
        for nearest in np.argsort(-similarities)[:neighbours]:
            votes[row, train_labels[nearest]] += np.exp(similarities[nearest] / temperature)
    return votes


@given(
    seed=st.integers(0, 2**32 - 1),
    neighbours=st.integers(1, 40),
    temperature=st.floats(0.05, 2.0),
)
def test_votes_are_those_of_a_plain_loop(seed, neighbours, temperature):
    rng = np.random.default_rng(seed)
    train, features = rng.normal(size=(30, 6)), rng.normal(size=(9, 6))
    labels = rng.integers(7, size=30)
    votes = oracle(train, labels, features, neighbours, temperature)
    predictions = knn_classify(
        torch.from_numpy(train),
        torch.from_numpy(labels),
        torch.from_numpy(features),
        neighbours=neighbours,
        temperature=temperature,
    )
    won = np.take_along_axis(votes, predictions.ranking.numpy(), axis=1)
    np.testing.assert_allclose(won, -np.sort(-votes, axis=1)[:, :5], rtol=1e-9, atol=1e-12)


def test_blocks_of_any_size_give_the_same(monkeypatch):
    train, train_labels, features, _ = golden_features(Golden("dino", torch.float64))
    whole = knn_classify(train, train_labels, features).ranking
    monkeypatch.setattr(knn, "_SIMILARITIES_AT_ONCE", 60 * 7)
    assert torch.equal(knn_classify(train, train_labels, features).ranking, whole)


def test_low_temperatures_leave_the_nearest_alone():
    train = torch.tensor([[1.0, 0.0], [0.99, 0.1], [0.99, -0.1]])
    predictions = knn_classify(
        train, torch.tensor([1, 0, 0]), torch.tensor([[5.0, 0.0]]), temperature=1e-5
    )
    assert predictions.predicted.tolist() == [1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"train_features": torch.zeros(0, 3), "train_labels": torch.zeros(0).long()},
            "0 training",
        ),
        ({"train_labels": torch.tensor([0])}, "expected"),
        ({"features": torch.zeros(2, 4)}, r"\[N, D\]"),
        ({"features": torch.full((2, 3), torch.nan)}, "not finite"),
        ({"train_labels": torch.tensor([0, -1])}, "label is -1"),
        ({"neighbours": 0}, "neighbours=0"),
        ({"temperature": 0.0}, r"temperature=0\.0"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, words):
    arguments = {
        "train_features": torch.eye(2, 3),
        "train_labels": torch.tensor([0, 1]),
        "features": torch.eye(2, 3),
        **change,
    }
    with pytest.raises(ValueError, match=words):
        knn_classify(**arguments)

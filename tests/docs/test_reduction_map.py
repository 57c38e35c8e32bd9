"""The map of reductions compares what belongs together, and says what its figures show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.evaluation.statistics import newcombe_interval
from reduction_map.episodes import scenes_of_seed
from reduction_map.points import CONTROL, PLAIN, REDUCING, Point, all_points
from reduction_map.tables import Comparison, in_words, make_groups, named_rows, point_rows

SCENES = 400


def kept(split, hits, *, seed=0, training=PLAIN, training_seed="", plain="a", **more):
    """What the script keeps of a point."""
    point = Point(split, more.pop("reduction", "none"), max_tokens=more.pop("max_tokens", 0))
    values = {
        **{"model": "6 blocks", "environment": "scenes", "glimpses": "random", "num_glimpses": 8},
        **{"glimpse_size": 2, "scenes": SCENES, "seed": seed, "scene_ids": list(range(SCENES))},
        **{"training": training, "training_seed": training_seed, "plain_hash": plain},
        **{"split_block": split, "reduction": point.reduction, "reduction_in": "aggregator"},
        **{"max_tokens": point.max_tokens, "way": point.way, "hits": list(map(int, hits))},
        **{"gflops": 1.0, "ms": 1.0, "yardsticks": 1.0},
    }
    return values | more


def right(share, seed=0):
    return np.random.default_rng(seed).permutation(np.arange(SCENES) < share * SCENES)


@settings(deadline=None)
@given(st.integers(-3, 50), st.integers(1, 60), st.integers(1, 60))
def test_seeds_have_scenes_of_their_own_while_there_are_enough(seed, count, total):
    one, next_one = (scenes_of_seed(each, count, total) for each in (seed, seed + 1))
    assert len(set(one)) == len(one) == min(count, total)
    assert set(one) <= set(range(total))
    assert (np.diff(one) > 0).all()
    if 2 * count <= total:
        assert not set(one) & set(next_one)


def test_tore_alone_is_there_once_and_first():
    points = all_points([0, 2], ["tome:r=2"], ["aggregator", "extractor"], [0, 8])
    assert points[:2] == [Point(0), Point(2)]
    assert len(points) == len(set(points)) == 2 + 2 * 2 * 2


def test_one_seed_is_newcombe_and_the_same_scenes_again_are_no_more():
    one, other = right(0.7, 1), right(0.75, 2)
    expected = newcombe_interval(one.astype(float), other.astype(float))
    for seeds in ([0], [0, 1]):
        pairs = {("a", "", seed): (kept(4, one), kept(2, other)) for seed in seeds}
        found = Comparison(pairs).interval
        for name in ("mean", "low", "high"):
            assert getattr(found, name) == pytest.approx(100 * getattr(expected, name))


def test_other_scenes_of_other_seeds_narrow_the_interval():
    def points(seed):
        ids = list(range(seed * SCENES, (seed + 1) * SCENES))
        hits = right(0.7, 2 * seed), right(0.7, 2 * seed + 1)
        return tuple(kept(4, each, seed=seed, scene_ids=ids) for each in hits)

    widths = []
    for seeds in (1, 4):
        interval = Comparison({("a", "", seed): points(seed) for seed in range(seeds)}).interval
        widths.append(float(interval.high - interval.low))
    assert widths[1] == pytest.approx(widths[0] / 2, rel=0.1)


@pytest.mark.parametrize(("lost", "equal"), [(0, "not shown"), (-200, "yes"), (100, "no")])
def test_equal_accuracy_is_claimed_where_the_interval_shows_it(lost, equal):
    other = np.arange(SCENES) < 250 - max(-lost, 0)
    one = np.arange(SCENES) < 250 - max(lost, 0)
    one[:10], one[-10:] = False, True  # as many won as lost
    assert Comparison({("a", "", 0): (kept(4, one), kept(2, other))}).equal == equal


@pytest.mark.parametrize(("wrong", "cheapest"), [(100, "K=2"), (1, "K=4")])
def test_ways_are_compared_with_three_k_of_tore_alone(wrong, cheapest):
    count = 10 * SCENES
    everything = {"scene_ids": range(count)}
    points = [
        kept(2, [1] * count, gflops=8.0, yardsticks=4.0, **everything),
        kept(4, [0] * wrong + [1] * (count - wrong), gflops=4.0, yardsticks=2.0, **everything),
        kept(5, [0, 1] * (count // 2), gflops=1.0, **everything),
        kept(2, [1] * count, reduction="tome:r=2", gflops=3.0, yardsticks=3.0, **everything),
    ]
    rows = named_rows(make_groups(points))
    found = {row["reference"]: row for row in rows if row["reduction"] == "tome:r=2"}
    against = {name: row["against"] for name, row in found.items()}
    assert against == {"most accurate K": "K=2", "same K": "K=2", "cheapest equal K": cheapest}
    best = found["most accurate K"]
    assert best["gflops_share"] == pytest.approx(3 / 8)
    assert best["time_share"] == pytest.approx(3 / 4)
    assert (best["equal_accuracy"], best["few_flops"], best["little_time"]) == ("yes",) * 3
    assert found["cheapest equal K"]["few_flops"] == ("yes" if cheapest == "K=2" else "no")
    words = in_words(list(found.values()))
    assert "2 at equal accuracy" in words
    share = {"K=2": "0.38 and 0.75", "K=4": "0.75 and 1.50"}[cheapest]
    assert words.count(f"{share} of those of {cheapest}, the cheapest equal K") == 2


def test_trained_encoders_are_paired_with_what_they_started_from():
    low, high = right(0.5), np.ones(SCENES, bool)
    points = [kept(2, low, plain="a"), kept(2, high, plain="b")]
    for plain, hits in (("a", low), ("b", high)):
        for training_seed in "01":
            mine = {"training_seed": training_seed, "plain": plain}
            points.append(kept(2, hits, training=CONTROL, **mine))
            points.append(kept(2, hits, training=REDUCING, reduction="tome:r=1", **mine))
    rows = [row for row in named_rows(make_groups(points)) if row["training"] == REDUCING]
    assert {row["reference"] for row in rows} == {
        f"{name} K{ending}"
        for name in ("most accurate", "same", "cheapest equal")
        for ending in ("", " of the control")
    }
    for row in rows:
        assert row["difference_by_seed"] == "; ".join(["0/0: +0.00", "1/0: +0.00"] * 2)
    single = [row for row in point_rows(make_groups(points)) if row["training"] == REDUCING]
    assert [row["difference"] for row in single] == [0.0] * 4


def test_what_an_encoder_beside_cannot_do_is_left_open():
    beside = {"name": "large", "split_block": 4, "ms": 2.0, "yardsticks": 2.0}
    points = [
        kept(2, right(0.5), beside=beside),
        kept(2, right(0.5), max_tokens=8, beside=beside | {"yardsticks": 1.0}),
        kept(
            2, right(0.5), reduction="avit", beside=beside | dict.fromkeys(("ms", "yardsticks"), "")
        ),
    ]
    shares = {
        (row["reduction"], row["max_tokens"]): row["beside_time_share"]
        for row in named_rows(make_groups(points))
    }
    assert shares == {("none", 0): 1.0, ("none", 8): 0.5, ("avit", 0): ""}

"""Synthetic panoramas: deterministic, seamless, disjoint, and what their labels say."""

import subprocess
import sys
import zlib

import numpy as np
import pytest

from ave_env.scenes.synthetic.counter import mix, uniform
from ave_env.scenes.synthetic.landmarks import LANDMARKS
from ave_env.scenes.synthetic.panoramas import CLASS_NAMES, SPLIT_SIZES, SyntheticScenes


@pytest.fixture(scope="module")
def scenes() -> SyntheticScenes:
    return SyntheticScenes("test")


def splitmix64(value: int) -> int:
    """The finaliser of SplitMix64 in plain Python integers."""
    mask = 2**64 - 1
    value = value * 0x9E3779B97F4A7C15 & mask
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & mask
    value = (value ^ value >> 27) * 0x94D049BB133111EB & mask
    return value ^ value >> 31


def test_counters_are_hashed_as_splitmix64_does():
    counters = [0, 1, 2, 12345, 2**40 + 7, 2**63]
    hashed = mix(np.array(counters, dtype=np.uint64))
    assert hashed.tolist() == [splitmix64(c) for c in counters]
    # First outputs of the published generator when seeded with 0.
    assert hex(splitmix64(1)) == "0xe220a8397b1dcdaf"


def test_uniform_numbers_fill_the_unit_interval_evenly():
    draws = uniform(np.arange(200_000), key=3)
    assert draws.min() >= 0
    assert draws.max() < 1
    counts = np.histogram(draws, bins=20, range=(0, 1))[0]
    assert np.abs(counts / 10_000 - 1).max() < 0.05
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.01


def test_sizes_labels_and_names_are_those_of_26_categories(scenes):
    assert {split: len(SyntheticScenes(split)) for split in SPLIT_SIZES} == SPLIT_SIZES
    assert len(set(CLASS_NAMES)) == 26
    assert scenes.labels.dtype == np.int64
    counts = np.bincount(SyntheticScenes("train").labels, minlength=26)
    assert len(counts) == 26
    assert np.abs(counts / (100_000 / 26) - 1).max() < 0.1


@pytest.mark.parametrize("size", [(128, 256), (64, 128), (96, 96), (33, 71), (2, 2), (224, 224)])
def test_any_size_gives_contiguous_uint8_images(size):
    image = SyntheticScenes("val", size).load(3)
    assert image.shape == (*size, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.base is None  # the caller owns it


def test_a_scene_depends_on_seed_split_and_index_alone(scenes):
    np.random.seed(0)  # noqa: NPY002 - the state that must not matter
    first = [scenes.load(i) for i in (5, 1999, 5)]
    np.random.seed(1)  # noqa: NPY002
    again = SyntheticScenes("test")
    assert np.array_equal(first[0], first[2])
    assert np.array_equal(again.load(1999), first[1])
    assert np.array_equal(again.load(5), first[0])
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], SyntheticScenes("val").load(5))
    assert not np.array_equal(first[0], SyntheticScenes("test", seed=1).load(5))


def test_another_process_draws_the_same_scene(scenes):
    code = (
        "import zlib; from ave_env.scenes.synthetic import SyntheticScenes as S;"
        "print(zlib.crc32(S('test').load(11).tobytes()))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(out.stdout) == zlib.crc32(scenes.load(11).tobytes())


def test_splits_share_no_scene():
    seen = set()
    for split in SPLIT_SIZES:
        scenes = SyntheticScenes(split, (2, 2))
        size = min(len(scenes), 2_000)
        draws = {scenes._draws(i).tobytes() for i in range(size)}
        assert len(draws) == size
        assert not seen & draws
        seen |= draws


def test_the_left_and_right_edges_meet(scenes):
    seam, inside = [], []
    for index in range(40):
        image = scenes.load(index).astype(int)
        steps = np.abs(np.roll(image, -1, axis=1) - image).mean(axis=(0, 2))
        seam.append(steps[-1])
        inside.append(np.delete(steps, -1).mean())
    # The step across the seam is like a step anywhere else.
    assert np.mean(seam) < 1.15 * np.mean(inside)


def test_factors_agree_with_labels_and_geometry(scenes):
    palettes = set()
    for index in range(60):
        factors = scenes.factors(index)
        palettes.add(factors.palette)
        assert factors.label == scenes.labels[index]
        assert "-".join(factors.landmarks) == scenes.class_names[factors.label]
        for name, band in zip(factors.landmarks, LANDMARKS, strict=True):
            assert name in [drawing.__name__ for drawing in band]
        azimuths = factors.centers[:, 1] / 256 * 360
        expected = [factors.sun_azimuth, factors.sun_azimuth + 180, factors.road_azimuth]
        offset = (azimuths - expected + 180) % 360 - 180
        assert np.abs(offset).max() < 8
        assert (np.abs(factors.centers[:, 0] - [27, 59, 101]) <= 4).all()
    assert len(palettes) == 5


def test_only_the_pixels_near_the_landmarks_tell_the_label(scenes):
    other = SyntheticScenes("test")
    other.labels = (other.labels + 13) % 26
    for index in range(12):
        rows, columns = np.nonzero((scenes.load(index) != other.load(index)).any(axis=2))
        assert len(rows) > 100
        centers = scenes.factors(index).centers
        dy = np.abs(rows[:, None] - centers[:, 0])
        dx = np.abs(columns[:, None] - centers[:, 1])
        assert (np.maximum(dy, np.minimum(dx, 256 - dx)).min(axis=1) <= 14).all()


def test_the_sky_is_brighter_on_the_side_of_the_sun(scenes):
    bright = []
    for index in range(30):
        image, factors = scenes.load(index).astype(float), scenes.factors(index)
        sun = round(factors.sun_azimuth / 360 * 256)
        rim = np.roll(image[44:56].mean(axis=(0, 2)), 128 - sun)
        bright.append(rim[88:168].mean() - rim[[*range(40), *range(216, 256)]].mean())
    assert (np.array(bright) > 0).mean() > 0.9


@pytest.mark.parametrize("index", [-1, 2000])
def test_an_index_out_of_range_is_refused(scenes, index):
    with pytest.raises(IndexError, match=f"{index} is out of range: test has 2000"):
        scenes.load(index)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="train, val, test, got 'valid'"):
        SyntheticScenes("valid")
    with pytest.raises(ValueError, match=r"at least \(2, 2\), got \(0, 9\)"):
        SyntheticScenes("val", (0, 9))

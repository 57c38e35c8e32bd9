"""Cached scenes are the same scenes, within the memory allowed."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ave_env.scenes import Scenes, open_scenes
from ave_env.scenes.cache import CachedScenes

IMAGE_BYTES = 4 * 8 * 3


class CountingScenes(Scenes):
    """Scenes that show their number and note how often they are loaded."""

    name = "synthetic"
    split = "train"
    class_names = ("a",)
    image_size = (4, 8)
    labels = np.zeros(6, np.int64)
    seamless = True

    def __init__(self) -> None:
        self.loads: list[int] = []

    def load(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self):
            raise IndexError(index)
        self.loads.append(index)
        return np.full((4, 8, 3), index, np.uint8)


@given(st.lists(st.integers(0, 5)), st.integers(0, 8 * IMAGE_BYTES))
def test_what_fits_is_loaded_once_and_the_bound_holds(visits: list[int], max_bytes: int) -> None:
    cached = CachedScenes(CountingScenes(), max_bytes)
    fits = max_bytes // IMAGE_BYTES
    kept = set(list(dict.fromkeys(visits))[:fits])
    for index in visits:
        image = cached.load(index)
        assert (image == index).all()
        assert image.shape == (4, 8, 3)
        assert image.flags.c_contiguous
        assert cached.cached_bytes <= max_bytes
    assert cached.cached_bytes == len(kept) * IMAGE_BYTES
    for index in range(6):
        expected = min(1, visits.count(index)) if index in kept else visits.count(index)
        assert cached.loads.count(index) == expected


@pytest.mark.parametrize("max_bytes", [0, 10**6])
def test_cached_images_cannot_be_changed(max_bytes: int) -> None:
    image = CachedScenes(CountingScenes(), max_bytes).load(1)
    with pytest.raises(ValueError, match="read-only"):
        image[0] = 7


def test_copies_and_pickles_carry_no_pixels() -> None:
    scenes = open_scenes("synthetic", split="val", image_size=(64, 128), cache_bytes=10**7)
    image = scenes.load(3)
    data = pickle.dumps(scenes)
    assert len(data) < image.nbytes
    for other in (pickle.loads(data), copy.deepcopy(scenes)):
        assert other.cached_bytes == 0
        assert np.array_equal(other.load(3), image)


def test_a_cache_looks_like_what_it_holds() -> None:
    plain = open_scenes("synthetic", split="val", image_size=(64, 128))
    cached = open_scenes("synthetic", split="val", image_size=(64, 128), cache_bytes=10**6)
    for name in ("name", "split", "class_names", "image_size", "seamless"):
        assert getattr(cached, name) == getattr(plain, name)
    assert len(cached) == len(plain)
    assert np.array_equal(cached.labels, plain.labels)
    with pytest.raises(IndexError):
        cached.load(len(cached))
    with pytest.raises(AttributeError):
        cached.nonsense  # noqa: B018
    with pytest.raises(ValueError, match="-1 bytes"):
        CachedScenes(plain, -1)

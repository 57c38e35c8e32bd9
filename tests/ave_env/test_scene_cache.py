"""Cached scenes are the same scenes, within the memory allowed."""

import copy
import gc
import multiprocessing
import os
import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ave_env.configuration import Configuration
from ave_env.scenes import Scenes, cache, open_scenes
from ave_env.scenes.cache import CachedScenes, with_cache
from encoders.support import memory

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


def automatic(scenes: Scenes) -> int:
    """How many scenes a cache of its own choice would hold."""
    found = with_cache(scenes, None)
    return found.capacity if isinstance(found, CachedScenes) else 0


def held_to(patch: pytest.MonkeyPatch, *, most: int = 10**9, available: int | None = None) -> None:
    """Sets the two bounds of caches that nobody asked for, in scenes of `CountingScenes`."""
    patch.setattr(cache, "AUTOMATIC_BYTES", most * IMAGE_BYTES + cache._taken_unasked)
    memory = None if available is None else available * IMAGE_BYTES
    patch.setattr(cache, "available_memory", lambda: memory)


@pytest.mark.parametrize(
    ("most", "available", "kept"),
    [(6, None, 6), (5, None, 5), (3, None, 3), (2, None, 0), (9, 24, 6), (9, 12, 3), (9, 11, 0)],
)
def test_a_cache_nobody_asked_for_keeps_to_its_bounds(most, available, kept, monkeypatch) -> None:
    held_to(monkeypatch, most=most, available=available)
    assert automatic(CountingScenes()) == kept


def test_caches_nobody_asked_for_share_one_bound_and_give_it_back(monkeypatch) -> None:
    held_to(monkeypatch, most=10)
    first = with_cache(CountingScenes(), None)
    second = with_cache(CountingScenes(), None)
    assert (first.capacity, second.capacity) == (6, 4)
    assert automatic(CountingScenes()) == 0
    assert with_cache(CountingScenes(), 6 * IMAGE_BYTES).capacity == 6  # asked for
    del first
    gc.collect()
    assert automatic(CountingScenes()) == 6


def kept_in(scenes: CachedScenes, pipe: Any) -> None:
    """Loads all scenes in another process, and says how many came to be kept there."""
    before = len(scenes.scenes.loads)
    for index in range(len(scenes)):
        assert (scenes.load(index) == index).all()
    pipe.send((scenes.cached_bytes // IMAGE_BYTES, len(scenes.scenes.loads) - before))


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.parametrize("asked", [False, True])
def test_worker_processes_keep_nothing_more_unasked(method: str, asked: bool) -> None:
    scenes = CachedScenes(CountingScenes(), 6 * IMAGE_BYTES if asked else None)
    for index in range(2):
        scenes.load(index)
    context = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=kept_in, args=(scenes, sender))
    process.start()
    kept, loaded = receiver.recv()
    process.join()
    inherited = 2 if method == "fork" else 0
    assert (kept, loaded) == (6 if asked else inherited, 6 - inherited)


def test_environments_cache_small_splits_unless_told_otherwise(tmp_path: Path) -> None:
    size = {"image_size": (32, 64), "encoder": None}
    for settings, expected in [
        ({"scenes": "panoramas"}, 8),
        ({"scenes": "synthetic", "split": "val"}, 2000),
        ({"scenes": "panoramas", "cache_bytes": 2 * 32 * 64 * 3}, 2),
    ]:
        scenes = Configuration(**settings, **size).open_scenes()
        assert isinstance(scenes, CachedScenes)
        assert scenes.capacity == expected
    for settings in ({"cache_bytes": 0, "scenes": "panoramas"}, {"scenes": CountingScenes()}):
        size = {**size, "image_size": None, "patch_size": 4, "glimpse_size": 1}
        assert not isinstance(Configuration(**settings, **size).open_scenes(), CachedScenes)


def test_a_cache_changes_no_episode() -> None:
    episodes = []
    for cache_bytes in (None, 0, 10**5):
        env = gym.make(
            "AVE-Panoramas-v0", image_size=(32, 64), cache_bytes=cache_bytes, encoder=None
        )
        env.action_space.seed(0)
        seen = [env.reset(seed=3)[0]["glimpse"]]
        for _ in range(40):
            observation, _, ended, _, info = env.step(env.action_space.sample())
            seen += [observation["glimpse"], info["scene_id"]]
            if ended:
                env.reset()
        episodes.append(seen)
    for other in episodes[1:]:
        assert all(map(np.array_equal, episodes[0], other))


def test_available_memory_is_what_the_kernel_says_or_a_container_leaves(tmp_path, monkeypatch):
    meminfo, limit, used = (tmp_path / name for name in ("meminfo", "max", "current"))
    meminfo.write_text("MemTotal: 9 kB\nMemAvailable:    2000 kB\n")
    used.write_text("500\n")
    monkeypatch.setattr(memory, "_MEMINFO", meminfo)
    monkeypatch.setattr(memory, "_CGROUPS", ((limit, used),))
    assert memory.available_memory() == 2000 * 1024  # there is no limit
    for text, expected in (("max", 2000 * 1024), ("1500", 1000), ("400", 0)):
        limit.write_text(text)
        assert memory.available_memory() == expected
    meminfo.unlink()  # as on other systems
    limit.unlink()
    assert memory.available_memory() == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")

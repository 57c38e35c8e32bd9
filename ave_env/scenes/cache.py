"""Decoded scenes kept in memory, within a bound."""

from __future__ import annotations

import functools
import multiprocessing
import os
import weakref
from typing import Any

import numpy as np

from ave_env.scenes.base import Scenes
from encoders.support.memory import available_memory

AUTOMATIC_BYTES = 1 << 30
"""Most memory that a process spends unasked on decoded scenes, all its environments together."""

_SHARE_OF_MEMORY = 4  # unasked, no more than this part of what is available
_WORTHWHILE = 2  # unasked, only where this part of the scenes fits: it then saves half the loads

_taken_unasked = 0  # bytes, by the caches of this process that chose their own bound


def automatic_cache_bytes(scenes: Scenes) -> int:
    """What a cache may take where nobody said how much: all that the scenes need, within bounds.

    `AUTOMATIC_BYTES` for all such caches of the process, and a quarter of the memory that is
    available. Nothing where less than half of the scenes would fit, for then most are loaded anew
    all the same; and nothing in a process that `multiprocessing` has started, such as a worker of
    an `AsyncVectorEnv`, for each would hold a copy of its own.

    Args:
        scenes: What would be kept.

    Returns:
        Bytes; 0 for no cache.
    """
    if multiprocessing.parent_process() is not None:
        return 0
    left = max(0, AUTOMATIC_BYTES - _taken_unasked)
    if (available := available_memory()) is not None:
        left = min(left, available // _SHARE_OF_MEMORY)
    needed = len(scenes) * _image_bytes(scenes)
    return min(needed, left) if needed <= _WORTHWHILE * left else 0


def with_cache(scenes: Scenes, max_bytes: int | None) -> Scenes:
    """Scenes behind a cache, or as they are where it would keep nothing.

    Args:
        scenes: What to load from.
        max_bytes: Bound on the pixels kept, in bytes; None = `automatic_cache_bytes`.
    """
    if max_bytes == 0 or (max_bytes is None and not automatic_cache_bytes(scenes)):
        return scenes
    return CachedScenes(scenes, max_bytes)


def _image_bytes(scenes: Scenes) -> int:
    height, width = scenes.image_size
    return height * width * 3


def _take(num_bytes: int) -> None:
    global _taken_unasked
    _taken_unasked += num_bytes


class CachedScenes(Scenes):
    """Scenes that are loaded once and then kept, as long as there is room.

    What is in memory stays there: once the bound is reached, further scenes are loaded each time.
    Episodes visit scenes at random or one after the other. Against random visits, replacing the
    least recently used scene would score no more hits; against sequential ones it would score none
    where not all scenes fit. The memory is taken as it fills. Copies and pickles start with an
    empty cache; forked processes share what was loaded before. A cache that chose its own bound
    keeps nothing more in them, and nothing where it is unpickled in a worker process.

    Attributes:
        scenes: The scenes underneath.
        max_bytes: The bound that was asked for; None = the cache chose its own.
    """

    _filled_by: int | None  # the one process that may add scenes; None = any

    def __init__(self, scenes: Scenes, max_bytes: int | None) -> None:
        """Puts a cache before other scenes.

        Args:
            scenes: What to load from.
            max_bytes: Bound on the pixels kept, in bytes; None = `automatic_cache_bytes`.

        Raises:
            ValueError: A negative bound.
        """
        if max_bytes is not None and max_bytes < 0:
            raise ValueError(f"the cache cannot hold {max_bytes} bytes; expected 0 or more")
        self.scenes = scenes
        self.max_bytes = max_bytes
        self.name = scenes.name
        self.split = scenes.split
        self.class_names = scenes.class_names
        self.image_size = scenes.image_size
        self.labels = scenes.labels
        self.seamless = scenes.seamless
        self.targets = scenes.targets
        self._clear()

    def load(self, index: int) -> np.ndarray:
        """Returns one image, read-only: it may be the cached one.

        Args:
            index: Number of the scene, `0 <= index < len(self)`.

        Returns:
            RGB image, uint8 `[H, W, 3]`, C-contiguous, not writeable.

        Raises:
            IndexError: If `index` is out of range.
            SceneError: If the scene cannot be loaded.
        """
        slot = self._slots.get(index)
        if slot is None:
            image = self.scenes.load(index)
            if len(self._slots) < self.capacity and self._filled_by in (None, os.getpid()):
                slot = len(self._slots)
                self._pixels[slot] = image
                self._slots[index] = slot
            else:
                image = image.view()
                image.flags.writeable = False
                return image
        return self._readable[slot]

    def target(self, name: str, index: int) -> Any:
        """Returns what the scenes underneath return, but images out of the cache, read-only."""
        return self.load(index) if name == "image" else self.scenes.target(name, index)

    @property
    def cached_bytes(self) -> int:
        """Bytes of pixels now in memory."""
        return len(self._slots) * _image_bytes(self.scenes)

    @functools.cached_property
    def capacity(self) -> int:
        """Number of scenes that fit."""
        # Settled when it is first asked for: a process that is being started does not yet know
        # that it is a worker while it unpickles what it is to work with.
        limit = self.max_bytes
        if limit is None:
            limit = automatic_cache_bytes(self.scenes)
            self._filled_by = os.getpid()
            _take(limit)
            weakref.finalize(self, _take, -limit)
        return min(len(self.scenes), limit // _image_bytes(self.scenes))

    @functools.cached_property
    def _pixels(self) -> np.ndarray:
        # The system hands out the pages of this array when they are first written.
        return np.empty((self.capacity, *self.image_size, 3), np.uint8)

    @functools.cached_property
    def _readable(self) -> np.ndarray:
        readable = self._pixels.view()
        readable.flags.writeable = False
        return readable

    def _clear(self) -> None:
        self._slots: dict[int, int] = {}
        self._filled_by = None

    def __getattr__(self, name: str) -> Any:
        """Offers what else the scenes underneath know, e.g. the factors of synthetic ones."""
        if name.startswith("_") or name == "scenes":  # absent while unpickling
            raise AttributeError(name)
        return getattr(self.scenes, name)

    def __getstate__(self) -> dict[str, object]:
        transient = ("_slots", "_pixels", "_readable", "_filled_by", "capacity")
        return {key: value for key, value in self.__dict__.items() if key not in transient}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._clear()

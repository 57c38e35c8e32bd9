"""Decoded scenes kept in memory, within a bound."""

from __future__ import annotations

from typing import Any

import numpy as np

from ave_env.scenes.base import Scenes


class CachedScenes(Scenes):
    """Scenes that are loaded once and then kept, as long as there is room.

    What is in memory stays there: once the bound is reached, further scenes are loaded each time.
    Episodes visit scenes at random or one after the other. Against random visits, replacing the
    least recently used scene would score no more hits; against sequential ones it would score none
    where not all scenes fit. The memory is taken as it fills. Copies and pickles start with an
    empty cache; forked processes share what was loaded before.

    Attributes:
        scenes: The scenes underneath.
        capacity: Number of scenes that fit.
    """

    def __init__(self, scenes: Scenes, max_bytes: int) -> None:
        """Puts a cache before other scenes.

        Args:
            scenes: What to load from.
            max_bytes: Bound on the pixels kept, in bytes.
        """
        if max_bytes < 0:
            raise ValueError(f"the cache cannot hold {max_bytes} bytes; expected 0 or more")
        self.scenes = scenes
        self.name = scenes.name
        self.split = scenes.split
        self.class_names = scenes.class_names
        self.image_size = scenes.image_size
        self.labels = scenes.labels
        self.seamless = scenes.seamless
        self.targets = scenes.targets
        height, width = scenes.image_size
        self.capacity = min(len(scenes), max_bytes // (height * width * 3))
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
            if len(self._slots) < self.capacity:
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
        return len(self._slots) * self._pixels[:1].nbytes

    def _clear(self) -> None:
        self._slots: dict[int, int] = {}
        # The system hands out the pages of this array when they are first written.
        self._pixels = np.empty((self.capacity, *self.image_size, 3), np.uint8)
        self._readable = self._pixels.view()
        self._readable.flags.writeable = False

    def __getattr__(self, name: str) -> Any:
        """Offers what else the scenes underneath know, e.g. the factors of synthetic ones."""
        if name.startswith("_") or name == "scenes":  # absent while unpickling
            raise AttributeError(name)
        return getattr(self.scenes, name)

    def __getstate__(self) -> dict[str, object]:
        transient = ("_slots", "_pixels", "_readable")
        return {key: value for key, value in self.__dict__.items() if key not in transient}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._clear()

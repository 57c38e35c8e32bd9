"""Work on many images at once, on a command line."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_CHUNK = 32  # handing over one small image costs as much as decoding it


class ProgressBar(Protocol):
    """What is used of tqdm's bars, which come without types."""

    def update(self, n: int = 1) -> object:
        """Counts images that are done."""

    def __enter__(self) -> ProgressBar: ...

    def __exit__(self, *exception: object) -> None: ...


def map_in_threads(
    function: Callable[[_Item], _Result], items: Sequence[_Item], workers: int | None
) -> Iterator[_Result]:
    """Applies a function to items in threads; OpenCV and Pillow work outside Python's lock.

    Args:
        function: What to do with an item.
        items: The items.
        workers: Number of threads; None = one per core.

    Yields:
        The results, in the order of the items. Only a few are computed ahead.
    """
    workers = workers or os.cpu_count() or 1
    chunks = (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
    waiting: deque[Future[list[_Result]]] = deque()
    executor = ThreadPoolExecutor(workers)
    try:
        for chunk in chunks:
            waiting.append(executor.submit(lambda some: [function(item) for item in some], chunk))
            if len(waiting) > 2 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)


def progress_bar(what: str, total: int, show: bool) -> ProgressBar:
    """Returns a progress bar over images, on the standard error stream."""
    from tqdm import tqdm

    return tqdm(total=total, desc=what, unit=" images", disable=not show, smoothing=0.1)

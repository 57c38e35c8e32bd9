"""Work that Ctrl-C does not cut in two."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def interrupts_wait() -> Iterator[None]:
    """Lets Ctrl-C, and a termination that Python handles, take effect when the context ends.

    Outside of the main thread, which alone is interrupted, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[tuple[int, FrameType | None]] = []
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    handlers = {kind: handler for kind, handler in before.items() if callable(handler)}
    for kind in handlers:
        signal.signal(kind, lambda number, frame: waiting.append((number, frame)))
    try:
        yield
    finally:
        for kind, handler in handlers.items():
            signal.signal(kind, handler)
        for number, frame in waiting[:1]:
            handlers[signal.Signals(number)](number, frame)

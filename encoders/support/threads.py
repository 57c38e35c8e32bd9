"""How many threads PyTorch computes with; imports no torch.

What an environment computes with by default: one thread where a step of all rows is small, for
there threads wait for each other longer than they work (`benchmarks/threads.py`), and all that
PyTorch has where it is large. One thread too in a worker process, for its siblings need the cores.

PyTorch's threads belong to OpenMP and do not survive a fork: the child believes that they are
there, and the first work it shares with them never ends. A forked child has one thread.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Iterator
from typing import Any

from encoders.support.notices import warn

SMALL_STEP = 500_000_000
"""Multiply-accumulates of a step, all rows together, below which one thread is used."""

_forked = False
_prepared = False


def survive_forks() -> None:
    """Sees to it that processes forked from this one compute; calling it again changes nothing.

    A process that `multiprocessing` has forked before it came to this line is seen to as well.
    """
    global _prepared
    if _prepared:
        return
    _prepared = True
    if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
        os.register_at_fork(after_in_child=_keep_one_thread)
    if _started_by_fork() and "torch" in sys.modules:
        _keep_one_thread()


def set_threads(threads: int | None) -> None:
    """Limits PyTorch to some threads, in the whole process; None leaves their number as it is.

    Args:
        threads: At least 1.
    """
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def choose_threads(threads: int | None, flops: int) -> int | None:
    """The threads to take a step with on the CPU; None = as many as PyTorch has.

    Args:
        threads: What was asked for; None = as it pays.
        flops: Multiply-accumulates of a step, all rows together.
    """
    if _forked:
        if threads is not None and threads > 1:
            warn(
                f"threads={threads} in a process that was forked, where PyTorch has only one: "
                "start workers with the context 'spawn' or 'forkserver' to give them more"
            )
        return 1
    if threads is not None:
        return threads
    is_worker = multiprocessing.parent_process() is not None
    return 1 if is_worker or flops < SMALL_STEP else None


@contextlib.contextmanager
def using_threads(threads: int | None) -> Iterator[None]:
    """Computes with so many threads inside the context, and with as many as before after it.

    Args:
        threads: None = as many as PyTorch has.
    """
    import torch

    before = torch.get_num_threads()
    if threads is None or threads == before:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _keep_one_thread() -> None:
    global _forked
    _forked = True
    torch: Any = sys.modules.get("torch")
    if hasattr(torch, "set_num_threads"):  # not while another thread imports it
        torch.set_num_threads(1)


def _started_by_fork() -> bool:
    """Whether `multiprocessing` has forked this process from one that went on."""
    if multiprocessing.parent_process() is None:
        return False
    own = getattr(multiprocessing.current_process(), "_start_method", None)
    return (own or multiprocessing.get_start_method(allow_none=True) or "fork") == "fork"

"""How much memory there is to take; imports nothing heavy."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUPS = (  # version 2, version 1: what a container may use, and what it uses
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


def available_memory() -> int | None:
    """Bytes that this process can take without swapping; None where the system does not say.

    On Linux what the kernel estimates and what the limit of a container leaves, whichever is less;
    on other systems all the memory of the machine.
    """
    known = [each for each in (_estimated(), _left_in_container()) if each is not None]
    return min(known) if known else None


def _estimated() -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in _MEMINFO.read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(AttributeError, OSError, ValueError):  # Windows has no sysconf
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _left_in_container() -> int | None:
    for limit, used in _CGROUPS:
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: there is no limit
            return max(0, int(limit.read_text("ascii")) - int(used.read_text("ascii")))
    return None

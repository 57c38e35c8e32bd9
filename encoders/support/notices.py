"""Warnings that point at the user's own line."""

from __future__ import annotations

import sys
import warnings

# Whoever called one of these did not write the line that a warning is about.
_PACKAGES = ("encoders", "ave_env", "agents", "gymnasium", "stable_baselines3", "copy")


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns of something that a user asked for, at the line where it was asked for.

    Args:
        message: What is the case and what to do, in one sentence.
        category: Kind of warning.
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in _PACKAGES

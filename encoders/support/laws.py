"""How a broken law is reported."""

from __future__ import annotations

import pickle
from typing import Any


def require(kept: bool, law: str, found: str) -> None:
    """Reports a broken law.

    Args:
        kept: Whether the law holds.
        law: What should be, as a sentence without its full stop.
        found: What is.

    Raises:
        AssertionError: The law is broken.
    """
    if not kept:
        raise AssertionError(f"law: {law}; found: {found}")


def pickled(value: Any, law: str) -> Any:
    """A copy of a value, by way of a pickle.

    Args:
        value: What should pickle.
        law: As for `require`.

    Raises:
        AssertionError: It does not pickle.
    """
    try:
        return pickle.loads(pickle.dumps(value))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise AssertionError(f"law: {law}; found: {error}") from error

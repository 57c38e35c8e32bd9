"""Types and limits of configurations, declared at their fields; imports neither torch nor NumPy.

A configuration checks itself when it is made:

    @dataclasses.dataclass(frozen=True)
    class Recipe:
        epochs: Positive = 14
        warmup: Share = 0.02

        def __post_init__(self) -> None:
            check_fields(self)
"""

from __future__ import annotations

import collections.abc
import dataclasses
import difflib
import functools
import math
import operator
import os
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers that are accepted, as metadata of `Annotated`.

    Attributes:
        lowest: The lowest of them.
        highest: The highest of them; infinity for no limit.
        open: Whether `lowest` itself is refused.
    """

    lowest: float
    highest: float = math.inf
    open: bool = False

    def __contains__(self, number: float) -> bool:
        above = number > self.lowest if self.open else number >= self.lowest
        return above and number <= self.highest

    def __str__(self) -> str:
        if not self.open and self.highest < math.inf:
            return f"{self.lowest} to {self.highest}"
        limits = [f"{'more than' if self.open else 'at least'} {self.lowest}"]
        if self.highest < math.inf:
            limits.append(f"at most {self.highest}")
        return " and ".join(limits)


Positive = Annotated[int, Range(1)]
NotNegative = Annotated[int, Range(0)]
Share = Annotated[float, Range(0, 1)]
Amount = Annotated[float, Range(0)]


def check_fields(configuration: Any) -> None:
    """Refuses a dataclass whose fields do not hold what they are declared to hold.

    Numbers and sequences are brought into the declared type: JSON knows no tuples, and NumPy's
    integers are not Python's. To be called in `__post_init__`, of frozen classes too.

    Args:
        configuration: An instance whose annotations can be evaluated.

    Raises:
        TypeError: A value of another type.
        ValueError: A value that is not among those accepted.
    """
    kind: Any = type(configuration)
    for name, hint in _hints(kind).items():
        value = convert(name, getattr(configuration, name), hint)
        object.__setattr__(configuration, name, value)


def convert(name: str, value: Any, hint: Any) -> Any:
    """A value as the type that its place has.

    Args:
        name: Of the field or argument, for the message.
        value: What was given.
        hint: The type: a class, `Literal`, a union, a tuple, or one of them `Annotated` with a
            `Range`.

    Raises:
        TypeError: A value of another type.
        ValueError: A value that is not among those accepted.
    """
    try:
        return _convert(value, hint)
    except TypeError as error:
        raise TypeError(f"{name}={value!r}; expected {error}") from None
    except ValueError as error:
        raise ValueError(f"{name}={value!r}; expected {error}") from None


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """A hint at the known name that is nearest to an unknown one; empty where none is near."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _convert(value: Any, hint: Any) -> Any:
    """As `convert`, with errors that say nothing but what was expected."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        value = _convert(value, arguments[0])
        for limits in arguments[1:]:
            if isinstance(limits, Range) and value is not None and value not in limits:
                raise ValueError(str(limits))
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert_to_one_of(value, arguments)
    if origin is typing.Literal:
        if value not in arguments:
            raise ValueError("one of " + ", ".join(map(str, arguments)))
        return value
    if origin is tuple:
        return _convert_to_tuple(value, arguments)
    if hint is Any:
        return value
    return _convert_to_class(value, origin or hint)


def _convert_to_one_of(value: Any, hints: tuple[Any, ...]) -> Any:
    if value is None and type(None) in hints:
        return None
    errors = []
    for hint in hints:
        if hint is not type(None):
            try:
                return _convert(value, hint)
            except (TypeError, ValueError) as error:
                errors.append(error)
    kind = TypeError if all(isinstance(error, TypeError) for error in errors) else ValueError
    raise kind(" or ".join(map(str, errors)))


def _convert_to_tuple(value: Any, hints: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError("a sequence")
    if hints[-1] is Ellipsis:
        hints = hints[:1] * len(value)
    if len(value) != len(hints):
        raise TypeError(f"{len(hints)} values")
    try:
        return tuple(_convert(part, hint) for part, hint in zip(value, hints, strict=True))
    except (TypeError, ValueError) as error:
        raise type(error)(f"each to be {error}") from None


def _convert_to_class(value: Any, kind: type) -> Any:
    if kind is int and not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:
            pass
    elif kind is float and not isinstance(value, bool | str | bytes):
        try:
            return float(value)
        except TypeError:
            pass
    elif kind is Path and isinstance(value, str | os.PathLike):
        return Path(value)
    elif isinstance(value, kind) and kind not in (int, float):
        return value
    raise TypeError(_NAMES.get(kind, kind.__name__))


_NAMES: Mapping[type, str] = {
    int: "an integer",
    float: "a number",
    bool: "True or False",
    str: "text",
    Path: "a path",
    collections.abc.Mapping: "names with their values",
}

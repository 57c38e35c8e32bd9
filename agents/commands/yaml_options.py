"""Options from YAML files: the defaults of each environment, and those of a saved run.

Imports neither torch nor NumPy.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

Options = TypeVar("Options")

DEFAULTS_FOLDER = Path(__file__).parents[1] / "defaults"


def environment_defaults(env_id: str) -> tuple[dict[str, Any], Path | None]:
    """What the package says about training in an environment, and where; nothing for most ids."""
    path = DEFAULTS_FOLDER / f"{env_id}.yml"
    return (read_yaml(path), path) if path.is_file() else ({}, None)


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a mapping of options.

    Raises:
        ValueError: A file that is not there, is not YAML or holds no mapping.
    """
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: cannot be read as YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected a mapping of options, not {type(values).__name__}")
    return values


def with_values(options: Options, values: Mapping[str, Any], source: str) -> Options:
    """Replaces fields of a dataclass by values from a file.

    Args:
        options: An instance of a dataclass whose fields may be dataclasses.
        values: By field name; for a field that is a dataclass, a mapping.
        source: Where the values come from, for errors.

    Raises:
        ValueError: A name that is no field, or a value of another type.
    """
    hints = typing.get_type_hints(type(options))
    changed: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            close = difflib.get_close_matches(str(name), list(hints), n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise ValueError(f"{source}: unknown option {name!r}{hint}")
        current = getattr(options, name)
        if dataclasses.is_dataclass(current) and isinstance(value, Mapping):
            changed[name] = with_values(current, value, f"{source}, {name}")
            continue
        try:
            changed[name] = _convert(value, hints[name])
        except (TypeError, ValueError):
            kind = getattr(hints[name], "__name__", None) or hints[name]
            raise ValueError(f"{source}: {name}={value!r}; expected {kind}") from None
    return dataclasses.replace(options, **changed)  # type: ignore[type-var]


def _convert(value: Any, hint: Any) -> Any:
    """A value of JSON or YAML as the type of a field; TypeError or ValueError if it is none."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        kinds = [kind for kind in arguments if kind is not type(None)]
        if len(kinds) != 1:
            raise TypeError(hint)
        return _convert(value, kinds[0])
    if origin is typing.Literal:
        if value not in arguments:
            raise ValueError(value)
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise TypeError(value)
        whole = len(arguments) == 2 and arguments[1] is Ellipsis
        kinds = [arguments[0]] * len(value) if whole else list(arguments)
        return tuple(_convert(part, kind) for part, kind in zip(value, kinds, strict=True))
    if hint is float and not isinstance(value, bool):
        return float(value)  # YAML reads 1e-3, without a dot, as text
    if hint is Path:
        return Path(value)
    if type(value) is not hint:
        raise TypeError(value)
    return value

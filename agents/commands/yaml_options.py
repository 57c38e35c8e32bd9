"""Options from YAML files: the defaults of each environment, and those of a saved run.

Imports neither torch nor NumPy.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from agents.commands.errors import explain
from encoders.support.validation import did_you_mean

Options = TypeVar("Options")

DEFAULTS_FOLDER = Path(__file__).parents[1] / "defaults"


class YamlLoader(yaml.SafeLoader):
    """Reads YAML; 1e-3 is a number, which the library's own loader takes for text."""


YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


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
        values = yaml.load(path.read_text("utf-8"), YamlLoader)
    except OSError as error:
        raise ValueError(explain(error)) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: cannot be read as YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected a mapping of options, not {type(values).__name__}")
    return values


def with_values(options: Options, values: Mapping[str, Any], source: str) -> Options:
    """Replaces fields of a dataclass by values from a file.

    Args:
        options: An instance of a dataclass that checks its fields, which may be dataclasses.
        values: By field name; for a field that is a dataclass, a mapping.
        source: Where the values come from, for errors.

    Raises:
        ValueError: A name that is no field, or a value that the field does not accept.
    """
    known = [field.name for field in dataclasses.fields(options)]  # type: ignore[arg-type]
    changed: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{source}: unknown option {name!r}{did_you_mean(name, known)}")
        current = getattr(options, name)
        if dataclasses.is_dataclass(current) and isinstance(value, Mapping):
            value = with_values(current, value, f"{source}, {name}")
        changed[name] = value
    try:
        return dataclasses.replace(options, **changed)  # type: ignore[type-var]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{source}: {error}") from error

"""Configurations hold what their fields declare, and refuse everything else by name."""

from __future__ import annotations

import collections.abc
import dataclasses
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from tiny import raises_naming

from encoders.support.validation import (
    Amount,
    NotNegative,
    Positive,
    Range,
    Share,
    check_fields,
    convert,
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    count: Positive = 1
    workers: NotNegative = 0
    rate: Amount = 0.5
    share: Share = 0.5
    confidence: Annotated[float, Range(0, 1, open=True)] | None = None
    size: tuple[Positive, Positive] = (1, 2)
    seeds: tuple[NotNegative, ...] = ()
    format: Literal["png", "gif"] = "png"
    quick: bool = False
    name: str = ""
    folder: Path | None = None
    options: collections.abc.Mapping[str, Any] = dataclasses.field(default_factory=dict)
    names: str | tuple[str, ...] = ""
    anything: typing.Any = None

    def __post_init__(self):
        check_fields(self)


def test_values_are_brought_into_their_types():
    recipe = Recipe(
        count=np.int64(3),
        rate=np.float32(0.25),
        share=1,
        size=[4, np.int32(5)],
        seeds=[0, 1],
        folder="here",
        names=["a", "b"],
    )
    assert recipe == Recipe(
        3, 0, 0.25, 1.0, size=(4, 5), seeds=(0, 1), folder=Path("here"), names=("a", "b")
    )
    for name in ("count", "rate", "share"):
        assert type(getattr(recipe, name)) in (int, float)
    assert type(recipe.size[1]) is int


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"count": 0}, "count=0; expected at least 1"),
        ({"workers": -1}, "workers=-1; expected at least 0"),
        ({"rate": -0.5}, "rate=-0.5; expected at least 0"),
        ({"rate": float("nan")}, "rate=nan; expected at least 0"),
        ({"share": 2}, "share=2; expected 0 to 1"),
        ({"confidence": 0}, "confidence=0; expected more than 0 and at most 1"),
        ({"confidence": 2}, "confidence=2; expected more than 0 and at most 1"),
        ({"size": (1, 0)}, "size=(1, 0); expected each to be at least 1"),
        ({"seeds": (1, -1)}, "seeds=(1, -1); expected each to be at least 0"),
        ({"format": "jpg"}, "format='jpg'; expected one of png, gif"),
    ],
)
def test_values_out_of_range_are_named_with_the_range(values, words):
    with raises_naming(ValueError, [words]):
        Recipe(**values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"count": 1.5}, "count=1.5; expected an integer"),
        ({"count": True}, "count=True; expected an integer"),
        ({"count": "3"}, "count='3'; expected an integer"),
        ({"count": None}, "count=None; expected an integer"),
        ({"rate": "1e-3"}, "rate='1e-3'; expected a number"),
        ({"rate": True}, "rate=True; expected a number"),
        ({"size": (1, 2, 3)}, "size=(1, 2, 3); expected 2 values"),
        ({"size": 5}, "size=5; expected a sequence"),
        ({"seeds": ["a"]}, "seeds=['a']; expected each to be an integer"),
        ({"quick": 1}, "quick=1; expected True or False"),
        ({"name": 3}, "name=3; expected text"),
        ({"folder": 3}, "folder=3; expected a path"),
        ({"options": [1]}, "options=[1]; expected names with their values"),
        ({"names": 3}, "names=3; expected text or a sequence"),
    ],
)
def test_values_of_another_type_are_named_with_the_type(values, words):
    with raises_naming(TypeError, [words]):
        Recipe(**values)


def test_a_value_alone_is_checked_by_its_type():
    assert convert("image_size", [3, 4], tuple[Positive, Positive]) == (3, 4)
    with raises_naming(ValueError, ["image_size=[0, 4]", "at least 1"]):
        convert("image_size", [0, 4], tuple[Positive, Positive])

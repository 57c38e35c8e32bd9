"""What can be measured of beliefs, each declared once for info, tables and pictures alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from encoders.support.rounding import written

# What was measured of N scenes, by name: `[N]` at one step, or `[N, T+1]` after t = 0..T glimpses.
Columns = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """One thing that is measured, and how people write it.

    Attributes:
        name: What `info` and files call it, e.g. "rmse_unseen".
        label: What tables and axes call it, e.g. "RMSE of unseen pixels".
        heading: The same, short, at the head of a column; None = the label.
        unit: What its values are in, e.g. "grey levels"; "" for none.
        better: Which direction is good; None where neither is.
        scale: What values are multiplied by where people read them: 100 for shares in per cent.
        format: Format specification of a scaled value.
        limits: Ends of the axis of curves, scaled; None = as the values demand.
        value: Computes it from the task's columns, elementwise; a function of a module, so that
            environments can be pickled. None = the column of its name. Where it is True or False,
            its mean is a proportion and gets the interval of one.
        aggregate: Computes it after each of T+1 glimpses, `[T+1]`, from the columns `[N, T+1]` of
            all scenes together, where it is no mean over scenes. It then has no interval over
            scenes, no value of a single scene, and no place in `info`.
        chance: What guessing gets on average, as measured; None where nobody knows.
        in_info: Whether every step's `info` holds it.
        missing: What `info` holds where there is no belief to measure.
    """

    name: str
    label: str
    heading: str | None = None
    unit: str = ""
    better: Literal["higher", "lower"] | None = None
    scale: float = 1.0
    format: str = ".2f"
    limits: tuple[float, float] | None = None
    value: Callable[[Columns], np.ndarray] | None = None
    aggregate: Callable[[Columns], np.ndarray] | None = None
    chance: float | None = None
    in_info: bool = True
    missing: float = -1.0

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"metric {self.name!r}: expected a name like 'rmse_unseen'")
        if self.aggregate is not None and self.value is not None:
            raise ValueError(f"metric {self.name!r} has both a value and an aggregate; choose one")

    @property
    def title(self) -> str:
        """Label and unit, as at an axis: "accuracy (%)"."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def axis_title(self) -> str:
        """The title and which way is good: "accuracy (%), higher is better"."""
        return f"{self.title}, {self.better} is better" if self.better else self.title

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return -1 if self.better == "lower" else 1

    def of_scenes(self, columns: Columns) -> np.ndarray:
        """The metric of every scene, float64 with the shape of the columns.

        Raises:
            ValueError: It is one of all scenes together.
        """
        if self.aggregate is not None:
            raise ValueError(f"metric {self.name!r} is one of all scenes together")
        values = columns[self.name] if self.value is None else self.value(columns)
        return np.asarray(values, np.float64)

    def is_proportion(self, columns: Columns) -> bool:
        """Whether its mean is the share of the scenes where something is so: True or False."""
        if self.aggregate is not None:
            return False
        values = columns[self.name] if self.value is None else self.value(columns)
        return np.asarray(values).dtype == np.bool_

    def text(self, value: float, sign: str = "") -> str:
        """A value as people read it: scaled, rounded and formatted.

        Args:
            value: As measured.
            sign: "+" to write a plus before positive values, as for differences.
        """
        return written(self.scale * float(value), self.format, sign)


COVERAGE = Metric(
    name="coverage",
    label="seen",
    unit="% of the scene",
    scale=100,
    format=".1f",
    limits=(0, 100),
)

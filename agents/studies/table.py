"""The table of a study: a CSV file that is whole at any time, and goes on where it stopped."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from agents.reports.csv_files import write_table
from encoders.support.rounding import SIGNIFICANT_DIGITS

Value = str | int | float
Row = dict[str, Value]


class PointTable:
    """Rows of measurements, each named by some of its columns.

    Whatever is read back is what was added: numbers have nine significant digits in memory too, so
    that a study that was resumed writes the same bytes as one that was not.

    Args:
        path: The CSV file; read where there is one.
        columns: What every column holds: `str`, `int` or `float`, by its name.
        keys: Those that name a row.

    Raises:
        ValueError: There is a file with other columns.
    """

    def __init__(self, path: Path, columns: Mapping[str, type], keys: Sequence[str]) -> None:
        self.path, self.keys, self._kinds = path, tuple(keys), dict(columns)
        self.columns = tuple(columns)
        self.rows: list[Row] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                if tuple(reader.fieldnames or ()) != self.columns:
                    raise ValueError(
                        f"{path}: columns {', '.join(reader.fieldnames or ('none',))}; expected "
                        f"{', '.join(self.columns)}: another release wrote it, or it was changed; "
                        "start a new run"
                    )
                self.rows = [self._settled(row) for row in reader]
        self._known = {self._key(row) for row in self.rows}

    def __contains__(self, key: Mapping[str, Value]) -> bool:
        """Whether there is a row with these values of the key columns."""
        return self._key(key) in self._known

    def add(self, rows: Iterable[Mapping[str, Value]]) -> None:
        """Adds rows and writes the file anew; it holds all of them, or none where that fails.

        Raises:
            ValueError: A row without one of the columns, or with another.
        """
        self._write(self.rows, rows)

    def replace(self, rows: Iterable[Mapping[str, Value]]) -> None:
        """As `add`, in the place of all that there is: for what is measured in one piece."""
        self._write([], rows)

    def _write(self, kept: list[Row], rows: Iterable[Mapping[str, Value]]) -> None:
        added: list[Row] = []
        for row in rows:
            if set(row) != set(self.columns):
                wrong = sorted(set(row) ^ set(self.columns))
                raise ValueError(f"a row of {self.path.name} lacks, or has too much: {wrong}")
            added.append(self._settled(row))
        together = kept + added
        write_table(
            self.path,
            self.columns,
            (tuple(_written(row[name]) for name in self.columns) for row in together),
        )
        self.rows = together
        self._known = {self._key(row) for row in together}

    def where(self, **values: Value) -> list[Row]:
        """The rows that have these values."""
        return [row for row in self.rows if all(row[name] == each for name, each in values.items())]

    def values(self, column: str) -> list[Value]:
        """The different values of a column, in the order in which they came."""
        return list(dict.fromkeys(row[column] for row in self.rows))

    def _settled(self, row: Mapping[str, Value]) -> Row:
        """A row as it is once it was written and read."""
        return {name: kind(_written(row[name])) for name, kind in self._kinds.items()}

    def _key(self, row: Mapping[str, Value]) -> tuple[str, ...]:
        return tuple(_written(row[name]) for name in self.keys)


def _written(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.{SIGNIFICANT_DIGITS}g}"
    return str(value)

"""What every study is."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from agents.studies.idle import Idle
from agents.studies.options import StudyOptions

if TYPE_CHECKING:
    from agents.studies.table import PointTable, Row

Options = TypeVar("Options", bound=StudyOptions)


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a study's page.

    Attributes:
        title: Its heading.
        text: Paragraphs: how to read what is below.
        figures: Names of pictures (PNG) in the run folder.
        columns: Headings of a table; none without one.
        rows: Its cells, as people read them.
    """

    title: str
    text: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


class Study(abc.ABC, Generic[Options]):
    """An experiment: what is opened, what is measured, and what is drawn and said of it.

    A study is run in three steps. `prepare` opens whatever is needed and refuses what cannot be
    done, before there is a run folder; `measure` adds the points that the table lacks, each whole;
    `report` draws and describes what the table holds.

    Args:
        options: Of this study.

    Attributes:
        name: What people type.
        summary: One line for `ave-study --help`.
        options_class: Its options, whose docstring is the help.
        smoke: Values of options with which everything runs in seconds.
        columns: Of the table, with what they hold.
        keys: The columns that name a row.
        notes: Sentences about what was left out and why, for the terminal and the page.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    options_class: ClassVar[type[StudyOptions]]
    smoke: ClassVar[Mapping[str, Any]] = {"scenes": 32}
    columns: ClassVar[Mapping[str, type]]
    keys: ClassVar[Sequence[str]]

    def __init__(self, options: Options) -> None:
        self.options = options
        self.notes: list[str] = []

    @abc.abstractmethod
    def prepare(self) -> dict[str, Any]:
        """Opens encoders and scenes.

        Returns:
            What identifies them, JSON-able: a study is resumed with the same alone.

        Raises:
            ValueError: Something that this study cannot be made with, in one sentence.
        """

    def idle(self) -> Iterator[Idle]:
        """The options that do nothing in this call; asked for once it is prepared."""
        yield from self.options.idle()

    @abc.abstractmethod
    def measure(self, table: PointTable, folder: Path) -> None:
        """Measures what the table lacks.

        Args:
            table: Of the study.
            folder: The run folder, for what is no table.
        """

    @abc.abstractmethod
    def report(self, table: PointTable, folder: Path) -> list[Section]:
        """Draws figures into the run folder, and says what is to be seen."""

    def note(self, sentence: str) -> None:
        """Keeps a sentence about what was left out, and prints it."""
        self.notes.append(sentence)
        print(f"{self.name}: {sentence}")


def table_section(
    title: str, rows: Sequence[Row], columns: Mapping[str, str], formats: Mapping[str, str]
) -> Section:
    """A section with some columns of a table.

    Args:
        title: Its heading.
        rows: Of the table.
        columns: Headings by column.
        formats: How numbers are written, by column, as `encoders.support.rounding.written` has it.
    """
    from encoders.support.rounding import written

    cells = tuple(
        tuple(
            written(float(row[name]), formats[name]) if name in formats else str(row[name])
            for name in columns
        )
        for row in rows
    )
    return Section(title, columns=tuple(columns.values()), rows=cells)

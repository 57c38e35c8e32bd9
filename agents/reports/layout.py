"""Tables that fit any width without losing a digit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

_GAP = 2  # what a column takes beyond its text: a space of its own, and one between two
_EDGES = 1
_NARROWEST_LABEL = 8


@dataclasses.dataclass(eq=False)
class StackedTable:
    """A table that goes on below where it is wider than the terminal, instead of being cut.

    Args:
        title: Printed above.
        labels: Headings of the columns that say what a row is; every block repeats them.
        headings: Headings of the columns of numbers.
    """

    title: str
    labels: Sequence[str]
    headings: Sequence[str]
    rows: list[tuple[list[Text], list[Text]]] = dataclasses.field(default_factory=list)

    def add_row(self, labels: Sequence[Text], cells: Sequence[Text]) -> None:
        """Adds a row: one text per label and one per heading."""
        self.rows.append((list(labels), list(cells)))

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        yield Text(self.title, style="bold")
        widths = [
            max(map(_width, (Text(heading), *(cells[at] for _, cells in self.rows))))
            for at, heading in enumerate(self.headings)
        ]
        labels = [
            max(map(_width, (Text(heading), *(labels[at] for labels, _ in self.rows))))
            for at, heading in enumerate(self.labels)
        ]
        # A label that is too long for one number beside it is folded, the last one first.
        beside = max(widths, default=0) + _GAP * (len(labels) + 1) + _EDGES
        excess = sum(labels) + beside - options.max_width
        for at in reversed(range(len(labels))):
            if excess > 0:
                folded = max(labels[at] - excess, min(labels[at], _NARROWEST_LABEL))
                excess -= labels[at] - folded
                labels[at] = folded
        room = options.max_width - sum(labels) - _GAP * len(labels) - _EDGES
        for block in _blocks(widths, room):
            yield self._block(labels, block)

    def _block(self, widths: list[int], block: list[int]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for heading, width in zip(self.labels, widths, strict=True):
            table.add_column(f"\n{heading}", width=width, overflow="fold")
        for at in block:
            table.add_column(self.headings[at], justify="right", overflow="fold")
        for labels, cells in self.rows:
            table.add_row(*labels, *(cells[at] for at in block))
        return table


def _width(text: Text) -> int:
    return max((cell_len(line) for line in text.plain.split("\n")), default=0)


def _blocks(widths: Sequence[int], room: int) -> list[list[int]]:
    """Columns side by side, as many as there is room for; at least one."""
    blocks: list[list[int]] = [[]]
    used = 0
    for at, width in enumerate(widths):
        if blocks[-1] and used + width + _GAP > room:
            blocks.append([])
            used = 0
        blocks[-1].append(at)
        used += width + _GAP
    return blocks

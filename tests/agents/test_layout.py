"""Tables at any width: nothing is cut, nothing is lost, nothing is too wide."""

import io
import re

import pytest
from rich.console import Console
from rich.text import Text

from agents.reports.layout import StackedTable


def rendered(table, width):
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


def a_table(agent="ppo"):
    table = StackedTable("what it is about", ["K", "agent"], ["1\nglimpse", "2\nglimpses", "cost"])
    for row in range(3):
        numbers = [Text(f"{row}{at}.{at}\n1{at}.5-10{at}.5") for at in range(3)]
        table.add_row([Text(str(row)), Text(f"{agent}{row}")], numbers)
    return table


@pytest.mark.parametrize("width", range(28, 130, 7))
@pytest.mark.parametrize("agent", ["ppo", "train-AVE-ImageFolder-v0-classification-12-seed-"])
def test_every_number_is_whole_at_every_width(width, agent):
    text = rendered(a_table(agent), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for row in range(3):
        for at in range(3):
            assert re.search(rf"(?<!\d){row}{at}\.{at}(?!\d)", text)
    assert [text.count(f"1{at}.5-10{at}.5") for at in range(3)] == [3, 3, 3]


def test_what_fits_stands_side_by_side():
    text = rendered(a_table(), 100)
    assert text.count("agent") == 1
    (line,) = [line for line in text.splitlines() if "ppo0" in line]
    assert "00.0" in line
    assert "02.2" in line


def test_what_goes_on_below_repeats_what_a_row_is():
    text = rendered(a_table(), 30)
    assert text.count("agent") > 1
    assert text.count("ppo2") == text.count("agent")
    assert text.count("what it is about") == 1

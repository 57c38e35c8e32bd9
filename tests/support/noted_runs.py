"""Command lines whose effect is written down at the parts it arrives at, instead of being run."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import tyro


class Done(BaseException):
    """Raised where a command would begin to work."""


class _Parsed(BaseException):
    """A parser, caught when it was about to read the command line."""


def plain(value: Any) -> Any:
    """Anything as what can be compared."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, str | int | float | bool | Path | None):
        return str(value)
    return type(value).__name__


def parameter_sum(module: Any) -> float:
    return float(sum(each.double().sum() for each in module.parameters()))


class Notes(dict):
    """What arrived at which part."""

    def of(self, part: str, names: str = "", result: Any = None, stop: bool = False) -> Callable:
        """A stand-in for a part, which notes its arguments, the first ones under these names."""

        def stand_in(*arguments: Any, **keywords: Any) -> Any:
            self[part] = plain({**dict(zip(names.split(), arguments, strict=False)), **keywords})
            if stop:
                raise Done
            return result

        return stand_in


def options_of(main: Callable[[], Any], arguments: list[str], patch: pytest.MonkeyPatch) -> set:
    """Every option and argument of a command, read off its parser."""

    def catch(parser, *arguments, **keywords):
        raise _Parsed(parser)

    def catch_tyro(kind, **keywords):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            raise _Parsed(tyro.extras.get_parser(kind))

    patch.setattr(argparse.ArgumentParser, "parse_args", catch)
    patch.setattr(tyro, "cli", catch_tyro)
    patch.setattr(sys, "argv", ["command", *arguments])
    with pytest.raises(_Parsed) as caught:
        main()
    return {*_names(caught.value.args[0])} - {"help"}


def _names(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield action.dest
            for inner in action.choices.values():
                yield from _names(inner)
        else:
            shown = f"--{action.dest.replace('_', '-')}" in action.option_strings
            name = action.dest if shown else action.dest.rpartition(".")[2]  # of a part left out
            yield name.replace("-", "_")


def outcome(
    main: Callable[[], Any],
    plan: Callable[[Notes, pytest.MonkeyPatch], None],
    words: str,
    places: Mapping[str, Path],
    out: Path,
) -> str:
    """What a command line comes to, as text.

    Args:
        main: The command.
        plan: Puts stand-ins in the place of the parts that work.
        words: The command line, with words in capitals in the place of paths.
        places: What these stand for.
        out: What OUT stands for.
    """
    place = re.compile("^(" + "|".join([*places, "OUT"]) + ")")
    arguments = [
        place.sub(lambda found: str({**places, "OUT": out}[found[0]]), word)
        for word in words.split()
    ]
    notes = Notes()
    said = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(),
        contextlib.redirect_stderr(said),
    ):
        warnings.simplefilter("ignore")
        plan(notes, patch)
        patch.setattr(sys, "argv", ["command", *arguments])
        try:
            main()
        except Done:
            pass
        except SystemExit as stop:
            if stop.code:
                notes["refused"] = f"{stop.code} {said.getvalue()}"
    return json.dumps(notes, sort_keys=True, default=str).replace(str(out), "OUT")


def idle_cases(
    base: str, cases: Mapping[str, str], outcome: Callable[[str], str]
) -> list[tuple[str, str]]:
    """The cases that change nothing, or are refused, with what they came to.

    Args:
        base: A command line.
        cases: By option what to add to it; behind a bar, what is added to both lines compared.
            Behind "=", a line of its own to compare with the base.
        outcome: What a command line comes to.
    """
    idle = []
    for option, case in cases.items():
        changed, _, context = case.partition("|")
        without = outcome(f"{base} {context}")
        assert "refused" not in without, without
        own = changed.startswith("=")
        found = outcome(changed[1:] if own else f"{base} {context} {changed}")
        if found == without or "refused" in found:
            idle.append((option, found))
    return idle

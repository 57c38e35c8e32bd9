"""Options that were typed and would do nothing in this very call; imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from encoders.layers.divisions import Division


@dataclasses.dataclass(frozen=True)
class Idle:
    """An option that does nothing here.

    Attributes:
        option: Its field, of a part without the part's name.
        why: What makes it so, in words.
        instead: What makes it count; None where nothing does in this study.
    """

    option: str
    why: str
    instead: str | None = None


def refuse_idle(options: Any, idle: Iterable[Idle], typed: Mapping[str, str]) -> None:
    """Refuses options that were typed and would do nothing.

    Args:
        options: Of the study.
        idle: What does nothing.
        typed: What was typed, by field (`agents.commands.options.options_given`).

    Raises:
        ValueError: Names the first of them, with its value, why, and what to do.
    """
    values = dict(_values(options))
    for each in idle:
        if each.option in typed:
            words = f"{typed[each.option]}{_written(values[each.option])}"
            advice = "leave it out" + (f", or {each.instead}" if each.instead else "")
            raise ValueError(f"{words} does nothing: {each.why}; {advice}")


def without_procedural_scenes(env: str, data_root: Path | None) -> Iterator[Idle]:
    """What does nothing where scenes come from files.

    Args:
        env: Whose scenes: an environment id.
        data_root: Where its files are; None = where the id has it.
    """
    import gymnasium as gym

    from ave_env.scenes.sources import stands_in

    source = gym.spec(env).kwargs.get("scenes")
    if "synthetic" not in (source, stands_in(str(source), data_root)):
        yield Idle(
            "scene_seed",
            f"the scenes of {env} come from files",
            "choose procedural scenes (--env AVE-Synthetic-v0)",
        )


def without_probes(readouts: Iterable[str], option: str) -> Iterator[Idle]:
    """What does nothing where no probe is trained, or none with K and M sampled.

    Args:
        readouts: How classes are read.
        option: With which others are chosen.
    """
    own = "classes are read with the encoder's own head"
    if not set(readouts) - {"own"}:
        for name in ("train_scenes", "probe_weight_decay"):
            yield Idle(name, f"{own}, and no probe is trained", f"train one ({option} probe)")
    if "sampled" not in readouts:
        why, instead = "no probe is trained with K and M sampled", f"train one ({option} sampled)"
        yield Idle("probe_draws", why, instead)


def without_orientation(way: Division) -> Iterator[Idle]:
    """What does nothing where there are as many rows as columns of parts."""
    rows, columns = way.shape
    if rows == columns and way.transposed:
        yield Idle(
            "transposed",
            f"{way.parts} parts are {rows}x{columns} either way",
            "choose a number of parts whose orientations differ, such as --parts 8",
        )


def nothing_random(what_is: str | None = None) -> Idle:
    """The seed, where nothing is drawn.

    Args:
        what_is: A choice with which something would be, e.g. `--orders shuffled draws ...`.
    """
    instead = None if what_is is None else f"choose what is random ({what_is})"
    return Idle("seed", "nothing here is random", instead)


def _values(options: Any) -> Iterator[tuple[str, Any]]:
    """Every option, of parts too, by its field."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            yield from _values(value)
        else:
            yield field.name, value


def _written(value: Any) -> str:
    """A value as it follows its option on the command line; flags have none."""
    if isinstance(value, bool):
        return ""
    words = value if isinstance(value, tuple) else (value,)
    return "".join(f" {word}" for word in words)

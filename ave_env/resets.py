"""How episodes begin anew: reset options, checked before anything changes, and autoreset modes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

OPTIONS = ("scene_id", "start")
VECTOR_OPTIONS = (*OPTIONS, "reset_mask")
LEFT_OPEN = -1  # in a row for which an option is not given


@dataclasses.dataclass(frozen=True)
class ResetOptions:
    """The options of one reset, spread over the rows.

    Attributes:
        mask: Rows to reset, bool `[N]`.
        scene_ids: Scene of every row, int64 `[N]`; `LEFT_OPEN` = drawn, None = all are.
        starts: Action already taken when the episode begins, int64 `[N]`; `LEFT_OPEN` = none in a
            row, None = none in any.
    """

    mask: np.ndarray
    scene_ids: np.ndarray | None = None
    starts: np.ndarray | None = None

    @classmethod
    def parse(
        cls,
        options: Mapping[str, Any] | None,
        *,
        num_envs: int,
        num_scenes: int,
        num_actions: int | None,
        num_glimpses: int,
    ) -> ResetOptions:
        """Reads and checks options.

        Args:
            options: As given to `reset`; left as it is.
            num_envs: N.
            num_scenes: Scenes to choose from.
            num_actions: Actions to choose from; None = any number of them, and no `start`.
            num_glimpses: Glimpses in an episode.

        Raises:
            TypeError: A value of the wrong type or dtype.
            ValueError: An unknown name, a wrong shape, or a value out of range.
        """
        check_names(options, VECTOR_OPTIONS)
        options = {} if options is None else options
        mask = np.ones(num_envs, np.bool_)
        if "reset_mask" in options:
            mask = _checked_mask(options["reset_mask"], num_envs)
        starts = None
        if options.get("start") is not None:
            if num_actions is None:
                raise ValueError(
                    "the option 'start' names one of a finite number of places, and the sensor can "
                    "look at any; take the first step instead"
                )
            starts = _indices("start", options["start"], mask, num_actions)
        if starts is not None and num_glimpses < 2:
            raise ValueError(
                "the option 'start' takes the first glimpse of an episode, and num_glimpses=1 "
                "leaves none after it; use num_glimpses >= 2"
            )
        return cls(mask, _indices("scene_id", options.get("scene_id"), mask, num_scenes), starts)


def parse_autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """Finds an autoreset mode by itself, its name or its value (JSON has strings only).

    Raises:
        ValueError: There is no such mode.
    """
    for known in AutoresetMode:
        if mode in (known, known.name, known.value):
            return known
    raise ValueError(
        f"autoreset_mode={mode!r}; expected one of {', '.join(m.name for m in AutoresetMode)}"
    )


def check_names(options: Mapping[str, Any] | None, accepted: Sequence[str]) -> None:
    """Checks that options are a dictionary of accepted names.

    Raises:
        TypeError: They are something else.
        ValueError: An unknown name.
    """
    if options is None:
        return
    if not isinstance(options, Mapping):
        raise TypeError(f"options are a {type(options).__name__}; expected a dictionary")
    if unknown := [name for name in options if name not in accepted]:
        raise ValueError(f"unknown reset options {unknown}; accepted: {', '.join(accepted)}")


def _checked_mask(mask: Any, num_envs: int) -> np.ndarray:
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        kind = f"dtype {mask.dtype}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise TypeError(f"options['reset_mask'] has {kind}; expected a NumPy array of bool")
    if mask.shape != (num_envs,):
        raise ValueError(f"options['reset_mask'] has shape {mask.shape}; expected ({num_envs},)")
    if not mask.any():
        raise ValueError("options['reset_mask'] selects no row; expected at least one True")
    return mask.copy()


def _indices(name: str, value: Any, mask: np.ndarray, limit: int) -> np.ndarray | None:
    """One index for every row, from one for all, an array, or a list in which None leaves it open.

    Rows outside the mask do not count.
    """
    if value is None:
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different shapes
        raise TypeError(f"options[{name!r}]={value!r}; expected one integer for each row") from None
    given = np.ones(mask.shape, np.bool_)
    if array.dtype == object and array.ndim == 1:
        present = np.array([each is not None for each in array], np.bool_)
        array = np.array([each if here else 0 for each, here in zip(array, present, strict=True)])
        if present.shape == mask.shape:
            given = present
    if array.dtype.kind not in "iu":
        raise TypeError(f"options[{name!r}]={value!r} has dtype {array.dtype}; expected integers")
    if array.shape not in ((), mask.shape):
        raise ValueError(
            f"options[{name!r}] has shape {array.shape}; expected one integer or {mask.shape}"
        )
    indices = np.broadcast_to(array, mask.shape).astype(np.int64)
    wrong = np.flatnonzero(mask & given & ((indices < 0) | (indices >= limit)))
    if len(wrong):
        raise ValueError(
            f"options[{name!r}]={indices[wrong[0]]} (row {wrong[0]}) is out of range; "
            f"expected 0 <= {name} < {limit}"
        )
    indices[~given] = LEFT_OPEN
    return indices if (given & mask).any() else None

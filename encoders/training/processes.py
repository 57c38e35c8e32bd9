"""Agreement between the processes of one training run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import accelerate
from accelerate.utils import broadcast_object_list

Value = TypeVar("Value")


def decide_once(decide: Callable[[], Value], device: str = "auto") -> Value:
    """Lets the main process decide something and tells it to all others.

    Args:
        decide: Called in the main process only; its value must be picklable.
        device: The device training will use: "auto", "cpu" or "cuda".
    """
    state = accelerate.PartialState(cpu=device == "cpu")
    values: list = [decide() if state.is_main_process else None]
    if state.num_processes > 1:
        broadcast_object_list(values)
    return values[0]

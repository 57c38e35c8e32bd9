"""Words that options accept, where several modules ask for the same ones; imports no torch."""

from __future__ import annotations

import typing
from typing import Literal

Precision = Literal["float32", "bfloat16", "auto"]
"""Number format of matrix products; "auto" is bfloat16 where the device has it natively."""

PRECISIONS: tuple[str, ...] = typing.get_args(Precision)

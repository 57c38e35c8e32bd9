"""Words that options of an environment accept."""

from __future__ import annotations

import typing
from typing import Literal

Split = Literal["train", "val", "test"]
"""Part of a data set."""

Overlap = Literal["dedup", "keep"]
"""What happens to patches that are seen again: encoded once, or every time."""

SPLITS: tuple[str, ...] = typing.get_args(Split)

"""The table of tasks; imports nothing before it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoders.support.registry import Registry

if TYPE_CHECKING:
    from ave_env.tasks.base import Task

TASKS: Registry[type[Task]] = Registry(
    "task",
    "ave_env.tasks",
    {
        "classification": "ave_env.tasks.classification:Classification",
        "reconstruction": "ave_env.tasks.reconstruction:Reconstruction",
    },
)

register_task = TASKS.register

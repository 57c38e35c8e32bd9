"""The tasks by name."""

from __future__ import annotations

from ave_env.tasks.base import Task
from ave_env.tasks.classification import Classification
from ave_env.tasks.reconstruction import Reconstruction

TASKS: dict[str, type[Task]] = {task.name: task for task in (Classification, Reconstruction)}

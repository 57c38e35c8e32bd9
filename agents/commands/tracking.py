"""Runs on Weights & Biases, an optional dependency."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def require_tracking() -> None:
    """Makes sure that runs can be tracked.

    Raises:
        ModuleNotFoundError: Weights & Biases is not installed.
    """
    if importlib.util.find_spec("wandb") is None:
        raise ModuleNotFoundError(
            "--track needs Weights & Biases, which is not installed; "
            "pip install 'active-visual-exploration[track]'"
        )


@contextlib.contextmanager
def tracked(
    folder: Path,
    record: Mapping[str, Any],
    *,
    project: str,
    entity: str | None = None,
    name: str | None = None,
) -> Iterator[None]:
    """Sends what goes to TensorBoard inside the block to Weights & Biases as well.

    Whether it is sent or kept in the folder to be sent later is up to the environment variable
    WANDB_MODE ("online" or "offline").

    Args:
        folder: Run folder.
        record: The run's record, shown as its configuration.
        project: Name of the project.
        entity: User or team; None = the account's own.
        name: What the run is called, and the group of its parts before and after a resume; None =
            as the folder.

    Raises:
        ModuleNotFoundError: Weights & Biases is not installed.
    """
    require_tracking()
    import wandb

    run = wandb.init(
        project=project,
        entity=entity,
        name=name or folder.name,
        group=name or folder.name,
        dir=str(folder),
        config=dict(record),
        sync_tensorboard=True,
    )
    try:
        yield
    finally:
        run.finish()

"""Batches of a data set, read here or by other processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader, Dataset, default_collate


def load_batches(
    dataset: Dataset[Any], batches: Sequence[list[Any]], num_workers: int
) -> Iterator[Any]:
    """The batches one after another.

    What an image that cannot be read raises arrives as it was raised. PyTorch would make it anew
    from the text of the worker's traceback, and of errors that take more than a text a
    `RuntimeError`.

    Args:
        dataset: Where items come from.
        batches: What each batch asks of it.
        num_workers: Processes that read; 0 = this one.

    Yields:
        Collated items.

    Raises:
        OSError: An item could not be read.
        ValueError: One was not what it should be.
    """
    loader: DataLoader[Any] = DataLoader(
        _Guarded(dataset),
        batch_sampler=batches,
        num_workers=num_workers,
        prefetch_factor=4 if num_workers else None,
        collate_fn=_collate,
    )
    for batch in loader:
        if isinstance(batch, _Failure):
            raise batch.error
        yield batch


@dataclasses.dataclass(frozen=True)
class _Failure:
    error: Exception


class _Guarded(Dataset):
    """Items of another data set, a failure in the place of one that cannot be read."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitem__(self, index: Any) -> Any:
        try:
            return self.dataset[index]
        except (OSError, ValueError) as error:
            return _Failure(error)


def _collate(items: list[Any]) -> Any:
    return next((item for item in items if isinstance(item, _Failure)), None) or default_collate(
        items
    )

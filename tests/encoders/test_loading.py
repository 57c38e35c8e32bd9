"""Batches of images, read by this process or by others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from ave_env.scenes.errors import SceneError
from encoders.training.loading import load_batches

BATCHES = [[3, 1], [0, 2], [5, 4]]


class Numbers(Dataset):
    """Every item is its own number twice; one cannot be read."""

    def __init__(self, broken=None):
        self.broken = broken

    def __getitem__(self, index):
        if index == self.broken:
            raise SceneError(f"images/{index}.jpg", "damaged or truncated")
        return torch.full((2,), index)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_come_in_order(workers):
    found = [batch.numpy() for batch in load_batches(Numbers(), BATCHES, workers)]
    assert np.array_equal(np.stack(found), np.repeat(np.array(BATCHES)[..., None], 2, axis=2))


@pytest.mark.parametrize("workers", [0, 1])
def test_what_cannot_be_read_is_named_by_whoever_reads_it(workers):
    loaded = load_batches(Numbers(broken=2), BATCHES, workers)
    assert next(loaded).tolist() == [[3, 3], [1, 1]]
    with pytest.raises(SceneError) as raised:
        next(loaded)
    assert str(raised.value) == "images/2.jpg: damaged or truncated"
    assert raised.value.path == "images/2.jpg"

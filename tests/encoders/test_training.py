"""What encoder training promises."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tiny import MemoryScenes, tiny_encoder

from encoders import Belief
from encoders.checkpoints.weight_files import CheckpointError
from encoders.storage import load_encoder, weights_hash
from encoders.training.config import TrainingConfig
from encoders.training.glimpses import drop_repeated, full_view, random_glimpses, random_tiles
from encoders.training.objective import belief_loss
from encoders.training.trainer import EncoderTrainer
from encoders.training.validation import validate

CONFIG = TrainingConfig(
    epochs=2,
    epoch_size=16,
    batch_size=4,
    max_glimpses=3,
    validation_size=6,
    num_workers=0,
    precision="float32",
    progress=False,
)


def trainer(folder, **changes) -> EncoderTrainer:
    folder.mkdir(exist_ok=True)
    config = dataclasses.replace(CONFIG, **changes)
    scenes = MemoryScenes()
    return EncoderTrainer(tiny_encoder(), scenes, scenes, config, folder, device="cpu")


def test_the_pixel_loss_is_averaged_per_image_over_what_was_not_seen():
    rng = np.random.default_rng(0)
    pixels, targets = rng.standard_normal((2, 2, 6, 12)).astype(np.float32)
    logits = rng.standard_normal((2, 4)).astype(np.float32)
    labels = np.array([1, 3])
    ids = np.array([[0, 1, 2, 3, 4], [5, -1, -1, -1, -1]])
    losses = belief_loss(
        Belief(logits=torch.from_numpy(logits), pixels=torch.from_numpy(pixels)),
        torch.from_numpy(targets),
        torch.from_numpy(labels),
        torch.from_numpy(ids),
        CONFIG,
    )
    per_image = [
        np.mean([(pixels[row, p] - targets[row, p]) ** 2 for p in range(6) if p not in ids[row]])
        for row in range(2)
    ]
    shifted = logits.astype(np.float64)
    surprise = [np.log(np.exp(shifted[r]).sum()) - shifted[r, labels[r]] for r in range(2)]
    assert losses["reconstruction"].item() == pytest.approx(np.mean(per_image), rel=1e-5)
    assert losses["classification"].item() == pytest.approx(np.mean(surprise), rel=1e-5)
    expected = np.mean(surprise) + 0.1 * np.mean(per_image)
    assert losses["total"].item() == pytest.approx(expected, rel=1e-5)


def test_an_image_seen_whole_has_no_pixel_loss():
    losses = belief_loss(
        Belief(pixels=torch.ones(1, 2, 3)),
        torch.zeros(1, 2, 3),
        torch.zeros(1, dtype=torch.int64),
        torch.tensor([[0, 1]]),
        CONFIG,
    )
    assert losses["total"].item() == 0


def test_training_reduces_the_loss_on_what_it_sees(tmp_path):
    learner = trainer(tmp_path, epochs=12, learning_rate=3e-3, curriculum=0.0)
    before = learner.validate()
    learner.run()
    after = learner.history[-1]
    assert after["accuracy_full_k0"] > before["accuracy_full_k0"]
    assert after["rmse_3_random_k1"] < before["rmse_3_random_k1"]


def test_a_validation_is_of_scenes_from_the_whole_split():
    """Folders are sorted by class: the first scenes would all be of one."""
    scenes, loaded = MemoryScenes(), []

    class Recording:
        labels = scenes.labels

        def __len__(self):
            return len(scenes)

        def load(self, index):
            loaded.append(index)
            return scenes.load(index)

    validate(tiny_encoder(), Recording(), dataclasses.replace(CONFIG, validation_size=4))
    assert loaded == [place * len(scenes) // 4 for place in range(4)]


def test_a_resumed_run_ends_as_one_without_a_stop(tmp_path):
    whole = trainer(tmp_path / "whole")
    whole.run()
    first = trainer(tmp_path / "parts")
    first_step = first._train_step

    def interrupted(*arguments):
        if first.step == 5:  # in the middle of the second epoch
            raise KeyboardInterrupt
        return first_step(*arguments)

    first._train_step = interrupted
    first.run()
    assert first.step == 5
    second = trainer(tmp_path / "parts")
    second.resume()
    second.run()
    assert second.step == whole.step == whole.total_steps
    assert weights_hash(second.encoder) == weights_hash(whole.encoder)
    assert weights_hash(load_encoder(tmp_path / "parts")) == weights_hash(whole.encoder)


def test_there_must_be_something_to_resume(tmp_path):
    with pytest.raises(CheckpointError, match=r"no training_state\.pt to resume from"):
        trainer(tmp_path).resume()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_full_view_holds_every_patch_once(size):
    ids = full_view(2, (5, 7), size)
    kept = ids[0][ids[0] >= 0]
    assert sorted(kept.tolist()) == list(range(35))


def test_tiles_never_overlap_and_windows_never_repeat_a_patch():
    rng = np.random.default_rng(0)
    for grid, size in (((8, 16), 2), ((5, 7), 3), ((4, 4), 1)):
        for make in (random_tiles, random_glimpses):
            ids = make(rng, 20, 6, grid, size)
            for row in ids.reshape(20, -1):
                kept = row[row >= 0]
                assert len(kept) == len(set(kept.tolist()))
        assert (random_tiles(rng, 20, 6, grid, size) >= 0).all()


def test_windows_reach_every_patch():
    ids = random_glimpses(np.random.default_rng(0), 400, 4, (4, 5), 2)
    assert set(ids.ravel().tolist()) == set(range(-1, 20))


def test_repeated_patches_are_dropped_from_the_later_glimpse():
    ids = np.array([[[0, 1], [1, 2], [-1, 0]], [[3, 4], [5, 6], [3, 7]]])
    expected = [[[0, 1], [-1, 2], [-1, -1]], [[3, 4], [5, 6], [-1, 7]]]
    np.testing.assert_array_equal(drop_repeated(ids, 8), expected)

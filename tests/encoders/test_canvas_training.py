"""Canvas encoders are trained by the loop that trains all encoders; RIFormers may imitate."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from canvases import tiny_canvas
from tiny import CLASS_NAMES, MemoryScenes, tiny_encoder

from encoders.checkpoints.weight_files import CheckpointError
from encoders.families.canvas.imitation import RIFormerTraining, imitation_loss
from encoders.families.canvas.riformer import blocks_of
from encoders.storage import load_encoder, save_encoder, weights_hash
from encoders.training.config import TrainingConfig
from encoders.training.family import Moment
from encoders.training.sources import RandomGlimpses
from encoders.training.trainer import EncoderTrainer

CONFIG = TrainingConfig(
    epochs=2,
    epoch_size=16,
    batch_size=4,
    max_glimpses=3,
    validation_size=12,
    num_workers=0,
    precision="float32",
    progress=False,
)
MOMENT = Moment(step=0, total_steps=8, warming_up=False, chance=0.5)


def trainer(folder, encoder, **changes) -> EncoderTrainer:
    folder.mkdir(exist_ok=True)
    config = dataclasses.replace(CONFIG, **changes)
    scenes = MemoryScenes()
    return EncoderTrainer(
        encoder, scenes, scenes, config, folder, class_names=CLASS_NAMES, device="cpu"
    )


@pytest.mark.parametrize("name", ["convmixer", "alternet", "riformer"])
def test_a_canvas_encoder_learns_what_it_sees(name, tmp_path):
    learner = trainer(tmp_path, tiny_canvas(name), epochs=30, learning_rate=3e-3)
    before = learner.validate()
    assert set(before) == {"accuracy_3_random", "accuracy_full", "rmse_3_random"}
    learner.run()
    after = learner.history[-1]
    assert after["accuracy_full"] > before["accuracy_full"]
    assert after["rmse_3_random"] < before["rmse_3_random"]
    read = load_encoder(tmp_path)
    assert weights_hash(read) == weights_hash(learner.encoder)
    assert read.config.class_names == CLASS_NAMES
    assert read.config.weights == "trained"


def test_a_resumed_run_of_batch_norms_ends_as_one_without_a_stop(tmp_path):
    whole = trainer(tmp_path / "whole", tiny_canvas("convmixer"))
    whole.run()
    first = trainer(tmp_path / "parts", tiny_canvas("convmixer"))
    first_step = first._train_step

    def interrupted(*arguments):
        if first.step == 5:
            raise KeyboardInterrupt
        return first_step(*arguments)

    first._train_step = interrupted
    first.run()
    second = trainer(tmp_path / "parts", load_encoder(tmp_path / "parts"))
    second.resume()
    second.run()
    assert weights_hash(second.encoder) == weights_hash(whole.encoder)


def test_images_of_a_batch_are_seen_to_different_degrees_by_the_same_chances():
    config = dataclasses.replace(CONFIG, max_glimpses=6, blind_probability=0.2)
    source = RandomGlimpses(config, (4, 6), rows_apart=True)
    ids = source(np.arange(400), np.random.default_rng(0), warming_up=False)
    counts = (ids >= 0).sum((1, 2))
    together = RandomGlimpses(config, (4, 6))
    one = [
        int((together(np.arange(1), np.random.default_rng(seed), False) >= 0).sum())
        for seed in range(400)
    ]
    assert ids.shape[0] == 400
    for share in (lambda n: n == 0, lambda n: n == 24, lambda n: n < 12):
        assert abs(np.mean(share(counts)) - np.mean(share(np.array(one)))) < 0.1
    for row in ids.reshape(400, -1):
        kept = row[row >= 0]
        assert len(kept) == len(set(kept.tolist()))


def test_every_family_sees_the_glimpses_that_tore_sees(tmp_path):
    """One number is drawn for the family before the glimpses, whatever becomes of it."""
    seen = {}
    for name, encoder in (("riformer", tiny_canvas("riformer")), ("tore", tiny_encoder())):
        learner = trainer(tmp_path / name, encoder)
        noted = seen[name] = []

        def noting(indices, rng, warming_up, source=learner.glimpses, noted=noted):
            noted.append(source(indices, rng, warming_up))
            return noted[-1]

        learner.glimpses = noting
        learner.run()
    for one, other in zip(seen["riformer"], seen["tore"], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def teacher(tmp_path):
    encoder = tiny_canvas("riformer", body={"mixer": "pool"}, class_names=CLASS_NAMES)
    return encoder, str(save_encoder(encoder, tmp_path / "teacher"))


def student(**changes):
    return tiny_canvas("riformer", seed=7, **changes)


def test_a_student_starts_from_its_teacher_but_for_the_mixers(teacher):
    encoder, folder = teacher
    learner = student()
    before = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
    RIFormerTraining(learner, dataclasses.replace(CONFIG, teacher=folder))
    known = encoder.state_dict()
    for name, tensor in learner.state_dict().items():
        assert torch.equal(tensor, before[name] if ".mixer." in name else known[name]), name
    trained = student(weights="trained")
    kept = weights_hash(trained)
    RIFormerTraining(trained, dataclasses.replace(CONFIG, teacher=folder))
    assert weights_hash(trained) == kept


def test_imitation_is_the_distance_of_mixers_and_blocks(teacher):
    """Computed once more from the blocks' own parts."""
    encoder, folder = teacher
    learner = student().train()
    family = RIFormerTraining(learner, dataclasses.replace(CONFIG, teacher=folder))
    patches, ids = torch.randn(2, 1, 4, 3, 16, 16), torch.tensor([[[0, 1, 6, 7]], [[9, -1, 3, 2]]])
    _, losses = family.believe(learner, patches, ids, ("logits", "pixels"), MOMENT)
    canvas = learner.canvas_of(patches, ids)
    maps = {"student": [], "teacher": []}
    for who, body in (("student", learner.body), ("teacher", encoder.body)):
        values = canvas
        for stage in body.layers:
            padded = torch.nn.functional.pad(values, (stage.footprint.padding,) * 4)
            values = stage.embed(padded)
            for block in stage.blocks:
                normed = block.norm1(values)
                if who == "student":
                    mixed = normed * block.mixer.scale[:, None, None]
                    mixed = mixed + block.mixer.shift[:, None, None] - normed
                else:
                    pool = torch.nn.AvgPool2d(3, 1, 1, count_include_pad=False)
                    mixed = pool(normed) - normed
                values = block(values)
                maps[who] += [mixed, values]
    assert len(maps["student"]) == 2 * len(blocks_of(learner.body)) == 8
    errors = [
        float((mine - theirs).square().mean() / theirs.square().mean())
        for mine, theirs in zip(maps["student"], maps["teacher"], strict=True)
    ]
    assert float(losses["imitation"][1]) == pytest.approx(np.mean(errors), rel=1e-4)
    assert set(losses) == {"imitation", "distillation"}
    same = [torch.randn(2, 3, 4, 4)]
    assert float(imitation_loss(same, same)) == 0


def test_a_student_learns_to_do_what_its_teacher_does(teacher, tmp_path):
    _, folder = teacher
    learner = trainer(
        tmp_path / "student", student(), epochs=30, teacher=folder, learning_rate=3e-3
    )
    noted = []
    believe = learner.family.believe

    def noting(*arguments):
        belief, losses = believe(*arguments)
        noted.append({name: float(loss) for name, (_, loss) in losses.items()})
        return belief, losses

    learner.family.believe = noting
    learner.run()
    # An affine cannot do all that pooling does: what is left of the loss stays. The distance to the
    # predictions of this untrained teacher is next to nothing from the start.
    values = [losses["imitation"] for losses in noted]
    assert np.mean(values[-12:]) < 0.95 * np.mean(values[:12])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: (student(), f"{folder}-none"), "no config.json"),
        (lambda folder: (student(body={"widths": [6, 8, 12]}), folder), "widths=.*student's"),
        (lambda folder: (student(num_classes=4), folder), "num_classes=5, the student's 4"),
        (lambda folder: (student().folded(), None), "folded into its norms"),
        (lambda folder: (tiny_canvas("convmixer"), folder), "'convmixer' are trained without one"),
        (lambda folder: (tiny_encoder(), folder), "'tore' are trained without one"),
    ],
)
def test_what_cannot_be_taught_is_a_sentence(make, words, teacher, tmp_path):
    encoder, folder = make(teacher[1])
    with pytest.raises((ValueError, CheckpointError), match=words):
        trainer(tmp_path, encoder, teacher=folder)


def test_affines_teach_nothing_and_other_families_no_riformer(tmp_path):
    folder = str(save_encoder(tiny_canvas("riformer"), tmp_path / "affine"))
    with pytest.raises(ValueError, match="nothing to imitate"):
        trainer(tmp_path, student(), teacher=folder)
    folder = str(save_encoder(tiny_canvas("convmixer"), tmp_path / "other"))
    with pytest.raises(ValueError, match="expected a RIFormer with mixers"):
        trainer(tmp_path, student(), teacher=folder)


def test_a_split_block_is_of_tore_alone(tmp_path):
    with pytest.raises(ValueError, match="split_block=1: encoders of the family 'alternet'"):
        trainer(tmp_path, tiny_canvas("alternet"), split_block=1)

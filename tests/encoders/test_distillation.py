"""What self-distillation promises: its switches, exact resumption, and words where it fails."""

from __future__ import annotations

import dataclasses
import math
import warnings

import numpy as np
import pytest
import torch
from golden_numbers import Golden
from tiny import MemoryScenes, tiny_encoder

from encoders.checkpoints.weight_files import CheckpointError
from encoders.storage import load_encoder, save_encoder, weights_hash
from encoders.training.config import TrainingConfig
from encoders.training.distillation.config import DistillationConfig
from encoders.training.distillation.head import HEAD_FILE, load_head
from encoders.training.distillation.loss import distillation_loss, feature_spread
from encoders.training.distillation.model import View, clip_each, draw_view
from encoders.training.distillation.trainer import DistillationTrainer
from encoders.training.distillation.validation import signs_of_collapse, tabulate

CONFIG = TrainingConfig(
    epochs=2,
    epoch_size=16,
    batch_size=4,
    learning_rate=1e-3,
    validation_size=6,
    num_workers=0,
    precision="float32",
    progress=False,
)
SMALL = DistillationConfig(
    local_crops=2, head_hidden=16, head_bottleneck=8, head_outputs=24, teacher_momentum=0.9
)


def trainer(folder, scenes=None, encoder=None, changes=None, labelled=True, **own):
    folder.mkdir(exist_ok=True)
    scenes = scenes or MemoryScenes()
    return DistillationTrainer(
        encoder or tiny_encoder().without_heads(),
        scenes,
        scenes,
        dataclasses.replace(CONFIG, **(changes or {})),
        folder,
        dataclasses.replace(SMALL, **own),
        labelled=labelled,
        device="cpu",
    )


def whole_state(learner):
    """Everything that training depends on, as tensors by name."""
    found = {"center": learner.center}
    for part in ("student", "teacher"):
        state = getattr(learner, part).state_dict()
        found |= {f"{part}.{name}": each for name, each in state.items()}
    for number, moments in learner.optimizer.state_dict()["state"].items():
        found |= {f"adam.{number}.{name}": each for name, each in moments.items()}
    return found


def test_a_resumed_run_is_the_one_without_a_stop_to_the_last_bit(tmp_path):
    whole = trainer(tmp_path / "whole")
    whole.run()
    first = trainer(tmp_path / "parts")
    step = first._train_step

    def interrupted(*arguments):
        if first.step == 6:  # in the middle of the second epoch
            raise KeyboardInterrupt
        return step(*arguments)

    first._train_step = interrupted
    first.run()
    second = trainer(tmp_path / "parts", encoder=load_encoder(tmp_path / "parts"))
    second.resume()
    assert second.step == 6
    second.run()
    expected, found = whole_state(whole), whole_state(second)
    assert found.keys() == expected.keys()
    for name, each in expected.items():
        assert torch.equal(found[name], each), name
    assert second.history == whole.history
    assert weights_hash(load_encoder(tmp_path / "parts")) == weights_hash(whole.encoder)


def test_the_encoder_in_the_folder_is_of_no_consequence_to_what_is_resumed(tmp_path):
    """A process may end between writing the encoder and writing the state."""
    learner = trainer(tmp_path / "run")
    learner.run()
    later = tiny_encoder(depth=3).without_heads()
    save_encoder(later, tmp_path / "run")
    resumed = trainer(tmp_path / "run", encoder=load_encoder(tmp_path / "run"))
    resumed.resume()
    assert weights_hash(resumed.encoder) == weights_hash(learner.encoder)


def test_what_is_saved_is_the_teacher_without_heads_and_its_projection_head(tmp_path):
    learner = trainer(tmp_path / "run")
    learner.run()
    saved = load_encoder(tmp_path / "run")
    assert (saved.config.objective, saved.config.weights) == ("dino", "trained")
    assert (saved.config.num_classes, saved.decoder) == (0, None)
    assert weights_hash(saved) == weights_hash(learner.teacher.encoder)
    head = load_head(tmp_path / "run", saved.width, unit_rows=True)
    for name, each in learner.teacher.head.state_dict().items():
        assert torch.equal(head.state_dict()[name], each)
    names = {"step", "loss", "kl", "teacher_entropy", "center_norm", "feature_spread"}
    assert learner.history[-1].keys() == names | {"knn_top1", "knn_top5"}
    assert len(tabulate(learner.history).splitlines()) == 3


def test_the_student_comes_to_agree_with_a_teacher_that_stays(tmp_path):
    still = {"teacher_momentum": 1.0, "teacher_momentum_end": 1.0, "centering": False}
    learner = trainer(
        tmp_path / "run", changes={"learning_rate": 3e-3}, divide_student=False, **still
    )
    (groups,) = [images for _, images in learner._batches(range(1))]
    learner.step = learner.steps_per_epoch  # the warm-up is over, the last layer free
    divergence = [float(learner._train_step(torch.arange(4), groups)["kl"]) for _ in range(25)]
    assert divergence[-1] < 0.5 * divergence[0]


def test_scenes_without_classes_have_no_accuracy(tmp_path):
    learner = trainer(tmp_path / "run", labelled=False)
    learner.run()
    assert not [name for name in learner.history[-1] if name.startswith("knn")]
    assert "kNN" not in tabulate(learner.history)


def after_a_step(learner):
    indices = torch.arange(4)
    (groups,) = [images for _, images in learner._batches(range(1))]
    learner.model.train()
    learner._train_step(indices, groups)
    learner.step += 1
    return learner


def last_layer(learner):
    return learner.student.head.last_layer.weight_v.detach().clone()


@pytest.mark.parametrize(("epochs", "moves"), [(0, True), (1, False)])
def test_the_last_layer_is_frozen_in_the_first_epoch(tmp_path, epochs, moves):
    learner = trainer(tmp_path / "run", freeze_last_layer=epochs, changes={"warmup": 0.0})
    before = last_layer(learner)
    after_a_step(learner)
    assert torch.equal(before, last_layer(learner)) != moves
    learner.step = learner.steps_per_epoch  # the second epoch
    after_a_step(learner)
    assert not torch.equal(before, last_layer(learner))


@pytest.mark.parametrize("unit_rows", [True, False])
def test_lengths_of_the_last_layers_rows(tmp_path, unit_rows):
    changes = {"warmup": 0.0}
    learner = trainer(
        tmp_path / "run", head_normalised=unit_rows, freeze_last_layer=0, changes=changes
    )
    after_a_step(learner)
    lengths = learner.student.head.last_layer.weight_g
    assert bool((lengths == 1).all()) == unit_rows


@pytest.mark.parametrize("momentum", [0.0, 1.0])
def test_the_teacher_follows_at_once_or_never(tmp_path, momentum):
    learner = trainer(
        tmp_path / "run",
        teacher_momentum=momentum,
        teacher_momentum_end=momentum,
        changes={"warmup": 0.0},
    )
    before = weights_hash(learner.encoder)
    after_a_step(learner)
    student = weights_hash(learner.student.encoder)
    assert student != before
    assert weights_hash(learner.encoder) == (before if momentum else student)


def test_the_center_is_the_running_mean_of_the_teacher(tmp_path):
    learner = after_a_step(trainer(tmp_path / "run"))
    (groups,) = [images for _, images in learner._batches(range(1))]
    fresh = trainer(tmp_path / "fresh")
    crops = fresh.encoder.normalise(groups[0].transpose(0, 1).flatten(0, 1))
    with torch.no_grad():
        _, outputs = fresh.teacher([crops], [View()])
    torch.testing.assert_close(learner.center, 0.1 * outputs.mean(0))
    off = after_a_step(trainer(tmp_path / "off", centering=False))
    assert not off.center.any()


def test_schedules_reach_the_optimiser(tmp_path):
    changes = {"warmup": 0.25, "weight_decay": 0.04}
    learner = trainer(tmp_path / "run", changes=changes)  # 8 steps, 2 of them warming up
    rates, decays = [], []
    for _ in range(learner.total_steps):
        after_a_step(learner)
        decayed, others = learner.optimizer.param_groups
        rates.append(decayed["lr"])
        decays.append(decayed["weight_decay"])
        assert others["weight_decay"] == 0
        assert others["lr"] == decayed["lr"]
    assert rates[:3] == [0.0, 1e-3, 1e-3]
    assert rates == [*rates[:2], *sorted(rates[2:], reverse=True)]
    assert decays[0] == pytest.approx(0.04)
    assert decays[4] == pytest.approx(0.22)
    assert decays == sorted(decays)


def test_gradients_are_clipped_tensor_by_tensor():
    layer = torch.nn.Linear(3, 2)
    layer.weight.grad, layer.bias.grad = torch.full((2, 3), 5.0), torch.full((2,), 0.1)
    clip_each(layer, 0)
    assert float(layer.weight.grad[0, 0]) == 5
    clip_each(layer, 3.0)
    assert float(layer.weight.grad.norm()) == pytest.approx(3.0, rel=1e-4)
    assert layer.bias.grad.tolist() == pytest.approx([0.1, 0.1])


def test_every_split_block_number_of_parts_and_orientation_is_drawn():
    rng = np.random.default_rng(0)
    views = [draw_view(rng, (4, 6), depth=3) for _ in range(4000)]
    splits = np.bincount([view.split_block for view in views])
    assert len(splits) == 4
    assert splits.min() > 900
    parts = np.bincount([view.division.parts for view in views])
    possible = (1, 2, 3, 4, 6, 8, 9, 12, 16)
    assert np.flatnonzero(parts).tolist() == list(possible)
    assert min(parts[list(possible)]) > 350
    turned = np.mean([view.division.transposed for view in views if view.division.parts == 2])
    assert 0.4 < turned < 0.6
    chosen = [draw_view(rng, (4, 6), 3, parts=(4, 9), split_block=1) for _ in range(50)]
    assert {(view.split_block, view.division.parts) for view in chosen} == {(1, 4), (1, 9)}


def test_a_whole_student_is_the_classic_one(tmp_path):
    learner = trainer(tmp_path / "run", divide_student=False)
    assert {(view.split_block, view.division) for view in learner._views()} == {(0, None)}
    divided = trainer(tmp_path / "parts")
    assert all(view.division is not None for view in divided._views())


def test_the_loss_of_many_crops_is_that_of_a_plain_loop():
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(5, 3, 7, generator=generator, dtype=torch.float64)
    teacher = torch.randn(2, 3, 7, generator=generator, dtype=torch.float64)
    center = torch.randn(7, generator=generator, dtype=torch.float64)
    terms = distillation_loss(student, teacher, center, 0.2, 0.3)
    targets = [((teacher[i] - center) / 0.3).softmax(-1) for i in range(2)]
    pairs = [
        -(targets[i] * (student[j] / 0.2).log_softmax(-1)).sum(-1).mean()
        for i in range(2)
        for j in range(5)
        if i != j
    ]
    torch.testing.assert_close(terms.loss, torch.stack(pairs).mean())
    assert float(terms.divergence) > 0
    assert 0 < float(terms.entropy) < math.log(7)
    with pytest.raises(ValueError, match="1 of the student"):
        distillation_loss(student[:1], teacher[:1], center, 0.2, 0.3)


def test_the_spread_of_features():
    same = torch.randn(1, 6).expand(9, -1) * torch.rand(9, 1)
    assert float(feature_spread(same)) < 1e-3
    assert float(feature_spread(torch.cat([same[:4], -same[:4]]))) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("entropy", "spread", "words"),
    [
        (math.log(40) * 0.999, 0.5, "nearly uniform"),
        (math.log(40) * 0.001, 0.5, "one output takes all"),
        (1.0, 0.001, "nearly the same for all images"),
        (1.0, 0.5, None),
    ],
)
def test_a_collapse_is_said_in_words(entropy, spread, words):
    signs = signs_of_collapse({"teacher_entropy": entropy, "feature_spread": spread}, 40)
    assert len(signs) == (words is not None)
    assert all(words in sign for sign in signs)


def test_a_run_that_collapses_warns(tmp_path):
    scenes = MemoryScenes()
    scenes.images[:] = 90  # every crop of every image is the same
    learner = trainer(tmp_path / "run", scenes, color_jitter=0, solarize=0)
    with pytest.warns(UserWarning, match="nearly the same for all images"):
        learner.run()


def test_a_healthy_run_does_not_warn(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        trainer(tmp_path / "run").run()


def test_heads_of_the_authors_and_of_others(tmp_path):
    golden = Golden("dino")
    head = {n.removeprefix("head."): w for n, w in golden.weights.items() if n.startswith("head.")}
    backbone = {
        f"module.{name}": each for name, each in golden.weights.items() if "backbone" in name
    }
    content = backbone | {f"module.head.{name}": each for name, each in head.items()}
    path = tmp_path / "checkpoint.pth"
    torch.save({"student": {}, "teacher": content, "epoch": 3}, path)
    loaded = load_head(path, 48, unit_rows=True)
    assert all(torch.equal(loaded.state_dict()[name], each) for name, each in head.items())
    with pytest.raises(CheckpointError, match="latents of 48 channels, and the encoder's have 24"):
        trainer(tmp_path / "run", head_from=path)
    with pytest.raises(CheckpointError, match="no projection head; expected the folder"):
        load_head(tmp_path, 48, unit_rows=True)
    torch.save({"teacher": backbone}, path)
    with pytest.raises(CheckpointError, match="holds no projection head"):
        load_head(path, 48, unit_rows=True)


def test_a_run_starts_from_the_projection_head_of_another(tmp_path):
    first = trainer(tmp_path / "first")
    first.run()
    second = trainer(tmp_path / "second", head_from=tmp_path / "first", head_outputs=99)
    for name, each in first.teacher.head.state_dict().items():
        assert torch.equal(second.student.head.state_dict()[name], each)
    assert len(second.center) == 24
    assert (tmp_path / "first" / HEAD_FILE).is_file()


def test_initial_heads_follow_from_the_seed(tmp_path):
    first, second, third = (
        trainer(tmp_path / str(number), changes={"seed": seed}).student.head.state_dict()
        for number, seed in enumerate((3, 3, 4))
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["mlp.0.weight"], third["mlp.0.weight"])


@pytest.mark.parametrize(
    ("encoder", "changes", "own", "words"),
    [
        (lambda: tiny_encoder(), {}, {}, "has a class head or a decoder"),
        (
            lambda: tiny_encoder().without_heads().with_reduction(reduction="tome:r=2"),
            {},
            {},
            "reduces tokens",
        ),
        (None, {"split_block": 9}, {}, r"split_block 9 is outside \[0, 3\]"),
        (None, {"split_block": 1}, {"divide_student": False}, "split_block=1 does nothing"),
        (None, {}, {"parts": (16,)}, "a crop of 2x3 patches cannot be divided into any of"),
        (None, {}, {"local_size": (17, 32)}, "multiples of the patch size 16"),
    ],
)
def test_what_cannot_be_distilled_is_refused(tmp_path, encoder, changes, own, words):
    with pytest.raises(ValueError, match=words):
        trainer(tmp_path / "run", encoder=encoder and encoder(), changes=changes, **own)

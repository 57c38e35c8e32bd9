"""Self-distillation gives the numbers of DINO's own code."""

from __future__ import annotations

import copy

import pytest
import torch
from golden_numbers import DTYPES, Golden

from encoders.checkpoints.importing import build_from_state_dict
from encoders.layers.positions import resample_as_dino
from encoders.training.distillation.head import ProjectionHead
from encoders.training.distillation.loss import distillation_loss, updated_center
from encoders.training.distillation.model import (
    CropEncoder,
    View,
    follow,
    parameter_groups,
    view_latents,
)
from encoders.training.distillation.schedules import CosineSchedule, LinearSchedule

WHOLE = View()


@pytest.fixture(scope="module", params=DTYPES, ids=str)
def golden(request):
    return Golden("dino", request.param)


@pytest.fixture(scope="module")
def student(golden):
    encoder = build_from_state_dict(golden.weights, image_size=(64, 64), num_heads=3)
    head = ProjectionHead(48, 64, 16, 40, unit_rows=False).to(golden.dtype)
    head.load_state_dict(
        {
            name.removeprefix("head."): each
            for name, each in golden.weights.items()
            if name.startswith("head.")
        }
    )
    return CropEncoder(encoder, head)


def crops_of(golden, name):
    """Crop by crop: the authors stack whole batches of them."""
    return golden[f"loss/{name}"].unflatten(0, (-1, 3))


@torch.no_grad()
def test_projection_head(golden, student):
    golden.check(student([golden["image"]], [WHOLE])[1], "head_out")


@torch.no_grad()
def test_crops_of_two_sizes(golden, student):
    groups = [golden["image"], golden["image_small"]]
    latents, outputs = student(groups, [WHOLE, WHOLE])
    golden.check(outputs, "multicrop_out")
    golden.check(latents[:4], "cls_feat")
    golden.check(latents[4:], "small/cls_feat")


@torch.no_grad()
def test_positions_of_other_grids(golden):
    table = golden.weights["backbone.pos_embed"]
    golden.check(resample_as_dino(table, (4, 4), 1, (8, 8)), "small/pos_embed")
    golden.check(resample_as_dino(table, (5, 12), 1, (8, 8)), "rect/pos_embed")


class Masks:
    """A division that the authors' masks spell out."""

    def __init__(self, masks):
        self.masks = masks

    def labels(self, grid):
        assert grid == self.masks.shape[1:]
        return self.masks.argmax(0).numpy()


@torch.no_grad()
@pytest.mark.parametrize("division", ["equal4", "unequal6"])
@pytest.mark.parametrize("split", range(5))
def test_the_student_sees_parts_as_tore_does(golden, student, division, split):
    view = View(split, Masks(golden[f"tore/{division}/masks"]))
    latents = view_latents(student.encoder, golden["image"], view)
    golden.check(latents, f"tore/{division}/K{split}/cls_feat")


def test_loss_and_center_over_steps(golden):
    student_out, teacher_out = crops_of(golden, "student_out"), crops_of(golden, "teacher_out")
    center = golden["loss/center_init"][0]
    temperatures = LinearSchedule(0.04, 0.07, 3)
    for step in range(3):
        golden.check(center[None], f"loss/step{step}/center_before")
        temperature = temperatures.at(int(golden[f"loss/step{step}/epoch"]))
        terms = distillation_loss(student_out, teacher_out, center, 0.1, temperature)
        golden.check(terms.loss, f"loss/step{step}/loss")
        torch.testing.assert_close(terms.divergence, terms.loss - terms.entropy)
        center = updated_center(center, teacher_out.flatten(0, 1).mean(0), 0.9)
        golden.check(center[None], f"loss/step{step}/center_after")


def test_gradient_of_the_loss(golden):
    student_out = crops_of(golden, "student_out").requires_grad_(True)
    teacher_out = crops_of(golden, "teacher_out").requires_grad_(True)
    epoch = int(golden["loss/step0/epoch"])
    temperature = LinearSchedule(0.04, 0.07, 3).at(epoch)
    center = golden["loss/step0/center_before"][0]
    distillation_loss(student_out, teacher_out, center, 0.1, temperature).loss.backward()
    golden.check(student_out.grad.flatten(0, 1), "loss/step0/grad_student_out")
    assert teacher_out.grad is None


def test_teacher_follows(golden, student):
    name = "blocks.0.attn.qkv.weight"
    teacher = copy.deepcopy(student)
    with torch.no_grad():
        teacher.encoder.get_parameter(f"backbone.vit.{name}").copy_(
            golden[f"ema/teacher_before/{name}"]
        )
    follow(teacher, student, 0.996)
    golden.check(
        teacher.encoder.get_parameter(f"backbone.vit.{name}").detach(),
        f"ema/teacher_after_m0.996/{name}",
    )


def test_schedules():
    golden = Golden("dino", torch.float64)
    for key, schedule in (
        ("cosine_scheduler/base1_final0.1_ep5_it4_warm2", CosineSchedule(1, 0.1, 20, 8, 0.05)),
        ("cosine_scheduler/momentum0.996_to_1_ep3_it5", CosineSchedule(0.996, 1, 15)),
        ("loss/temp_schedule", LinearSchedule(0.04, 0.07, 3)),
    ):
        values = [schedule.at(step) for step in range(len(golden[key]))]
        golden.check(torch.tensor(values, dtype=torch.float64), key)


def test_parameter_groups(golden, student):
    backbone, others = parameter_groups(student.encoder)
    sizes = torch.tensor([len(backbone["params"]), len(others["params"])])
    assert torch.equal(sizes, golden["params_groups/n_regularized_unregularized"])
    assert others["weight_decay"] == 0
    assert all(each.ndim == 1 for each in others["params"])
    with_head = parameter_groups(student)
    assert [len(group["params"]) for group in with_head] == [19 + 3 + 2, 35 + 3]

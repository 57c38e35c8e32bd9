"""A-ViT gives the numbers of its authors' code: tokens really taken out, and masked."""

from __future__ import annotations

import pytest
import torch
from golden_numbers import DTYPES, Golden
from reduced_vit import run_reduced

from encoders.checkpoints.importing import build_from_state_dict
from encoders.reduction.config import Avit

SETTINGS = ("s10_c30", "s5_c10", "s10_c5", "s4_c2")


def published(golden, group):
    scale, center = golden[f"{group}/gate_scale_center"].tolist()
    return Avit(gate_scale=scale, gate_center=center, protect_prefix=False)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("group", SETTINGS)
def test_tokens_taken_out_give_what_masked_tokens_give(dtype, group):
    golden = Golden("avit", dtype)
    encoder = build_from_state_dict(golden.weights, image_size=(64, 64), num_heads=3)
    found = run_reduced(encoder, golden["image"], published(golden, group))
    golden.check(found.logits, f"{group}/logits")
    golden.check(found.tokens.values, f"{group}/acc")
    halting = found.reduction.halting
    golden.check(halting.ponder, f"{group}/rho")
    assert torch.equal(halting.blocks, golden[f"{group}/counter"].long())
    halted = golden[f"{group}/halted_before_layer"]
    alive = (1 - halted).sum(2)
    assert found.counts == alive.tolist()

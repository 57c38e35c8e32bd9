"""A-ViT gives the numbers of its authors' code: tokens really taken out, and masked."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from golden_numbers import DTYPES, Golden
from reduced_vit import run_reduced

from encoders import EncoderConfig, build_encoder
from encoders.checkpoints.importing import build_from_state_dict
from encoders.reduction.avit_masked import MaskedAvitPass
from encoders.reduction.config import Avit
from encoders.reduction.halting_losses import (
    distribution_loss,
    halting_shares,
    ponder_loss,
    target_shares,
)

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


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("group", SETTINGS)
def test_masked_tokens_as_nvidia_computes_them(dtype, group):
    golden = Golden("avit", dtype)
    encoder = build_from_state_dict(golden.weights, image_size=(64, 64), num_heads=3)
    config = dataclasses.replace(published(golden, group), form="nvidia", target_depth=8)
    steps = []

    class Recording(MaskedAvitPass):
        def run(self, module, block, tokens, *, leading=None):
            assert torch.equal(
                (self._alive == 0).long(), golden[f"{group}/halted_before_layer"][block]
            )
            tokens, count = super().run(module, block, tokens)
            steps.append(tokens.values)
            return tokens, count

    found = run_reduced(encoder, golden["image"], config, Recording(config, 0, 12))
    golden.check(steps[0], f"{group}/first_block_out")
    golden.check(steps[-1], f"{group}/last_block_out")
    golden.check(found.logits, f"{group}/logits")
    golden.check(found.tokens.values, f"{group}/acc")
    halting = found.reduction.halting
    golden.check(halting.scores, f"{group}/h")
    golden.check(halting.ponder, f"{group}/rho")
    assert torch.equal(halting.blocks, golden[f"{group}/counter"].long())
    golden.check(halting.scores[:, 1:].mean((1, 2)), f"{group}/halting_score_layer")
    golden.check(halting_shares(halting), f"{group}/distr_norm")
    ponder = golden["ponder_token_scale"] * ponder_loss(halting)
    close(ponder, golden[f"{group}/ponder"])
    close(golden["distr_prior_alpha"] * distribution_loss(halting), golden[f"{group}/distr"])


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=3e-4, atol=1e-6)


def test_targets_of_the_distribution():
    golden = Golden("avit", torch.float64)
    close(target_shares(12, 8, "nvidia"), golden["target_gaussian_len12_depth8"])
    student = Golden("avit_nnproject", torch.float64)
    for group in STUDENT:
        close(target_shares(12, 8, "student"), student[f"{group}/halting_score_distr_target"])
    assert float(target_shares(12, 8, "paper").sum()) == pytest.approx(1)


STUDENT = ("g5_bm10", "g4_bm2", "g10_bm5")


def student_vit(golden):
    """The student's names in timm's."""
    weights, parts = {}, {}
    for name, tensor in golden.weights.items():
        for old, new in RENAMED.items():
            name = name.replace(old, new)
        if ".attn.q" in name or ".attn.k" in name or ".attn.v" in name:
            stem, last = name.split(".attn.")
            letter, kind = last.split("_proj.")
            parts.setdefault((stem, kind), {})[letter[0]] = tensor
        else:
            weights[name] = tensor
    for (stem, kind), three in parts.items():
        weights[f"{stem}.attn.qkv.{kind}"] = torch.cat([three[letter] for letter in "qkv"])
    return weights


RENAMED = {
    "model.encoder.layers.": "blocks.",
    "norm_before": "norm1",
    "norm_after": "norm2",
    "attn.output": "attn.proj",
    "mlp.0": "mlp.fc1",
    "mlp.2": "mlp.fc2",
    "model.norm": "norm",
    "classifier": "head",
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("group", STUDENT)
def test_masked_tokens_as_the_student_computes_them(dtype, group):
    golden = Golden("avit_nnproject", dtype)
    config = EncoderConfig(
        name="student",
        vit={"embed_dim": 36, "depth": 12, "num_heads": 3},
        image_size=(64, 64),
        patch_size=8,
        num_classes=10,
    )
    encoder = build_encoder(config)
    encoder.backbone.vit.patch_embed.norm = torch.nn.LayerNorm(36, eps=1e-6)
    weights = student_vit(golden)
    weights["cls_token"] = weights.pop("model.embed.cls_token")
    weights["pos_embed"] = weights.pop("model.embed.pos_embeddings")
    for name in [name for name in weights if name.startswith("model.embed.")]:
        weights[name.removeprefix("model.embed.")] = weights.pop(name)
    encoder.backbone.vit.load_state_dict(weights)
    encoder.to(dtype)
    gamma, beta = golden[f"{group}/gamma_beta"].tolist()
    reduction = Avit(
        gate_scale=gamma, gate_center=-beta, protect_prefix=False, form="student", target_depth=8
    )
    found = run_reduced(encoder, golden["image"], reduction)
    halting = found.reduction.halting
    golden.check(found.logits, f"{group}/logits")
    golden.check(halting.ponder, f"{group}/rhos")
    assert torch.equal(halting.blocks, golden[f"{group}/counter"].long())
    close(halting_shares(halting), golden[f"{group}/halting_score_distr"])
    task = F.cross_entropy(found.logits, golden["labels"])
    ponder, distribution = ponder_loss(halting), distribution_loss(halting)
    close(task, golden[f"{group}/task_loss"])
    close(ponder, golden[f"{group}/ponder_loss"])
    close(distribution, golden[f"{group}/distr_loss"])
    close(task + 5e-4 * ponder + 0.1 * distribution, golden[f"{group}/total_loss"])

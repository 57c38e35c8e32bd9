"""The last block computes what is asked for, and that is what the full computation gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import random_images, take_patches, tiny_encoder
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from encoders.flops.ledger import BlockCost
from encoders.layers.vit import set_fused_attention

SHAPE = {"embed_dim": 24, "depth": 3, "num_heads": 3}
MODELS = {
    "plain": {},
    "layer scale": {"init_values": 0.3},
    "query and key norms": {"qk_norm": True},
    "norm before the projection": {"scale_attn_norm": True},
    "no bias": {"qkv_bias": False},
    "registers": {"reg_tokens": 3, "no_embed_class": True},
    "distilled": {"distilled": True},
    "average": {"global_pool": "avg"},
    "average of all": {"global_pool": "avg", "pool_include_prefix": True},
    "no class token": {"global_pool": "avg", "class_token": False},
}
ASKED, ALL = ("latent", "logits"), ("latent", "logits", "tokens")
RAGGED = torch.tensor(
    [[[0, 1, 2], [9, -1, 12]], [[4, -1, -1], [-1, -1, -1]], [[7, 8, 9], [1, 2, 3]]]
)


def encoder_of(model, dtype=torch.float32, fused=True):
    decoder = None if MODELS[model].get("class_token") is False else tiny_encoder().config.decoder
    encoder = tiny_encoder(dtype=dtype, vit={**SHAPE, **MODELS[model]}, decoder=decoder)
    set_fused_attention(encoder, fused)
    return encoder


def walk(encoder, ids, split, outputs):
    patches = take_patches(encoder, random_images(encoder, len(ids)), ids)
    state = encoder.init_state(len(ids))
    for step in range(ids.shape[1]):
        yield encoder.observe(patches[:, step], ids[:, step], state, split, outputs)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("model", MODELS)
def test_what_is_asked_equals_the_full_computation(model, fused):
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.float64, 1e-13)):
        encoder = encoder_of(model, dtype, fused)
        for split in range(encoder.depth + 1):
            pairs = zip(
                walk(encoder, RAGGED, split, ASKED), walk(encoder, RAGGED, split, ALL), strict=True
            )
            for asked, whole in pairs:
                assert asked.belief.tokens is None
                for name in ASKED:
                    scale = whole.belief[name].abs().max()
                    found = (asked.belief[name] - whole.belief[name]).abs().max() / scale
                    assert found < tolerance, (split, name)


@settings(max_examples=30, deadline=None)
@given(
    model=st.sampled_from(list(MODELS)),
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    split=st.integers(0, 3),
    outputs=st.sampled_from([("latent",), ("logits",), ASKED, ("tokens",), ALL]),
)
def test_the_ledger_counts_what_ran(model, sizes, split, outputs):
    encoder = encoder_of(model, fused=False)
    state, cached = encoder.init_state(1), 0
    for size in sizes:
        ids = torch.arange(cached, cached + size)[None]
        patches = take_patches(encoder, random_images(encoder, 1), ids)
        with FlopCounterMode(display=False) as counter:
            observed = encoder.observe(patches, ids, state, split, outputs)
        assert 2 * observed.cost.spent.total == counter.get_total_flops()
        cached += size
        anew = encoder.init_state(1)
        ids = torch.arange(cached)[None]
        patches = take_patches(encoder, random_images(encoder, 1), ids)
        with FlopCounterMode(display=False) as counter:
            encoder.observe(patches, ids, anew, split, outputs)
        assert 2 * observed.cost.without_recycling.total == counter.get_total_flops()


def test_a_block_for_one_token_costs_what_its_formula_says():
    cost = BlockCost.of(tiny_encoder().backbone.blocks[0])
    width, count = 24, np.arange(1, 9)
    for leading in (1, 2):
        first = np.minimum(count, leading)
        expected = 2 * width**2 * count + 10 * width**2 * first + 2 * width * first * count
        np.testing.assert_array_equal(cost.leading(count, leading), expected)
    assert cost.leading(1, 1) == cost(1)


def test_gated_attention_takes_the_gates_of_the_tokens_that_come_out():
    encoder = encoder_of("plain", torch.float64)
    generator = torch.Generator().manual_seed(0)
    for block in encoder.backbone.blocks:
        gate = torch.nn.Linear(24, 24).double()
        with torch.no_grad():
            gate.weight.normal_(generator=generator)
        block.attn.gate = gate
    for asked, whole in zip(
        walk(encoder, RAGGED, 1, ASKED), walk(encoder, RAGGED, 1, ALL), strict=True
    ):
        torch.testing.assert_close(asked.belief.logits, whole.belief.logits, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("model", ["plain", "distilled", "layer scale"])
def test_gradients_equal_those_of_the_full_computation(model):
    encoder = encoder_of(model, torch.float64)
    patches = take_patches(encoder, random_images(encoder, len(RAGGED)), RAGGED)
    gradients = []
    for outputs in (ASKED, ALL):
        encoder.zero_grad()
        encoder(patches, RAGGED, 1, outputs).logits.square().sum().backward()
        gradients.append({n: p.grad for n, p in encoder.named_parameters() if p.grad is not None})
    asked, whole = gradients
    assert asked.keys() == whole.keys()
    for name, gradient in asked.items():
        torch.testing.assert_close(gradient, whole[name], rtol=1e-10, atol=1e-10)


def test_the_cache_holds_all_tokens_whatever_is_asked():
    encoder = encoder_of("plain")
    for split in range(encoder.depth + 1):
        *_, asked = walk(encoder, RAGGED, split, ASKED)
        *_, whole = walk(encoder, RAGGED, split, ALL)
        assert torch.equal(asked.state.buffer, whole.state.buffer)

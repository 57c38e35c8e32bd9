"""Linear-angular attention: the authors' numbers, a plain formula, and the family's promises."""

from __future__ import annotations

import dataclasses
import math
import pickle

import numpy as np
import pytest
import torch
from golden_numbers import DTYPES, Golden
from helpers import random_images, take_patches, tiny_config, tiny_encoder
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import raises_naming
from torch.utils.flop_counter import FlopCounterMode

from encoders import build_encoder
from encoders.layers.angular import (
    AngularAttention,
    neighbours,
    risen_threshold,
    set_sparse_threshold,
)
from encoders.layers.vit import run_block_with_attention, set_fused_attention
from encoders.storage import load_encoder, save_encoder
from encoders.testing import check_encoder

ORDERS = ("grid", "arrival")
LAST = ("latent", "logits")


def angular(order="grid", seed=0, **changes):
    vit = {"embed_dim": 24, "depth": 3, "num_heads": 3}
    vit |= {"attention": "angular", "attention_order": order}
    encoder = tiny_encoder(seed, vit=vit, **changes)
    set_fused_attention(encoder, False)  # of the decoder; the only form that is counted everywhere
    return encoder


ENCODERS = {order: angular(order) for order in ORDERS}
IMAGES = random_images(ENCODERS["grid"], 3)


def stream(encoder, ids, split, outputs=LAST, images=IMAGES, state=None):
    state = encoder.init_state(len(ids)) if state is None else state
    for step in range(ids.shape[1]):
        patches = take_patches(encoder, images[: len(ids)], ids[:, step])
        observed = encoder.observe(patches, ids[:, step], state, split, outputs)
    return observed


def ragged(seed, rows=3, glimpses=3, each=3):
    random = np.random.default_rng(seed)
    ids = np.stack([random.permutation(32)[: glimpses * each] for _ in range(rows)])
    ids = ids.reshape(rows, glimpses, each)
    ids[random.random(ids.shape) < 0.25] = -1
    return torch.from_numpy(ids)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("tokens", ["L65", "L20"])
@pytest.mark.parametrize("sparse", [0, 1])
@torch.no_grad()
def test_the_authors_numbers(dtype, tokens, sparse):
    golden = Golden("mixers", dtype)
    layer = AngularAttention(24, 3).to(dtype)
    layer.load_state_dict({name: golden[f"castling/w/{name}"] for name in layer.state_dict()})
    layer.train(bool(sparse))
    golden.check(layer(golden[f"castling/{tokens}/x"]), f"castling/{tokens}/sparse{sparse}/y")


@torch.no_grad()
def test_a_sparse_branch_that_has_risen_to_one_is_off():
    layer = AngularAttention(24, 3)
    x = torch.randn(2, 9, 24, generator=torch.Generator().manual_seed(0))
    resting = layer.eval()(x)
    assert not torch.allclose(layer.train()(x), resting)
    set_sparse_threshold(layer, risen_threshold(1.0))
    assert torch.equal(layer(x), resting)
    assert risen_threshold(0.0) == 0.02
    assert risen_threshold(0.5) == pytest.approx(0.51)


def plainly(layer, x, places):
    """One row in plain NumPy, each token by itself; `places` are where on the axis it lies."""
    weights = {name: value.double().numpy() for name, value in layer.state_dict().items()}
    parts = x.double().numpy() @ weights["qkv.weight"].T + weights["qkv.bias"]
    query, key, value = np.split(parts, 3, axis=1)
    size, out = layer.head_dim, np.zeros((len(x), x.shape[1]))
    for head in range(layer.num_heads):
        own = slice(head * size, (head + 1) * size)
        for i in range(len(x)):
            mixed = value[i, own] / 2
            for j in range(len(x)):
                cosine = query[i, own] @ key[j, own]
                cosine /= np.linalg.norm(query[i, own]) * np.linalg.norm(key[j, own])
                mixed = mixed + cosine * value[j, own] / math.pi
            mixed = mixed / np.linalg.norm(mixed)
            for j in range(len(x)):
                tap = places[j] - places[i] + layer.reach
                if 0 <= tap < layer.neighbourhood:
                    mixed = mixed + weights["dconv.weight"][head, 0, tap, 0] * value[j, own]
            out[i, own] = mixed
    return out @ weights["proj.weight"].T + weights["proj.bias"]


@settings(max_examples=30, deadline=None)
@given(
    seen=st.permutations(range(12)),
    count=st.integers(1, 12),
    padding=st.integers(0, 4),
    order=st.sampled_from(ORDERS),
    leading=st.sampled_from([None, 1]),
    seed=st.integers(0, 99),
)
@torch.no_grad()
def test_any_tokens_among_padding_are_mixed_as_the_formula_says(
    seen, count, padding, order, leading, seed
):
    generator = torch.Generator().manual_seed(seed)
    layer = AngularAttention(12, 2, order=order, neighbourhood=5).double().eval()
    ids = torch.tensor(seen[:count])
    where = torch.cat([ids, torch.full((padding,), -1)])
    where = where[torch.randperm(len(where), generator=generator)]
    mask = torch.cat([torch.tensor([True]), where >= 0])
    x = torch.randn(1, len(mask), 12, generator=generator, dtype=torch.float64)
    source = torch.zeros(1, 12, dtype=torch.int64)
    for place, patch in enumerate(where.tolist()):
        if patch >= 0:
            source[0, patch] = place + 1
    near = neighbours(
        order, layer.reach, len(mask), mask=mask[None], source=source, num_prefix_tokens=1
    )
    found = layer(x, mask[None], near, leading)[0]
    kept = x[0, mask]
    places = list(range(len(kept)))
    if order == "grid":
        places = [0, *(1 + where[where >= 0]).tolist()]
    expected = plainly(layer, kept, places)
    found = found[mask] if leading is None else found
    np.testing.assert_allclose(found.numpy(), expected[: len(found)], atol=1e-10)


@pytest.mark.parametrize("order", ORDERS)
def test_the_laws_of_encoders(order):
    check_encoder(ENCODERS[order])


@pytest.mark.parametrize("split", range(4))
@pytest.mark.parametrize("order", ORDERS)
def test_streaming_equals_one_call(order, split):
    encoder = ENCODERS[order]
    outputs = ("latent", "logits", "pixels", "entropy")
    for seed in range(3):
        ids = ragged(seed)
        streamed = stream(encoder, ids, split, outputs).belief
        patches = take_patches(encoder, IMAGES, ids)
        with torch.no_grad():
            whole = encoder(patches, ids, split, outputs)
        for name in outputs:
            torch.testing.assert_close(streamed[name], whole[name], rtol=1e-4, atol=1e-5)


def test_in_the_order_of_the_grid_a_whole_image_is_a_plain_transformer():
    for order in ORDERS:
        encoder = ENCODERS[order]
        with torch.no_grad():
            expected = encoder.backbone.vit(IMAGES)
            found = encoder.forward_full(IMAGES).logits
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("split", range(4))
def test_the_order_of_glimpses_matters_to_the_order_of_arrival_alone(split):
    ids = ragged(5)
    turned = ids.flip(1)
    beliefs = {
        order: [stream(ENCODERS[order], each, split).belief.latent for each in (ids, turned)]
        for order in ORDERS
    }
    torch.testing.assert_close(*beliefs["grid"], rtol=1e-4, atol=1e-5)
    if split < 3:
        assert not torch.allclose(*beliefs["arrival"], rtol=1e-3, atol=1e-3)


def test_patches_seen_twice_are_nobodys_neighbours_any_more():
    encoder = ENCODERS["grid"]
    ids = torch.tensor([[[3, 4], [4, 9], [3, 30]]])
    for split in range(4):
        patches = take_patches(encoder, IMAGES[:1], ids)
        with torch.no_grad():
            whole = encoder(patches, ids, split).latent
        found = stream(encoder, ids, split).belief.latent
        torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("order", ORDERS)
def test_running_sums_equal_reading_everything_again(order):
    encoder = ENCODERS[order]
    split = encoder.depth - 1
    for seed in range(4):
        ids = ragged(seed, glimpses=6)
        summed = stream(encoder, ids, split)
        assert summed.state.sums is not None
        read = stream(encoder, ids, split, ("latent", "logits", "tokens"))
        assert read.state.sums is None
        for name in LAST:
            torch.testing.assert_close(summed.belief[name], read.belief[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("order", ORDERS)
def test_a_step_with_running_sums_costs_the_same_whatever_was_seen(order):
    encoder = ENCODERS[order]
    split = encoder.depth - 1
    costs = [encoder.flops(3, cached, split, LAST).total for cached in (0, 5, 29)]
    assert len(set(costs)) == 1
    grown = [encoder.flops(3, cached, split - 1, LAST).total for cached in (0, 5, 10)]
    assert grown[1] - grown[0] == grown[2] - grown[1] > 0  # linear, not quadratic


def test_sums_catch_up_with_steps_that_asked_for_more():
    encoder = ENCODERS["grid"]
    split = encoder.depth - 1
    ids = ragged(7, glimpses=4)
    expected = stream(encoder, ids, split).belief
    begun = stream(encoder, ids[:, :3], split, ("pixels",)).state
    waiting = begun.tokens.numpy().copy()
    late = stream(encoder, ids[:, 3:], split, state=begun)
    torch.testing.assert_close(late.belief.logits, expected.logits, rtol=1e-5, atol=1e-5)
    new = (ids[:, 3] >= 0).sum(1).numpy()
    usual = encoder.flops(new, waiting, split, LAST).aggregator
    width, head = 24, 8
    per_token = 2 * width * width + width * head
    np.testing.assert_array_equal(late.cost.spent.aggregator, usual + waiting * per_token)


@pytest.mark.parametrize("order", ORDERS)
def test_sums_go_with_their_rows(order):
    encoder = ENCODERS[order]
    split = encoder.depth - 1
    ids = ragged(8, glimpses=4)
    expected = stream(encoder, ids, split).belief.latent
    for copied in (lambda state: state.fork(), lambda state: pickle.loads(pickle.dumps(state))):
        begun = stream(encoder, ids[:, :2], split).state
        copy = copied(begun)
        stream(encoder, ids[:, :1], split, state=begun)
        found = stream(encoder, ids[:, 2:], split, state=copy).belief.latent
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    begun = stream(encoder, ids[:, :2], split).state
    rows = torch.tensor([2, 0])
    part = begun.select(rows)
    found = stream(encoder, ids[rows][:, 2:], split, images=IMAGES[rows], state=part)
    torch.testing.assert_close(found.belief.latent, expected[rows], rtol=1e-5, atol=1e-5)
    other = encoder.init_state(3)
    other.put(rows, found.state)
    assert other.sums.counts.tolist() == other.tokens.tolist()
    other.reset(torch.tensor([2]))
    assert not other.sums.products[2].any()
    assert other.sums.products[0].any()
    assert other.num_bytes > dataclasses.replace(other, sums=None).num_bytes


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    split=st.integers(0, 3),
    order=st.sampled_from(ORDERS),
    outputs=st.sampled_from([("latent",), LAST, ("tokens",), ("pixels", "entropy")]),
)
def test_the_ledger_equals_pytorchs_counter(sizes, split, order, outputs):
    encoder = ENCODERS[order]
    state, cached = encoder.init_state(1), 0
    for size in sizes:
        ids = torch.arange(cached, cached + size)[None]
        patches = take_patches(encoder, IMAGES[:1], ids)
        with FlopCounterMode(display=False) as counter:
            observed = encoder.observe(patches, ids, state, split, outputs)
        assert observed.cost.spent.total.tolist() == [counter.get_total_flops() // 2]
        cached += size


def test_what_needs_attention_weights_is_refused_in_a_sentence():
    encoder = ENCODERS["grid"]
    for options in ({"reduction": "evit:keep_rate=0.5"}, {"reduction": "tome:r=2"}):
        with raises_naming(ValueError, ["angular attention", "reduction='none'"]):
            encoder.resolve_options(options)
    with raises_naming(ValueError, ["angular attention", "at most 9 tokens"]):
        encoder.resolve_options({"max_tokens": 9})
    with raises_naming(ValueError, ["angular attention", "reduction='none'"]):
        build_encoder(dataclasses.replace(encoder.config, reduction="tome:r=2"))
    tokens = encoder.init_state(1).sequence()
    with raises_naming(ValueError, ["no attention weights"]):
        run_block_with_attention(encoder.backbone.blocks[0], tokens)


def test_choices_that_there_are_not_are_refused():
    vit = {"embed_dim": 24, "depth": 1, "num_heads": 3}
    with raises_naming(ValueError, ["attention='sparse'", "softmax, angular"]):
        build_encoder(tiny_config(vit={**vit, "attention": "sparse"}))
    with raises_naming(ValueError, ["attention_order='size'", "grid, arrival"]):
        build_encoder(tiny_config(vit={**vit, "attention": "angular", "attention_order": "size"}))


def test_config_json_keeps_the_attention(tmp_path):
    encoder = ENCODERS["arrival"]
    read = load_encoder(save_encoder(encoder, tmp_path))
    assert read.config == encoder.config
    assert "angular" in repr(read)
    ids = ragged(3)
    torch.testing.assert_close(
        stream(read, ids, 1).belief.latent, stream(encoder, ids, 1).belief.latent
    )


@pytest.mark.parametrize("split", [1, 2])
def test_bfloat16_is_near(split):
    encoder, ids = ENCODERS["grid"], ragged(2)
    expected = stream(encoder, ids, split).belief.latent
    with torch.autocast("cpu", torch.bfloat16):
        found = stream(encoder, ids, split).belief.latent.float()
    assert torch.nn.functional.cosine_similarity(found, expected).min() > 0.99

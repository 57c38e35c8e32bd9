"""Reductions within TORE: streaming, bounded memory, what it costs, what stands for which patch."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
import torch
from helpers import random_images, take_patches, tiny_config, tiny_encoder
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import raises_naming
from torch.utils.flop_counter import FlopCounterMode

from encoders import build_encoder, create_encoder
from encoders.families.tore.build import from_dict
from encoders.layers import decoder
from encoders.layers.vit import set_fused_attention
from encoders.storage import load_encoder, save_encoder
from encoders.testing import check_encoder

DOUBLE = torch.float64
ENCODER = tiny_encoder(dtype=DOUBLE)
set_fused_attention(ENCODER, False)  # FlopCounterMode does not see the fused kernel everywhere
IMAGES = random_images(ENCODER, 4)
OUTPUTS = ("latent", "logits", "entropy", "cells", "pixels")
TEXTS = (
    "evit:keep_rate=0.6,blocks=0+1+2",
    "evit:keep_rate=0.5,blocks=0+2,fuse=false",
    "evit:keep_rate=0.4,blocks=0+1,fill=fused",
    "evit:keep_rate=0.6,blocks=1,ranking=global",
    "tome:r=1",
    "tome:r=2,proportional=false",
    "tome:r=0+3+1",
    "avit:gate_scale=2,gate_center=1",
    "avit:gate_scale=4,gate_center=0,protect_prefix=false",
)
plans = st.fixed_dictionaries(
    {
        "reduction": st.sampled_from((None, *TEXTS)),
        "reduction_in": st.sampled_from(("extractor", "aggregator", "both")),
        "max_tokens": st.sampled_from((0, 5, 8)),
    }
).map(lambda plan: plan if plan["reduction"] else {"max_tokens": plan["max_tokens"] or 6})


@st.composite
def episodes(draw, most_rows=4):
    """Patch ids `[B, T, n]` with -1 = not encoded: some repeat, some rows see nothing."""
    rows, steps, size = (
        draw(st.integers(1, most_rows)),
        draw(st.integers(1, 4)),
        draw(st.integers(1, 5)),
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    ids = np.stack([[rng.permutation(32)[:size] for _ in range(steps)] for _ in range(rows)])
    ids[rng.random(ids.shape) < draw(st.sampled_from([0.0, 0.3]))] = -1
    return torch.from_numpy(ids)


def stream(encoder, ids, split, options, rows=slice(None), outputs=OUTPUTS):
    """Every `Observed` of an episode."""
    ids, images = ids[rows], IMAGES[: len(ids)][rows].to(next(encoder.parameters()).dtype)
    state, found = encoder.init_state(len(ids)), []
    for step in range(ids.shape[1]):
        patches = take_patches(encoder, images, ids[:, step])
        found.append(encoder.observe(patches, ids[:, step], state, split, outputs, **options))
    return found, state


def same(found, expected, rows=slice(None), outputs=OUTPUTS):
    for name in outputs:
        torch.testing.assert_close(found[name][rows], expected[name], rtol=1e-8, atol=1e-8)


def same_depths(found, expected, rows=slice(None)):
    """Blocks that patches' tokens went through, of two beliefs."""
    one, other = (getattr(each.reduced, "depth", None) for each in (found, expected))
    assert (one is None) == (other is None)
    assert one is None or torch.equal(one[rows], other)


@settings(max_examples=60, deadline=None)
@given(ids=episodes(), split=st.integers(0, 3), options=plans)
@torch.no_grad()
def test_streaming_equals_one_call_with_all_glimpses(ids, split, options):
    streamed, _ = stream(ENCODER, ids, split, options)
    patches = take_patches(ENCODER, IMAGES[: len(ids)], ids)
    together = ENCODER(patches, ids, split, OUTPUTS, **options)
    same(together, streamed[-1].belief)
    same_depths(together, streamed[-1].belief)


@settings(max_examples=60, deadline=None)
@given(ids=episodes(), split=st.integers(0, 3), options=plans)
def test_a_row_alone_is_the_row_among_others_in_belief_and_cost(ids, split, options):
    together, state = stream(ENCODER, ids, split, options)
    for row in range(len(ids)):
        alone, own = stream(ENCODER, ids, split, options, [row])
        assert own.tokens.item() == state.tokens[row]
        for one, other in zip(together, alone, strict=True):
            same(one.belief, other.belief, [row])
            same_depths(one.belief, other.belief, [row])
            for name in ("spent", "without_recycling"):
                mine, its = (getattr(each.cost, name).by_part() for each in (one, other))
                assert np.array_equal(mine[:, [row]], its)
    order = list(range(len(ids)))[::-1]
    turned, _ = stream(ENCODER, ids, split, options, order)
    same(together[-1].belief, turned[-1].belief, order)


@settings(max_examples=60, deadline=None)
@given(ids=episodes(), split=st.integers(0, 3), options=plans, seed=st.integers(0, 99))
def test_padding_changes_nothing(ids, split, options, seed):
    expected, _ = stream(ENCODER, ids, split, options)
    spot = seed % (ids.shape[2] + 1)
    padded = torch.cat([ids[..., :spot], torch.full_like(ids[..., :1], -1), ids[..., spot:]], 2)
    found, _ = stream(ENCODER, padded, split, options)
    same(found[-1].belief, expected[-1].belief)


def counted(action) -> int:
    with FlopCounterMode(display=False) as counter:
        action()
    flops = counter.get_total_flops()
    assert flops % 2 == 0
    return flops // 2


@settings(max_examples=80, deadline=None)
@given(
    ids=episodes(most_rows=1),
    split=st.integers(0, 3),
    options=plans,
    outputs=st.sampled_from([("logits",), ("latent", "entropy"), OUTPUTS]),
)
def test_the_reported_cost_is_what_torch_counts(ids, split, options, outputs):
    state, cached, seen = ENCODER.init_state(1), 0, 0
    for step in range(ids.shape[1]):
        kept = ids[:, step][:, ids[0, step] >= 0]
        if not kept.numel():
            continue
        patches = take_patches(ENCODER, IMAGES[:1], kept)
        observed = []
        ran = counted(
            lambda kept=kept, patches=patches, observed=observed: observed.append(
                ENCODER.observe(patches, kept, state, split, outputs, **options)
            )
        )
        cost = observed[0].cost
        assert cost.spent.total.item() == ran
        new = kept.shape[1]
        formula = ENCODER.flops(new, cached, split, outputs, **options)
        if "avit" in (options.get("reduction") or ""):
            assert ran <= formula.total
        else:
            assert formula.by_part().tolist() == cost.spent.by_part()[:, 0].tolist()
        seen, cached = seen + new, int(state.tokens)
        anew = ENCODER.flops(seen, 0, split, outputs, **{**options, "max_tokens": 0})
        assert cost.without_recycling.total.item() == anew.total


@settings(max_examples=40, deadline=None)
@given(ids=episodes(), split=st.integers(0, 3), most=st.integers(5, 9))
def test_a_bounded_memory_knows_every_patch_it_has_seen(ids, split, most):
    observed, state = stream(ENCODER, ids, split, {"max_tokens": most})
    seen = torch.zeros(len(ids), 32, dtype=torch.bool)
    for row, flat in enumerate(ids.flatten(1)):
        seen[row, flat[flat >= 0]] = True
    assert int(state.tokens.max()) <= most
    assert torch.equal(state.source > 0, seen)
    assert bool((state.source <= state.tokens[:, None]).all())
    assert state.patches.tolist() == (ids >= 0).flatten(1).sum(1).tolist()
    if state.sizes is not None:
        for row, count in enumerate(state.tokens.tolist()):
            assert float(state.sizes[row, :count].sum()) == state.patches[row]
    entropy = observed[-1].belief.entropy.flatten(1)
    assert bool((entropy[seen] == 0).all())
    assert bool((entropy[~seen] > 0).all())


def test_memory_in_bytes_stops_growing():
    state = ENCODER.init_state(1)
    sizes = []
    for step in range(16):
        ids = torch.arange(2 * step, 2 * step + 2)[None]
        patches = take_patches(ENCODER, IMAGES[:1], ids)
        ENCODER.observe(patches, ids, state, 1, ("latent",), max_tokens=6)
        sizes.append(state.num_bytes)
    assert state.tokens.item() == 6
    assert state.capacity == 8  # the bound and one glimpse
    assert len(set(sizes[3:])) == 1
    assert sizes[-1] < ENCODER.init_state(1).num_bytes


@pytest.mark.parametrize("elements", [2**20, 300])  # maps of entropy at once, and in parts
def test_dropped_patches_are_seen_but_nothing_stands_for_them(elements, monkeypatch):
    monkeypatch.setattr(decoder, "_CACHED_ELEMENTS", elements)
    ids = torch.arange(8)[None]
    patches = take_patches(ENCODER, IMAGES[:1], ids)
    for place in ("extractor", "aggregator"):
        options = {"reduction": "evit:keep_rate=0.5,blocks=0+2,fuse=false", "reduction_in": place}
        observed = ENCODER.observe(patches, ids, ENCODER.init_state(1), 1, OUTPUTS, **options)
        source = observed.belief.reduced.source[0]
        assert (source > 0).sum() == 4
        assert (source < 0).sum() == 4
        assert (source == 0).sum() == 24
        for outputs in (OUTPUTS, ("entropy", "normalised_entropy")):
            observed = ENCODER.observe(patches, ids, ENCODER.init_state(1), 1, outputs, **options)
            assert bool((observed.belief.entropy.flatten()[:8] == 0).all())
            assert bool((observed.belief.entropy.flatten()[8:] > 0).all())


@pytest.mark.parametrize(
    "text", ["tome:r=2", "evit:keep_rate=0.5,blocks=1+2", "avit:gate_center=1"]
)
@pytest.mark.parametrize("place", ["aggregator", "both"])
def test_rows_of_different_splits_know_what_became_of_their_own_patches(text, place):
    ids = torch.arange(8).expand(4, -1)
    patches, splits = take_patches(ENCODER, IMAGES, ids), torch.tensor([0, 2, 1, 2])
    given = {"outputs": OUTPUTS, "reduction": text, "reduction_in": place}
    together = ENCODER.observe(patches, ids, ENCODER.init_state(4), splits, **given).belief.reduced
    for row, split in enumerate(splits.tolist()):
        one = slice(row, row + 1)
        state = ENCODER.init_state(1)
        alone = ENCODER.observe(patches[one], ids[one], state, split, **given).belief.reduced
        assert torch.equal(together.source[one], alone.source)
        assert (together.depth is None) == (alone.depth is None)
        assert alone.depth is None or torch.equal(together.depth[one], alone.depth)


HALTING = "avit:gate_scale=4,gate_center=0"


@settings(max_examples=40, deadline=None)
@given(ids=episodes(), split=st.integers(0, 3))
def test_the_extractor_knows_how_deep_the_newest_token_of_every_patch_went(ids, split):
    options = {"reduction": HALTING, "reduction_in": "extractor"}
    found, _ = stream(ENCODER, ids, split, options)
    expected = torch.zeros(len(ids), 32, dtype=torch.int64)
    for step in range(ids.shape[1]):
        # A glimpse alone through all blocks: the first K of them do not know what follows.
        alone, _ = stream(ENCODER, ids[:, [step]], 0, {"reduction": HALTING}, outputs=("latent",))
        depth = alone[0].belief.reduced.depth.clamp(max=split)
        seen = torch.zeros_like(expected, dtype=torch.bool)
        for row, patches in enumerate(ids[:, step]):
            seen[row, patches[patches >= 0]] = True
        expected = torch.where(seen, depth, expected)
        assert torch.equal(found[step].belief.reduced.depth, expected)
    options["reduction_in"] = "both"
    deeper = stream(ENCODER, ids, split, options)[0][-1].belief.reduced.depth - expected
    low, high = (0, 0) if split == 3 else (1, 3 - split)
    assert bool(((deeper >= low) & (deeper <= high))[expected + deeper > 0].all())


def test_depths_are_part_of_the_state():
    options = {"reduction": HALTING, "reduction_in": "extractor"}
    ids = torch.arange(24).view(2, 3, 4)
    _, state = stream(ENCODER, ids, 2, options)
    depths = state.depths.clone()
    assert 0 < int(depths[depths > 0].min()) < int(depths.max()) == 2
    assert torch.equal(pickle.loads(pickle.dumps(state)).depths, depths)
    assert torch.equal(state.select(torch.tensor([1, 0, 1])).depths, depths[[1, 0, 1]])
    assert state.num_bytes - dataclasses.replace(state, depths=None).num_bytes == 2 * 32 * 8
    fork, plain = state.fork(), ENCODER.init_state(2)
    fork.reset(torch.tensor([True, False]))
    assert torch.equal(fork.depths[1], depths[1])
    assert not fork.depths[0].any()
    assert torch.equal(state.depths, depths)
    plain.put(torch.tensor([1]), state.select(torch.tensor([0])))
    assert torch.equal(plain.depths, torch.stack([torch.zeros(32).long(), depths[0]]))
    _, whole = stream(ENCODER, ids, 2, {})
    plain.put(torch.tensor([0]), whole.select(torch.tensor([0])))  # where none halts, all K
    assert torch.equal(plain.depths[0], 2 * (whole.source[0] > 0))
    patches = take_patches(ENCODER, IMAGES[:2], ids[:, 0])
    belief = ENCODER.observe(patches, ids[:, 0], state, 2, ("latent",), **options).belief
    before = belief.reduced.depth.clone()
    state.reset(torch.tensor([True, True]))
    assert torch.equal(belief.reduced.depth, before)  # a belief is not the state's


@pytest.mark.parametrize("max_tokens", [0, 6])
def test_zero_strength_and_a_bound_not_reached_are_no_reduction_bit_for_bit(max_tokens):
    encoder = tiny_encoder()
    ids = torch.arange(6).view(1, 2, 3)
    for text in ("none", "evit:keep_rate=1.0", "tome:r=0", "avit:gate_center=1e9"):
        options = {"reduction": text, "max_tokens": max_tokens}
        for outputs in (OUTPUTS, ("latent", "logits")):
            found, _ = stream(encoder, ids, 1, options, outputs=outputs)
            plain, _ = stream(encoder, ids, 1, {}, outputs=outputs)
            for name in outputs:
                assert torch.equal(found[-1].belief[name], plain[-1].belief[name])
            assert found[-1].cost.spent.total.tolist() == plain[-1].cost.spent.total.tolist()


@pytest.mark.parametrize("split", [0, 2, 3])
def test_gradients_reach_the_weights_through_every_reduction(split):
    ids = torch.arange(24).view(2, 3, 4)
    encoder = tiny_encoder()
    patches = take_patches(encoder, random_images(encoder, 2), ids)
    for text in TEXTS:
        encoder.zero_grad()
        options = {"reduction": text, "reduction_in": "both", "max_tokens": 6}
        belief = encoder(patches, ids, split, ("logits", "pixels"), **options)
        (belief.logits.square().sum() + belief.pixels.square().sum()).backward()
        first = encoder.backbone.blocks[0].attn.qkv.weight.grad
        assert first is not None
        assert float(first.abs().sum()) > 0
        assert all(
            bool(p.grad.isfinite().all()) for p in encoder.parameters() if p.grad is not None
        )


@pytest.mark.parametrize(
    "options",
    [
        {"reduction": "tome:r=1", "max_tokens": 8},
        {"reduction": "evit:keep_rate=0.5", "reduction_in": "both"},
        {"reduction": "avit:gate_scale=2.0,gate_center=1.0"},
        {"max_tokens": 5},
    ],
    ids=str,
)
def test_an_encoder_carries_its_reduction(options, tmp_path):
    encoder = tiny_encoder()
    carrying = dataclasses.replace(encoder.config, **options)
    encoder = from_dict(carrying.to_dict())
    resolved = encoder.resolve_options({})
    assert encoder.resolve_options(resolved) == resolved
    assert {name: resolved[name] for name in options} == options
    assert load_encoder(save_encoder(encoder, tmp_path)).resolve_options({}) == resolved
    off = encoder.resolve_options({"reduction": "none", "max_tokens": 0})
    assert encoder.resolve_options(off) == off
    ids, plain = torch.arange(10).view(1, 2, 5), build_encoder(tiny_config())
    found, _ = stream(encoder, ids, off.pop("split_block"), off)
    expected, _ = stream(plain, ids, None, {})
    for name in OUTPUTS:
        assert torch.equal(found[-1].belief[name], expected[-1].belief[name])
    check_encoder(encoder)


@pytest.mark.parametrize(
    "name",
    [
        "deit_tiny_distilled_patch16_224",
        "vit_small_patch14_reg4_dinov2",
        "deit3_small_patch16_224",
        "vit_little_patch16_reg1_gap_256",
    ],
)
@pytest.mark.parametrize(
    "options",
    [
        {"reduction": "tome:r=1", "reduction_in": "both"},
        {"max_tokens": 7},
        {"reduction": "avit:gate_scale=9,gate_center=0"},
    ],
    ids=str,
)
def test_every_kind_of_model_streams_with_a_reduction(name, options):
    encoder = create_encoder(f"timm/{name}", pretrained=False, image_size=(112, 112), device="cpu")
    side = encoder.config.patch_size
    patches = torch.randn(2, 3, 4, 3, side, side, generator=torch.Generator().manual_seed(0))
    ids = torch.arange(24).view(2, 3, 4)
    ids[1, 2, 1:] = -1
    state = encoder.init_state(2)
    for step in range(3):
        streamed, state = encoder.observe(
            patches[:, step], ids[:, step], state, 4, ("latent",), **options
        )
    with torch.no_grad():
        whole = encoder(patches, ids, 4, ("latent",), **options)
    torch.testing.assert_close(streamed.latent, whole.latent, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reduction": "tome:r=17"}, ["r=17", "32 patches", "0 to 16"]),
        ({"reduction": "tome:r=1+2"}, ["2 entries", "3 blocks"]),
        ({"reduction": "evit:keep_rate=0"}, ["keep_rate=0", "more than 0"]),
        ({"reduction": "avitt"}, ["avitt", "did you mean 'avit'"]),
        (
            {"reduction": "tome:r=1", "reduction_in": "decoder"},
            ["decoder", "extractor, aggregator, both"],
        ),
        ({"reduction_in": "both"}, ["reduction_in='both'", "tome:r=4"]),
        ({"max_tokens": -1}, ["max_tokens=-1", "0 for no bound"]),
        ({"max_token": 4}, ["max_token", "'max_tokens'"]),
    ],
)
def test_options_that_cannot_be_are_refused_in_a_sentence(options, words):
    with raises_naming(ValueError, words):
        ENCODER.resolve_options(options)


def test_a_bound_below_one_glimpse_is_refused():
    ids = torch.arange(5)[None]
    with raises_naming(ValueError, ["max_tokens=4", "5 patches", "at least 5"]):
        ENCODER.observe(
            take_patches(ENCODER, IMAGES[:1], ids), ids, ENCODER.init_state(1), max_tokens=4
        )


def test_evit_needs_a_class_token():
    encoder = tiny_encoder(
        decoder=None,
        vit={
            "embed_dim": 24,
            "depth": 3,
            "num_heads": 3,
            "class_token": False,
            "global_pool": "avg",
        },
    )
    with raises_naming(ValueError, ["no class token", "tome"]):
        encoder.resolve_options({"reduction": "evit"})

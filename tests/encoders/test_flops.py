"""The ledger against PyTorch's own counter, on the modules actually called."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import random_images, take_patches, tiny_encoder
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from encoders import create_encoder
from encoders.layers.vit import set_fused_attention

OUTPUT_CHOICES = (
    ("latent",),
    ("logits",),
    ("tokens",),
    ("entropy",),
    ("cells",),
    ("pixels",),
    ("attention", "pixels"),
    ("logits", "normalised_entropy", "cells"),
)

ENCODER = tiny_encoder()
set_fused_attention(ENCODER, False)  # the only form that is counted on every build
IMAGES = random_images(ENCODER, 1)


def counted(call) -> int:
    """Multiply-accumulates of a call; PyTorch counts each as two."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() // 2


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    split=st.integers(0, ENCODER.depth),
    outputs=st.sampled_from(OUTPUT_CHOICES),
)
def test_the_ledger_equals_pytorchs_counter_at_every_step(sizes, split, outputs):
    state = ENCODER.init_state(1)
    cached = 0
    for size in sizes:
        ids = torch.arange(cached, cached + size)[None]
        patches = take_patches(ENCODER, IMAGES, ids)
        found = counted(
            lambda ids=ids, patches=patches: ENCODER.observe(patches, ids, state, split, outputs)
        )
        ledger = ENCODER.flops(size, cached, split, outputs)
        assert ledger.total == found
        parts = (ledger.extractor, ledger.aggregator, ledger.decoder, ledger.head)
        assert sum(parts) == ledger.total
        cached += size


@pytest.mark.parametrize("split", range(ENCODER.depth + 1))
def test_the_belief_before_any_glimpse_is_counted_too(split):
    for outputs in OUTPUT_CHOICES:
        found = counted(lambda outputs=outputs: ENCODER.prior(outputs, split))
        assert ENCODER.flops(0, 0, split, outputs).total == found


@pytest.mark.parametrize(
    ("name", "gigamacs"),
    [
        ("timm/vit_base_patch16_224", 17.564),
        ("timm/vit_small_patch16_224", 4.599),
        ("timm/vit_tiny_patch16_224", 1.254),
        ("timm/deit_small_distilled_patch16_224", None),
        ("timm/vit_small_patch14_reg4_dinov2", None),
    ],
)
def test_published_vision_transformers_cost_what_is_known(name, gigamacs):
    encoder = create_encoder(name, pretrained=False, device="cpu")
    # What is known counts every token in the last block, so all of them are asked for.
    outputs = ("logits", "tokens") if encoder.config.num_classes else ("tokens",)
    count = encoder.grid[0] * encoder.grid[1]
    ledger = encoder.flops(count, 0, 0, outputs).total
    if gigamacs is not None:
        assert round(ledger / 1e9, 3) == gigamacs
    set_fused_attention(encoder, False)
    images = torch.zeros(1, 3, *encoder.config.image_size)
    with torch.no_grad():
        assert counted(lambda: encoder.forward_full(images, outputs)) == ledger


@st.composite
def episodes(draw):
    """Patch ids `[B, T, n]` with -1 = not encoded, and a K for each row."""
    rows, steps, size = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    ids = rng.integers(-1, 32, (rows, steps, size))
    for row in ids:  # as the environments do: a patch is encoded when first seen
        flat = row.reshape(-1)
        _, first = np.unique(flat, return_index=True)
        flat[np.setdiff1d(np.arange(flat.size), first)] = -1
    return ids, rng.integers(0, ENCODER.depth + 1, rows)


@settings(max_examples=25, deadline=None)
@given(episode=episodes(), outputs=st.sampled_from(OUTPUT_CHOICES))
def test_the_ledger_charges_ragged_rows_what_each_costs_alone(episode, outputs):
    ids, splits = episode
    states = [ENCODER.init_state(1) for _ in ids]
    cached = np.zeros(len(ids), np.int64)
    for step in range(ids.shape[1]):
        new = (ids[:, step] >= 0).sum(axis=1)
        ledger = ENCODER.flops(new, cached, splits, outputs)
        for row, state in enumerate(states):
            if new[row] == 0:
                continue  # nothing to encode: not run
            kept = ids[row, step][ids[row, step] >= 0]
            glimpse = torch.from_numpy(kept)[None]
            patches = take_patches(ENCODER, IMAGES, glimpse)
            split = int(splits[row])
            found = counted(
                lambda glimpse=glimpse, patches=patches, state=state, split=split: ENCODER.observe(
                    patches, glimpse, state, split, outputs
                )
            )
            assert ledger.total[row] == found
        cached += new


@settings(max_examples=15, deadline=None)
@given(
    splits=st.lists(st.integers(0, ENCODER.depth), min_size=1, max_size=4),
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    outputs=st.sampled_from(OUTPUT_CHOICES),
)
def test_the_ledger_equals_pytorchs_counter_where_rows_have_split_blocks(splits, sizes, outputs):
    rows = len(splits)
    images, state, cached = IMAGES.expand(rows, -1, -1, -1), ENCODER.init_state(rows), 0
    for size in sizes:
        ids = torch.arange(cached, cached + size).expand(rows, -1)
        patches = take_patches(ENCODER, images, ids)
        found = counted(
            lambda ids=ids, patches=patches: ENCODER.observe(
                patches, ids, state, torch.tensor(splits), outputs
            )
        )
        ledger = ENCODER.flops(size, cached, np.array(splits), outputs)
        assert ledger.total.sum() == found
        cached += size


def test_rows_are_counted_one_by_one():
    new, cached = np.array([4, 2, 0, 0]), np.array([0, 8, 8, 0])
    whole = ENCODER.flops(new, cached, 2, ("logits", "cells"))
    for row in range(4):
        alone = ENCODER.flops(int(new[row]), int(cached[row]), 2, ("logits", "cells"))
        assert whole.total[row] == alone.total
        assert whole.extractor[row] == alone.extractor
    assert whole.extractor[2] == 0  # nothing new: the cache is only read


def episode_of(split, outputs):
    return sum(ENCODER.flops(4, 4 * step, split, outputs).total for step in range(6))


def test_an_episode_is_cheaper_the_more_is_recycled():
    splits = range(ENCODER.depth + 1)
    costs = [episode_of(split, ("logits", "tokens")) for split in splits]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[-1]


def test_a_last_block_that_aggregates_is_cheaper_where_no_tokens_are_asked_for():
    """As part of the extractor it has to finish every token, for all are cached."""
    costs = [episode_of(split, ("logits",)) for split in range(ENCODER.depth + 1)]
    assert costs[:-1] == sorted(costs[:-1], reverse=True)
    assert costs[-1] == episode_of(ENCODER.depth, ("logits", "tokens"))
    assert costs[-2] < episode_of(ENCODER.depth - 1, ("logits", "tokens"))

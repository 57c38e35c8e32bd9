"""Blocks run in one place: reductions between attention and MLP, sizes of tokens, what it costs."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from helpers import random_images, take_patches, tiny_encoder
from torch.utils.flop_counter import FlopCounterMode

from encoders.flops.block import BlockCost
from encoders.layers.patches import token_sources
from encoders.layers.vit import TokenSet, run_block, set_fused_attention
from encoders.reduction.base import ReductionPass

ENCODER = tiny_encoder(dtype=torch.float64)
WIDTH = ENCODER.width
BLOCK = ENCODER.backbone.vit.blocks[1]


def tokens_of(rows=3, count=9, **fields):
    generator = torch.Generator().manual_seed(5)
    values = torch.randn(rows, count, WIDTH, generator=generator, dtype=torch.float64)
    return TokenSet(values, num_prefix_tokens=1, **fields)


def keep_most_attended(count):
    """The class token and the `count` patch tokens that it attends to most, as in EViT."""

    def reduce(tokens, attended):
        votes = attended.attention.mean(1)[:, 0, 1:]
        chosen = votes.topk(count, dim=1).indices.sort(1).values
        index = torch.cat([torch.zeros_like(chosen[:, :1]), chosen + 1], 1)
        values = tokens.values.gather(1, index[..., None].expand(-1, -1, WIDTH))
        return dataclasses.replace(tokens, values=values)

    return reduce


@torch.no_grad()
def test_a_block_without_a_reduction_is_timms_own():
    tokens = tokens_of()
    after, count = run_block(BLOCK, tokens)
    assert count is None
    assert torch.equal(after.values, BLOCK(tokens.values))


@torch.no_grad()
def test_a_reduction_that_keeps_everything_changes_nothing():
    mask = torch.ones(3, 9, dtype=torch.bool)
    mask[1, 6:] = False
    tokens = tokens_of(mask=mask)
    plain, _ = run_block(BLOCK, tokens)
    kept, count = run_block(BLOCK, tokens, lambda tokens, attended: tokens)
    torch.testing.assert_close(kept.values[mask], plain.values[mask], rtol=1e-10, atol=1e-10)
    assert count is not None
    assert count.attention.tolist() == count.mlp.tolist() == [9, 6, 9]


@torch.no_grad()
@pytest.mark.parametrize("count", [1, 4, 8])
def test_a_reduction_costs_what_torch_counts(count):
    set_fused_attention(BLOCK, False)
    tokens = tokens_of(rows=1)
    with FlopCounterMode(display=False) as counter:
        after, counted = run_block(BLOCK, tokens, keep_most_attended(count))
    assert after.values.shape == (1, 1 + count, WIDTH)
    assert counted is not None
    assert (counted.attention.item(), counted.mlp.item()) == (9, 1 + count)
    cost = BlockCost.of(BLOCK)
    assert counter.get_total_flops() == 2 * cost(9, 1 + count)
    assert cost(9) == cost(9, 9)


@torch.no_grad()
def test_a_vision_transformer_runs_reductions_where_it_is_told_to():
    vit = ENCODER.backbone

    class InBlockOne(ReductionPass):
        def within(self, block):
            return keep_most_attended(4) if block == 1 else None

    after, counts = vit.run_blocks(tokens_of(), 0, 3, InBlockOne())
    assert after.values.shape[1] == 5
    seen = {
        index: (*count.attention.tolist(), *count.mlp.tolist()) for index, count in counts.items()
    }
    assert seen == {0: (9,) * 6, 1: (9,) * 3 + (5,) * 3, 2: (5,) * 6}


@torch.no_grad()
def test_a_token_of_size_two_is_attended_to_as_two_equal_tokens():
    tokens = tokens_of(count=6)
    doubled = torch.cat([tokens.values, tokens.values[:, 5:]], 1)
    sizes = torch.ones(3, 6, dtype=torch.float64)
    sizes[:, 5] = 2
    expected, _ = run_block(BLOCK, TokenSet(doubled))
    found, _ = run_block(BLOCK, dataclasses.replace(tokens, sizes=sizes))
    torch.testing.assert_close(found.values, expected.values[:, :6], rtol=1e-10, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("split", range(4))
def test_merged_tokens_stand_for_their_patches_in_belief_and_decoder(split):
    """Of two equal cached tokens one can go, if its size and source say so."""
    ids = torch.tensor([[3, 9]])
    images = random_images(ENCODER, 1)
    state = ENCODER.init_state(1)
    ENCODER.observe(take_patches(ENCODER, images, ids), ids, state, split)
    state.buffer[:, 2] = state.buffer[:, 1]  # as if both patches were alike at depth K
    merged = state.fork()
    merged.hold_sizes()[:, 0] = 2
    merged.token_counts -= 1
    merged.source[:, 9] = 1
    nothing = torch.full((1, 1), -1)
    blank = torch.zeros(1, 1, 3, 8, 8, dtype=torch.float64)
    outputs = ("latent", "logits", "pixels", "entropy")
    expected, _ = ENCODER.observe(blank, nothing, state, split, outputs)
    found, _ = ENCODER.observe(blank, nothing, merged, split, outputs)
    for name in outputs:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-9)
    assert merged.tokens.tolist() == [1]
    copies = merged.select(torch.tensor([0, 0]))
    assert copies.sizes is not None
    assert copies.sizes[:, 0].tolist() == [2, 2]
    copies.reset(torch.tensor([True, False]))
    assert copies.sizes[:, 0].tolist() == [1, 2]
    copies.put(torch.tensor([1]), ENCODER.init_state(1))
    assert copies.sizes[:, 0].tolist() == [1, 1]


def test_sources_name_the_last_token_of_a_patch_and_ignore_padding():
    source = token_sources(torch.tensor([[2, -1, 0, 2], [-1, -1, 1, -1]]), 4)
    assert source.tolist() == [[3, 0, 4, 0], [0, 3, 0, 0]]

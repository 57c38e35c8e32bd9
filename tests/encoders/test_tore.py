"""What token recycling promises, on random weights and random glimpses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from helpers import ALL_OUTPUTS, random_images, take_patches, tiny_encoder
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models.vision_transformer import VisionTransformer

from encoders import Belief
from encoders.layers.patches import token_sources
from encoders.training.glimpses import random_glimpses

ENCODER = tiny_encoder(dtype=torch.float64)
IMAGES = random_images(ENCODER, 3)
DEPTH = ENCODER.depth
TIMM = VisionTransformer(
    img_size=ENCODER.config.image_size,
    patch_size=ENCODER.config.patch_size,
    num_classes=ENCODER.config.num_classes,
    **ENCODER.config.vit,
).double()
TIMM.load_state_dict(ENCODER.backbone.vit.state_dict())
TIMM.eval()


def assert_same(left: Belief, right: Belief, tolerance: float = 1e-9) -> None:
    for field in dataclasses.fields(Belief):
        one, other = getattr(left, field.name), getattr(right, field.name)
        assert (one is None) == (other is None), field.name
        if one is not None:
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def stream(encoder, images, patch_ids, split_block, outputs=ALL_OUTPUTS, state=None):
    state = encoder.init_state(len(images), capacity=2) if state is None else state
    patches = take_patches(encoder, images, patch_ids)
    for step in range(patch_ids.shape[1]):
        belief, state = encoder.observe(
            patches[:, step], patch_ids[:, step], state, split_block, outputs
        )
    return belief, state


@st.composite
def glimpse_sets(draw, rows: int = 3, most: int = 4):
    """Ragged glimpses: random patches, some padding anywhere, some glimpses empty, duplicates."""
    count = draw(st.integers(1, most))
    size = draw(st.integers(1, 5))
    seed = draw(st.integers(0, 2**16))
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 32, (rows, count, size), generator=generator)
    if draw(st.booleans()):
        ids[torch.rand(ids.shape, generator=generator) < 0.4] = -1
    if draw(st.booleans()):
        ids[0, draw(st.integers(0, count - 1))] = -1
    return ids


def without_repeats(ids: torch.Tensor) -> torch.Tensor:
    """Drops repeated patches within and between glimpses of a row."""
    result = ids.clone()
    for row in result:
        seen: set[int] = set()
        for index, value in enumerate(row.flatten().tolist()):
            if value in seen:
                row.view(-1)[index] = -1
            seen.add(value)
    return result


@settings(max_examples=40, deadline=None)
@given(ids=glimpse_sets(), split=st.integers(0, DEPTH))
def test_streaming_equals_one_call_with_all_glimpses(ids, split):
    streamed, _ = stream(ENCODER, IMAGES, ids, split)
    whole = ENCODER(take_patches(ENCODER, IMAGES, ids), ids, split, ALL_OUTPUTS)
    assert_same(streamed, whole)


@settings(max_examples=25, deadline=None)
@given(ids=glimpse_sets(), split=st.integers(0, DEPTH))
def test_each_row_is_computed_as_if_it_were_alone(ids, split):
    together, _ = stream(ENCODER, IMAGES, ids, split)
    for row in range(len(IMAGES)):
        one = slice(row, row + 1)
        alone, _ = stream(ENCODER, IMAGES[one], ids[one], split)
        for field in dataclasses.fields(Belief):
            if getattr(alone, field.name) is not None:
                torch.testing.assert_close(
                    getattr(together, field.name)[one],
                    getattr(alone, field.name),
                    rtol=1e-9,
                    atol=1e-9,
                )


@settings(max_examples=25, deadline=None)
@given(ids=glimpse_sets(), split=st.integers(0, DEPTH), seed=st.integers(0, 99))
def test_padding_changes_nothing_wherever_it_stands(ids, split, seed):
    expected, _ = stream(ENCODER, IMAGES, ids, split)
    rng = np.random.default_rng(seed)
    width = ids.shape[2] + 2
    padded = torch.full((*ids.shape[:2], width), -1)
    for index in np.ndindex(*ids.shape[:2]):
        places = np.sort(rng.permutation(width)[: ids.shape[2]])
        padded[index][torch.from_numpy(places)] = ids[index]
    found, _ = stream(ENCODER, IMAGES, padded, split)
    assert_same(found, expected)


@settings(max_examples=25, deadline=None)
@given(ids=glimpse_sets(rows=1))
def test_without_a_split_the_belief_is_timms_forward_over_the_kept_patches(ids):
    ids = without_repeats(ids)
    belief, _ = stream(ENCODER, IMAGES[:1], ids, 0, ("latent", "logits"))
    vit = TIMM
    kept = ids[ids >= 0]
    tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed(IMAGES[:1])))
    tokens = torch.cat([tokens[:, :1], tokens[:, 1 + kept]], dim=1)
    expected = vit.norm(vit.blocks(tokens))
    torch.testing.assert_close(belief.latent, expected[:, 0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(belief.logits, vit.forward_head(expected), rtol=1e-9, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(ids=glimpse_sets(), seed=st.integers(0, 99))
def test_with_everything_in_the_extractor_the_order_of_glimpses_does_not_matter(ids, seed):
    order = torch.from_numpy(np.random.default_rng(seed).permutation(ids.shape[1]))
    ids = without_repeats(ids)
    outputs = ("latent", "logits", "cells", "pixels")
    assert_same(
        stream(ENCODER, IMAGES, ids, DEPTH, outputs)[0],
        stream(ENCODER, IMAGES, ids[:, order], DEPTH, outputs)[0],
    )


@settings(max_examples=25, deadline=None)
@given(
    ids=glimpse_sets(),
    more=glimpse_sets(),
    split=st.integers(0, DEPTH),
)
def test_a_fork_leaves_its_parent_alone(ids, more, split):
    _, state = stream(ENCODER, IMAGES, ids, split)
    fork = state.fork()
    stream(ENCODER, IMAGES, more, split, state=fork)
    expected, _ = stream(ENCODER, IMAGES, ids, split)
    nothing = torch.full((3, 1, 1), -1)
    found, _ = stream(ENCODER, IMAGES, nothing, split, state=state)
    assert_same(found, expected)


@settings(max_examples=20, deadline=None)
@given(
    ids=glimpse_sets(),
    more=glimpse_sets(),
    split=st.integers(0, DEPTH),
    rows=st.lists(st.integers(0, 2), min_size=1, max_size=5),
)
def test_selected_rows_go_on_as_they_would_have(ids, more, split, rows):
    _, state = stream(ENCODER, IMAGES, ids, split)
    chosen = torch.tensor(rows)
    selected = state.select(chosen)
    found, _ = stream(ENCODER, IMAGES[chosen], more[chosen], split, state=selected)
    expected, _ = stream(ENCODER, IMAGES, more, split, state=state)
    torch.testing.assert_close(found.logits, expected.logits[chosen], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.entropy, expected.entropy[chosen], rtol=1e-9, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(ids=glimpse_sets(), more=glimpse_sets(), split=st.integers(0, DEPTH))
def test_resetting_a_row_leaves_its_neighbours_alone(ids, more, split):
    _, state = stream(ENCODER, IMAGES, ids, split)
    untouched = state.fork()
    state.reset(torch.tensor([False, True, False]))
    found, _ = stream(ENCODER, IMAGES, more, split, state=state)
    neighbours, _ = stream(ENCODER, IMAGES, more, split, state=untouched)
    fresh, _ = stream(ENCODER, IMAGES, more, split)
    torch.testing.assert_close(found.logits[[0, 2]], neighbours.logits[[0, 2]])
    torch.testing.assert_close(found.logits[1], fresh.logits[1])


@settings(max_examples=20, deadline=None)
@given(
    ids=glimpse_sets(),
    splits=st.lists(st.integers(0, DEPTH), min_size=3, max_size=3),
)
def test_rows_may_have_split_blocks_of_their_own(ids, splits):
    found, _ = stream(ENCODER, IMAGES, ids, torch.tensor(splits))
    for row, split in enumerate(splits):
        expected, _ = stream(ENCODER, IMAGES, ids, split)
        torch.testing.assert_close(found.logits[row], expected.logits[row], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(found.cells[row], expected.cells[row], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("split", range(DEPTH + 1))
def test_the_prior_is_the_belief_of_an_empty_glimpse(split):
    nothing, _ = stream(ENCODER, IMAGES, torch.full((3, 1, 4), -1), split)
    prior = ENCODER.prior(ALL_OUTPUTS, split_block=split)
    torch.testing.assert_close(nothing.logits, prior.logits.expand(3, -1))
    torch.testing.assert_close(nothing.entropy, prior.entropy.expand(3, -1, -1))


@pytest.mark.parametrize("split", range(DEPTH + 1))
def test_of_a_patch_seen_twice_the_decoder_takes_the_last_token(split):
    once = torch.tensor([[[3, 4]]])
    twice = torch.tensor([[[3, 4], [4, 9]]])
    other = random_images(ENCODER, 1, seed=7)
    patches = torch.cat(
        [take_patches(ENCODER, other, once), take_patches(ENCODER, IMAGES[:1], twice[:, 1:])], 1
    )
    belief = ENCODER(patches, twice, split, ("tokens", "pixels"))
    source = token_sources(twice.flatten(1), ENCODER.grid[0] * ENCODER.grid[1])
    embedded = ENCODER.decoder._fill_grid(ENCODER.decoder.embed(belief.tokens), source)
    torch.testing.assert_close(embedded[:, 1 + 4], ENCODER.decoder.embed(belief.tokens[:, 3]))


def test_dividing_an_image_equals_looking_at_its_parts_in_turn():
    rng = np.random.default_rng(0)
    parts = torch.from_numpy(rng.integers(-1, 4, size=ENCODER.grid))
    steps = [(parts.flatten() == label).nonzero()[:, 0] for label in range(4)]
    longest = max(map(len, steps))
    ids = torch.stack(
        [torch.nn.functional.pad(step, (0, longest - len(step)), value=-1) for step in steps]
    ).expand(3, -1, -1)
    for split in range(DEPTH + 1):
        divided = ENCODER.forward_divided(IMAGES, parts, split, ALL_OUTPUTS)
        assert_same(divided, stream(ENCODER, IMAGES, ids, split)[0])


def test_gradients_reach_every_parameter():
    encoder = tiny_encoder()
    ids = torch.from_numpy(random_glimpses(np.random.default_rng(0), 2, 3, encoder.grid, 2))
    patches = take_patches(encoder, random_images(encoder, 2), ids)
    belief = encoder(patches, ids, 1, ("logits", "pixels"))
    (belief.logits.square().sum() + belief.pixels.square().sum()).backward()
    without = [name for name, value in encoder.named_parameters() if value.grad is None]
    assert without == []


def test_the_memory_of_a_cache_is_its_closed_form():
    for batch, capacity in ((1, 4), (7, 32)):
        state = ENCODER.init_state(batch, capacity)
        row = (1 + capacity) * ENCODER.width * 8 + 8 * ENCODER.grid[0] * ENCODER.grid[1] + 24
        assert state.num_bytes == batch * row


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_ids": torch.full((3, 4), 32)}, "expected 0..31"),
        ({"patch_ids": torch.full((3, 4), -2)}, "-1 for padding"),
        ({"patch_ids": torch.zeros(2, 4, dtype=torch.int64)}, "rows of the state"),
        ({"patches": torch.zeros(3, 4, 3, 16, 16)}, r"\[B, n, 3, 8, 8\]"),
        ({"split_block": 4}, r"split_block 4 is outside \[0, 3\]"),
        ({"outputs": ("logit",)}, "unknown outputs"),
    ],
)
def test_a_glimpse_that_does_not_fit_is_refused(change, message):
    encoder = tiny_encoder()
    arguments = {
        "patches": torch.zeros(3, 4, 3, 8, 8),
        "patch_ids": torch.zeros(3, 4, dtype=torch.int64),
        "state": encoder.init_state(3),
        "split_block": 1,
        "outputs": ("logits",),
        **change,
    }
    with pytest.raises(ValueError, match=message):
        encoder.observe(**arguments)


def test_tokens_of_two_split_blocks_are_never_mixed():
    encoder = tiny_encoder()
    images, ids = random_images(encoder, 3), torch.arange(4).expand(3, 1, 4)
    _, state = stream(encoder, images, ids, 1, ("logits",))
    with pytest.raises(ValueError, match="row 0 holds tokens of split_block 1"):
        stream(encoder, images, ids + 4, 2, ("logits",), state=state)
    state.reset(torch.arange(3))
    stream(encoder, images, ids, 2, ("logits",), state=state)


def test_decoder_outputs_need_a_decoder():
    encoder = tiny_encoder(decoder=None)
    with pytest.raises(ValueError, match="need a decoder"):
        encoder.prior(("entropy",))

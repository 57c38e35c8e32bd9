"""What all canvas families promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from canvases import BODIES, RECYCLING, tiny_canvas
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import CLASS_NAMES, MemoryScenes, tiny_vector_env

from encoders import create_encoder, part_hashes
from encoders.families.canvas.model import CanvasEncoder
from encoders.testing import check_encoder

OUTPUTS = ("latent", "logits", "cells", "pixels")
PATCHES = 24  # 4 rows of 6


@pytest.mark.parametrize("name", BODIES)
def test_a_canvas_encoder_keeps_the_laws(name):
    check_encoder(tiny_canvas(name))


@pytest.mark.parametrize("name", RECYCLING)
def test_a_canvas_encoder_that_recycles_keeps_the_laws(name):
    check_encoder(tiny_canvas(name, unseen="zero"), options={"recycle": True})


@pytest.mark.parametrize("name", ["convmixer", "alternet", "riformer"])
def test_a_family_is_known_by_its_name(name):
    encoder = create_encoder(name, device="cpu", class_names=CLASS_NAMES)
    assert encoder.family == name
    assert encoder.outputs == OUTPUTS
    count = sum(parameter.numel() for parameter in encoder.parameters())
    nano = sum(each.numel() for each in create_encoder("tore-nano", device="cpu").parameters())
    assert abs(count / nano - 1) < 0.15
    again = create_encoder(name, device="cpu", class_names=CLASS_NAMES)
    assert part_hashes(encoder) == part_hashes(again)


def glimpses(encoder: CanvasEncoder, ids: list[list[int]], seed: int):
    """One glimpse per row, with pixels that depend on the seed."""
    longest = max(1, *map(len, ids))
    numbers = torch.full((len(ids), longest), -1)
    for row, chosen in enumerate(ids):
        numbers[row, : len(chosen)] = torch.tensor(chosen, dtype=torch.int64)
    side = encoder.config.patch_size
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(ids), longest, 3, side, side, generator=generator), numbers


windows = st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 2), st.integers(0, 2)).map(
    lambda box: [
        6 * y + x
        for y in range(box[0], min(4, box[0] + box[2]))
        for x in range(box[1], min(6, box[1] + box[3]))
    ]
)
anywhere = st.lists(st.integers(0, PATCHES - 1), max_size=3, unique=True)
steps = st.lists(st.lists(windows | anywhere, min_size=3, max_size=3), min_size=1, max_size=5)


@pytest.mark.parametrize("name", RECYCLING)
@settings(max_examples=15, deadline=None)
@given(steps, st.integers(0, 4), st.integers(0, 2))
def test_repaired_maps_are_those_of_the_whole_canvas(name, ids, when, row):
    """Whatever was seen, in whatever order, also where a patch changes and a row begins anew."""
    encoder = tiny_canvas(name, seed=len(ids))
    recycled, anew = encoder.init_state(3), encoder.init_state(3)
    for step, chosen in enumerate(ids):
        if step == when:
            for state in (recycled, anew):
                state.reset(torch.tensor([row]))
        patches, numbers = glimpses(encoder, chosen, step)
        one = encoder.observe(patches, numbers, recycled, OUTPUTS, recycle=True)
        other = encoder.observe(patches, numbers, anew, OUTPUTS)
        for output in OUTPUTS:
            torch.testing.assert_close(
                one.belief[output], other.belief[output], rtol=1e-5, atol=1e-5
            )
        spent, whole = one.cost.spent, other.cost.spent
        assert (spent.total <= whole.total).all()
        np.testing.assert_array_equal(one.cost.without_recycling.by_part(), whole.by_part())


@pytest.mark.parametrize("name", RECYCLING)
def test_only_what_a_glimpse_reaches_is_written(name):
    encoder = tiny_canvas(name)
    state = encoder.init_state(2)
    encoder.observe(*glimpses(encoder, [[0, 1], [9]], 0), state, recycle=True)
    for each in state.maps:
        each.fill_(float("nan"))
    patches, numbers = glimpses(encoder, [[], []], 1)
    observed = encoder.observe(patches, numbers, state, recycle=True)
    assert observed.cost.spent.extractor.tolist() == [0, 0]
    assert observed.cost.spent.aggregator.tolist() == [0, 0]
    assert all(bool(each.isnan().all()) for each in state.maps)


@pytest.mark.parametrize("name", BODIES)
def test_cells_that_were_not_seen_have_no_influence(name):
    encoder = tiny_canvas(name)
    for options in ({}, {"recycle": True}) if name in RECYCLING else ({},):
        clean, soiled = encoder.init_state(2), encoder.init_state(2)
        soiled.cells.fill_(1e3)
        for step, ids in enumerate(([[3], [17, 18]], [[9, 10], []])):
            glimpse = glimpses(encoder, ids, step)
            expected = encoder.observe(*glimpse, clean, OUTPUTS, **options).belief
            belief = encoder.observe(*glimpse, soiled, OUTPUTS, **options).belief
            for output in OUTPUTS:
                assert torch.equal(belief[output], expected[output])


def test_of_one_patch_named_twice_the_last_counts():
    encoder = tiny_canvas("convmixer")
    patches, numbers = glimpses(encoder, [[4, 7, 4]], 0)
    state, last = encoder.init_state(1), encoder.init_state(1)
    belief = encoder.observe(patches, numbers, state).belief
    expected = encoder.observe(patches[:, 1:], numbers[:, 1:], last).belief
    assert torch.equal(belief["latent"], expected["latent"])
    assert state.tokens.tolist() == [2]


def test_recycling_may_be_switched_on_and_off_and_states_mixed():
    encoder = tiny_canvas("convmixer")
    whole = encoder.init_state(3)
    mixed = encoder.init_state(3)
    for step, recycle in enumerate((True, False, True, True)):
        glimpse = glimpses(encoder, [[step], [5 + step], [12, 13 + step]], step)
        expected = encoder.observe(*glimpse, whole, OUTPUTS).belief
        part = mixed.select(torch.tensor([2, 0]))
        first = encoder.observe(
            glimpse[0][[2, 0]], glimpse[1][[2, 0]], part, OUTPUTS, recycle=recycle
        )
        mixed.put(torch.tensor([2, 0]), part)
        rest = mixed.select(torch.tensor([1]))
        encoder.observe(glimpse[0][[1]], glimpse[1][[1]], rest, OUTPUTS, recycle=not recycle)
        mixed.put(torch.tensor([1]), rest)
        torch.testing.assert_close(first.belief["pixels"], expected["pixels"][[2, 0]])
    nothing = glimpses(encoder, [[], [], []], 0)
    belief = encoder.observe(*nothing, mixed, OUTPUTS, recycle=True).belief
    torch.testing.assert_close(belief["pixels"], expected["pixels"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tiny_canvas("riformer").resolve_options({"recycle": True}), "whole canvas"),
        (lambda: tiny_canvas("riformer", recycle=True), "norm=channel"),
        (lambda: tiny_canvas("convmixer").resolve_options({"recycle": 2}), "True or False"),
        (lambda: tiny_canvas("convmixer").resolve_options({"split_block": 2}), "has 'recycle'"),
        (lambda: tiny_canvas("convmixer", body={"kernel_size": 4}), "expected an odd number"),
        (lambda: tiny_canvas("convmixer", body={"widht": 4}), "did you mean 'width'"),
        (lambda: tiny_canvas("alternet", body={"window": 3}), "multiples of 3"),
        (lambda: tiny_canvas("alternet", body={"attentions": [1, 1, 1]}), "at most 0"),
        (lambda: tiny_canvas("alternet", body={"attentions": [1]}), "one entry for every stage"),
        (lambda: tiny_canvas("convmixer", decoder_width=0).prior(("cells",)), "no outputs"),
        (lambda: tiny_canvas("riformer-patches").resized((64, 112)), "multiples of 2"),
    ],
)
def test_what_cannot_be_is_a_sentence(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_memory_is_what_a_state_says():
    encoder = tiny_canvas("convmixer")
    state = encoder.init_state(2)
    before = state.num_bytes
    assert before == 2 * (PATCHES * (3 * 16 * 16 * 4 + 1) + 8 + 1)
    encoder.observe(*glimpses(encoder, [[0], [1]], 0), state, recycle=True)
    assert state.num_bytes == before + 2 * 4 * (12 * PATCHES * 4)
    assert "2 rows" in repr(state)


@pytest.mark.parametrize("options", [{}, {"recycle": True}])
def test_an_environment_takes_it_and_leaks_nothing(options):
    encoder = tiny_canvas("alternet", num_classes=len(CLASS_NAMES), class_names=CLASS_NAMES)
    scenes = MemoryScenes()
    scene_ids = {"scene_id": np.arange(3)}
    parts = {"observe": ("latent", "logits", "cells", "reconstruction")}
    env = tiny_vector_env(3, encoder=encoder, scenes=scenes, encoder_options=options, **parts)
    env.reset(seed=0, options=scene_ids)
    actions = np.array([[0, 7, 14], [8, 1, 3], [5, 5, 9]])
    seen = [env.step(chosen) for chosen in actions]
    hidden = MemoryScenes()
    for image in hidden.images:
        image[:] = 255 - image
    other = tiny_vector_env(3, encoder=encoder, scenes=hidden, encoder_options=options, **parts)
    other.reset(seed=0, options=scene_ids)
    blank = np.ones((3, 4, 6), bool)
    for chosen, (observation, _, _, _, info) in zip(actions, seen, strict=True):
        changed = other.step(chosen)[0]
        blank &= ~observation["visited"].astype(bool)
        assert not np.allclose(changed["latent"], observation["latent"])
        assert (info["flops"] <= info["flops_without_recycling"]).all()
        assert (info["tokens"] == observation["visited"].reshape(3, -1).sum(1)).all()
    for row, scene in enumerate(seen[-1][4]["scene_id"]):
        shown = scenes.images[scene].copy()
        for y, x in np.argwhere(blank[row]):
            shown[16 * y : 16 * y + 16, 16 * x : 16 * x + 16] ^= 255
        hidden.images[scene] = shown
    other.reset(seed=0, options=scene_ids)
    for chosen, (observation, *_) in zip(actions, seen, strict=True):
        again = other.step(chosen)[0]
        for key in ("glimpse", "latent", "logits", "cells", "reconstruction"):
            assert np.array_equal(again[key], observation[key]), key

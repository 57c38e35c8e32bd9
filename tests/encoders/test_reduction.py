"""Laws of token reductions: what they leave alone, and what rows have to do with each other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from helpers import random_images, tiny_encoder
from hypothesis import given, settings
from hypothesis import strategies as st
from reduced_vit import embed, run_reduced
from tiny import raises_naming

from encoders import create_encoder
from encoders.layers.vit import TokenSet, run_block
from encoders.reduction.config import Avit, Evit, Reduction, Tome, parse_reduction
from encoders.reduction.memory import merge_down_to
from encoders.reduction.passes import make_pass

DOUBLE = torch.float64
ENCODER = tiny_encoder(dtype=DOUBLE)
VIT, DEPTH = ENCODER.backbone, ENCODER.depth
IMAGES = random_images(ENCODER, 3)

NOTHING = (
    Reduction(),
    Evit(keep_rate=1.0),
    Evit(tokens=(None, None, None)),
    Tome(r=0),
    Tome(r=(0, 0, 0)),
    Avit(gate_center=1e9),
    Avit(gate_center=1e9, protect_prefix=False),
)
STRONG = (
    Evit(keep_rate=0.6, blocks=(0, 1, 2)),
    Evit(keep_rate=0.6, blocks=(0, 2), fuse=False),
    Evit(keep_rate=0.5, blocks=(1, 2), fill="fused"),
    Evit(keep_rate=0.5, blocks=(1, 2), ranking="global"),
    Evit(tokens=(5, None, 2)),
    Tome(r=2),
    Tome(r=3, inflection=-1, proportional=False),
    Tome(r=(0, 9, 1)),
    Avit(gate_scale=2, gate_center=1),
    Avit(gate_scale=4, gate_center=1, protect_prefix=False),
)
reductions = st.sampled_from(STRONG)


@pytest.mark.parametrize("reduction", NOTHING, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE], ids=str)
def test_strength_zero_is_no_reduction_bit_for_bit(reduction, dtype):
    encoder = tiny_encoder(dtype=dtype)
    images = random_images(encoder, 2)
    plain = encoder.forward_full(images, ("logits", "tokens"))
    found = run_reduced(encoder, images, reduction)
    assert torch.equal(found.logits, plain.logits)
    assert torch.equal(found.normalised, plain.tokens)
    assert found.tokens.sizes is None


@pytest.mark.parametrize(
    "name",
    [
        "deit3_small_patch16_224",
        "vit_little_patch16_reg1_gap_256",
        "deit_tiny_distilled_patch16_224",
    ],
)
def test_attention_written_out_is_that_of_any_timm_model(name):
    """LayerScale, query and key norms, registers, distillation."""
    encoder = create_encoder(f"timm/{name}", pretrained=False, image_size=(64, 64), device="cpu")
    encoder.to(DOUBLE)
    for number, parameter in enumerate(encoder.parameters()):
        noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
        parameter.data += 0.05 * noise
    images = random_images(encoder, 2)
    tokens = embed(encoder, images)
    for block in encoder.backbone.blocks:
        written_out, _ = run_block(block, tokens, lambda tokens, attended: tokens)
        tokens = tokens.with_values(block(tokens.values))
        torch.testing.assert_close(written_out.values, tokens.values, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "name",
    [
        "vit_little_patch16_reg1_gap_256",
        "vit_small_patch14_reg4_dinov2",
        "deit_tiny_distilled_patch16_224",
    ],
)
@pytest.mark.parametrize("reduction", [Tome(r=3), Avit(gate_scale=99, gate_center=0)], ids=str)
def test_prefix_tokens_stay(name, reduction):
    """Merging the patches leaves every prefix token what its own block made of it."""
    encoder = create_encoder(f"timm/{name}", pretrained=False, image_size=(112, 112), device="cpu")
    vit = encoder.backbone
    first = vit.num_prefix_tokens
    tokens = embed(encoder, random_images(encoder, 2))
    with torch.no_grad():
        plain, _ = vit.run_blocks(tokens, 0, 1)
        run = make_pass(reduction, vit.depth, 0, 2)
        tokens = run.begin(tokens)
        reduced, _ = run.run(vit.blocks[0], 0, tokens)
        reduced = run.after(0, reduced)
    assert reduced.num_prefix_tokens == first
    assert reduced.values.shape[1] < plain.values.shape[1]
    torch.testing.assert_close(reduced.values[:, :first], plain.values[:, :first])
    if reduced.sizes is not None:
        assert bool((reduced.sizes[:, :first] == 1).all())


@st.composite
def padded(draw):
    """Tokens with padding anywhere behind the prefix, and the same without it, row by row."""
    rows, count = draw(st.integers(1, 4)), draw(st.integers(1, 14))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    valid = torch.from_numpy(rng.random((rows, count)) < draw(st.sampled_from([0.4, 0.8, 1.0])))
    valid[:, 0] |= ~valid.any(1)
    values = torch.from_numpy(rng.normal(size=(rows, 1 + count, ENCODER.width)))
    ids = torch.from_numpy(np.stack([rng.permutation(32)[:count] for _ in range(rows)]))
    source = torch.zeros(rows, 32, dtype=torch.int64)
    places = torch.arange(1, count + 1).expand(rows, -1)
    source.scatter_(1, ids, torch.where(valid, places, 0))
    sizes = None
    if draw(st.booleans()):
        sizes = torch.from_numpy(rng.integers(1, 4, (rows, 1 + count))).double()
        sizes[:, 0] = 1
    mask = torch.cat([torch.ones(rows, 1, dtype=torch.bool), valid], 1)
    tokens = TokenSet(values, mask, sizes, source, 1)
    alone = []
    for row in range(rows):
        kept = mask[row].nonzero()[:, 0]
        moved = torch.zeros(1 + count, dtype=torch.int64)
        moved[kept] = torch.arange(len(kept))
        alone.append(
            TokenSet(
                values[row, kept][None],
                None,
                None if sizes is None else sizes[row, kept][None],
                torch.where(source[row] > 0, moved[source[row]], 0)[None],
                1,
            )
        )
    return tokens, alone


def patch_values(tokens: TokenSet, row: int) -> torch.Tensor:
    """What stands for each patch of the grid: values, or NaN where nothing does."""
    source = tokens.source[row]
    found = tokens.values[row, source.clamp(min=0) + tokens.num_prefix_tokens - 1]
    return torch.where((source > 0)[:, None], found, torch.nan)


@settings(max_examples=60, deadline=None)
@given(sets=padded(), reduction=reductions)
@torch.no_grad()
def test_a_row_alone_is_the_row_among_others_and_padding_changes_nothing(sets, reduction):
    tokens, alone = sets
    together, counts = VIT.run_blocks(
        tokens.without_padding(), 0, DEPTH, make_pass(reduction, DEPTH, 0, DEPTH)
    )
    for row, single in enumerate(alone):
        expected, own = VIT.run_blocks(single, 0, DEPTH, make_pass(reduction, DEPTH, 0, DEPTH))
        for block, count in own.items():
            assert counts[block].attention[row] == count.attention[0]
            assert counts[block].mlp[row] == count.mlp[0]
        close = {"rtol": 1e-9, "atol": 1e-9, "equal_nan": True}
        torch.testing.assert_close(together.values[row, :1], expected.values[0, :1], **close)
        assert torch.equal(together.source[row] > 0, expected.source[0] > 0)
        torch.testing.assert_close(patch_values(together, row), patch_values(expected, 0), **close)


@settings(max_examples=60, deadline=None)
@given(sets=padded(), reduction=reductions)
@torch.no_grad()
def test_counts_are_those_of_the_formula_and_sizes_and_sources_agree(sets, reduction):
    _, alone = sets
    for single in alone:
        run = make_pass(reduction, DEPTH, 0, DEPTH)
        found, counts = VIT.run_blocks(single, 0, DEPTH, run)
        patches = np.array([single.values.shape[1] - 1])
        for block, count in counts.items():
            after = reduction.patches_after(patches, block, DEPTH)
            if reduction.depends_on_data:
                assert count.mlp.item() - 1 <= after[0]
                continue
            assert count.attention.item() - 1 == patches[0]
            assert count.mlp.item() - 1 == after[0]
            patches = after
        stands = found.source[found.source > 0]
        assert stands.numel() == 0 or int(stands.max()) <= found.values.shape[1] - 1
        assert torch.equal(found.source == 0, single.source == 0)
        if isinstance(reduction, Tome):
            before = single.values.shape[1] if single.sizes is None else single.sizes.sum()
            if found.sizes is not None:
                assert float(found.sizes.sum()) == pytest.approx(float(before))
            assert bool((found.source >= 0).all())  # merged, never dropped
            assert set(stands.tolist()) <= set(range(1, found.values.shape[1]))


@settings(max_examples=40, deadline=None)
@given(sets=padded(), most=st.integers(1, 8))
def test_memory_is_bounded_row_by_row(sets, most):
    tokens, alone = sets
    tokens = tokens.without_padding()
    merged = merge_down_to(tokens, most)
    for row, single in enumerate(alone):
        expected = merge_down_to(single, most)
        count = single.values.shape[1] - 1
        assert expected.values.shape[1] - 1 == min(count, most)
        if count <= most:
            assert expected is single
        length = int(merged.lengths[row])
        assert length == expected.values.shape[1]
        torch.testing.assert_close(merged.values[row, :length], expected.values[0])
        assert torch.equal(merged.source[row], expected.source[0])
        sizes = torch.ones(1, 1 + count) if single.sizes is None else single.sizes
        if expected.sizes is not None:
            assert float(expected.sizes.sum()) == pytest.approx(float(sizes.sum()))
            weighted = (expected.values * expected.sizes[..., None]).sum(1)
            before = (single.values * sizes[..., None].double()).sum(1)
            torch.testing.assert_close(weighted, before)  # size-weighted means keep the sum
        assert torch.equal(expected.values[:, :1], single.values[:, :1])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), count=st.integers(2, 12), most=st.integers(1, 6))
def test_memory_merges_the_most_similar_pair_first(seed, count, most):
    """Against NumPy, pair after pair, with every cosine computed anew."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, 5))
    tokens = [(values[each], 1.0, {each}) for each in range(count)]
    while len(tokens) > most:
        stack = np.stack([value for value, _, _ in tokens])
        unit = stack / np.linalg.norm(stack, axis=1, keepdims=True)
        steps = np.round(unit @ unit.T / (8 * np.finfo(float).eps))  # rounding errors tie
        cosine = np.tril(steps, -1) + np.triu(np.full((len(tokens),) * 2, -np.inf))
        later, earlier = np.unravel_index(cosine.argmax(), cosine.shape)
        (one, size, members), (two, other, more) = tokens[earlier], tokens.pop(later)
        mean = (size * one + other * two) / (size + other)
        tokens[earlier] = (mean, size + other, members | more)
    source = torch.arange(1, count + 1)[None]
    found = merge_down_to(TokenSet(torch.from_numpy(values)[None], source=source), most)
    assert found.values.shape[1] == len(tokens)
    for number, (value, size, members) in enumerate(tokens):
        np.testing.assert_allclose(found.values[0, number], value)
        assert set((found.source[0] == number + 1).nonzero()[:, 0].tolist()) == members
        if found.sizes is not None:
            assert found.sizes[0, number] == size


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    reduction=st.sampled_from([each for each in STRONG if each.name != "tome"]),
)
@torch.no_grad()
def test_the_order_of_tokens_matters_to_none_but_tome(seed, reduction):
    tokens = embed(ENCODER, IMAGES)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(32)) + 1
    turned = dataclasses.replace(
        tokens, values=torch.cat([tokens.values[:, :1], tokens.values[:, order]], 1), source=None
    )
    one, _ = VIT.run_blocks(tokens, 0, DEPTH, make_pass(reduction, DEPTH, 0, DEPTH))
    two, _ = VIT.run_blocks(turned, 0, DEPTH, make_pass(reduction, DEPTH, 0, DEPTH))
    torch.testing.assert_close(two.values[:, 0], one.values[:, 0], rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_halting_weights_of_every_token_sum_to_one():
    """Seen where every block leaves the tokens as they are: the output is the input."""
    vit = tiny_encoder(dtype=DOUBLE).backbone
    for block in vit.blocks:
        for layer in (block.attn.proj, block.mlp.fc2):
            layer.weight.zero_()
            layer.bias.zero_()
    tokens = embed(ENCODER, IMAGES)
    for protect in (True, False):
        run = make_pass(Avit(gate_scale=2, gate_center=1, protect_prefix=protect), DEPTH, 0, DEPTH)
        found, counts = vit.run_blocks(tokens, 0, DEPTH, run)
        torch.testing.assert_close(found.values, tokens.values)
        assert run.halted_after.min() >= 1
        assert run.halted_after.max() == DEPTH
        assert 1 < float(run.halted_after.double().mean()) < DEPTH
        alive = torch.stack([count.attention for count in counts.values()])
        assert torch.equal(alive.sum(0), run.halted_after.sum(1))
        if protect:
            assert bool((run.halted_after[:, 0] == DEPTH).all())


texts = st.sampled_from([str(each) for each in (*NOTHING, *STRONG)])


@given(text=texts)
def test_a_reduction_reads_back_its_own_text(text):
    assert str(parse_reduction(text)) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("evit:keep_rate=0", ["keep_rate=0", "keeps no patch token", "more than 0", "0.5"]),
        ("evit:keep_rate=0.5+0+1", ["keep_rate=0.5+0+1", "keeps no patch token"]),
        ("evit:keep_rate=1.5", ["keep_rate=1.5", "at most 1"]),
        ("evit:tokens=-+0+-", ["tokens", "at least 1"]),
        ("evit:fill=fused,fuse=false", ["fill=fused", "fuse=false", "fill=mask"]),
        ("evit:blocks=1,keep_rate=0.5+1", ["blocks", "leave blocks out"]),
        ("tome:r=-1", ["r=-1", "at least 0"]),
        ("tome:r=1+2,inflection=1", ["inflection=1", "r=1+2"]),
        ("tome:k=3", ["k=3", "r=", "inflection="]),
        ("avit:epsilon=0", ["epsilon=0", "more than 0"]),
        ("avit:form=student", ["form=student", "protect_prefix=false"]),
        ("evti", ["evti", "evit", "tome", "avit"]),
    ],
)
def test_what_no_reduction_can_be_is_refused_in_a_sentence(text, words):
    with raises_naming(ValueError, words):
        parse_reduction(text)


@pytest.mark.parametrize(
    ("reduction", "class_token", "words"),
    [
        (Evit(), False, ["no class token", "tome"]),
        (Evit(keep_rate=(0.5, 1.0)), True, ["2 entries", "3 blocks"]),
        (Evit(tokens=(None, 4)), True, ["2 entries", "3 in all"]),
        (Evit(blocks=(3,)), True, ["block 3", "0 to 2"]),
        (Tome(r=17), True, ["r=17", "32 patches", "0 to 16"]),
        (Tome(r=(1, 2)), True, ["2 entries", "3 blocks"]),
    ],
)
def test_what_does_not_fit_a_model_is_refused_in_a_sentence(reduction, class_token, words):
    with raises_naming(ValueError, [*words, str(reduction)]):
        reduction.check(3, 32, class_token)

"""What is done for speed changes no result, and leaves the encoder as it was."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from helpers import ALL_OUTPUTS, random_images, take_patches, tiny_encoder
from tiny import tiny_vector_env
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from encoders.layers import decoder as decoders
from encoders.layers.packed import PackedLinear, can_pack
from encoders.layers.vit import set_fused_attention
from encoders.storage import weights_hash
from encoders.support.precision import autocast, cast_for_inference, resolve_precision

CPU = torch.device("cpu")
RAGGED = torch.tensor(
    [[[0, 1, 2], [9, -1, 12]], [[4, -1, -1], [-1, -1, -1]], [[7, 8, 9], [1, 2, 3]]]
)


def explore(encoder, dtype=torch.float32, split=1):
    images = random_images(encoder, len(RAGGED)).float()
    patches = take_patches(encoder, images, RAGGED)
    state = encoder.init_state(len(RAGGED))
    with autocast(CPU, dtype):
        for step in range(RAGGED.shape[1]):
            belief, state = encoder.observe(
                patches[:, step], RAGGED[:, step], state, split, ALL_OUTPUTS
            )
    return {name: getattr(belief, name) for name in ALL_OUTPUTS}


def test_weights_cast_once_give_what_autocast_gives():
    encoder = tiny_encoder()
    set_fused_attention(encoder, False)
    expected = explore(encoder, torch.bfloat16)
    found = explore(cast_for_inference(encoder, torch.bfloat16), torch.bfloat16)
    for name in ALL_OUTPUTS:
        assert torch.equal(found[name], expected[name]), name
    exact = explore(encoder)
    assert not torch.equal(found["logits"], exact["logits"])
    torch.testing.assert_close(found["latent"].float(), exact["latent"], rtol=0.1, atol=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
def test_casting_leaves_the_encoder_as_it_was_and_shares_the_rest(dtype):
    encoder = tiny_encoder()
    before = weights_hash(encoder)
    fused = [block.attn.fused_attn for block in encoder.backbone.vit.blocks]
    lowered = cast_for_inference(encoder, dtype, rows=1)
    explore(lowered, dtype)
    assert weights_hash(encoder) == before
    assert all(parameter.dtype == torch.float32 for parameter in encoder.parameters())
    assert fused == [block.attn.fused_attn for block in encoder.backbone.vit.blocks]
    layers = {name for name, layer in encoder.named_modules() if isinstance(layer, nn.Linear)}
    own = dict(encoder.named_parameters())
    for name, parameter in lowered.named_parameters():
        if name.rpartition(".")[0] in layers:
            assert parameter is not own[name]
        else:
            assert parameter is own[name]
    assert cast_for_inference(encoder, torch.float32) is encoder


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_layer_gives_what_its_weights_give(dtype, bias):
    if not can_pack(dtype):
        assert cast_for_inference(nn.Linear(48, 96, bias=bias), dtype, rows=1) is not None
        return
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(48, 96, bias=bias)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -(48**-0.5), 48**-0.5, generator=generator)
    packed = PackedLinear(layer, dtype)
    tolerance = {torch.float32: 1e-6, torch.bfloat16: 2e-2, torch.int8: 5e-2}[dtype]
    with torch.no_grad():
        for count in (1, 5, 33, 200):
            values = torch.randn(2, count, 48, generator=generator)
            for kind in (values, values[:, :1]):  # the second one is not contiguous
                expected = layer(kind)
                torch.testing.assert_close(
                    packed(kind).float(), expected, rtol=tolerance, atol=tolerance
                )
                found = packed.rows(kind, 32, 80).float()
                torch.testing.assert_close(
                    found, expected[..., 32:80], rtol=tolerance, atol=tolerance
                )
        assert packed(values[:, :0]).shape == (2, 0, 96)
        copied = copy.deepcopy(packed)
        assert torch.equal(copied(values), packed(values))


def test_few_rows_with_large_float32_weights_are_believed_alike():
    vit = {"embed_dim": 512, "depth": 2, "num_heads": 8}
    encoder = tiny_encoder(vit=vit)
    packed = cast_for_inference(encoder, torch.float32, rows=1)
    kinds = {type(layer) for layer in packed.modules()}
    assert (PackedLinear in kinds) is can_pack(torch.float32)
    expected, found = explore(encoder), explore(packed)
    for name in ALL_OUTPUTS:
        scale = expected[name].abs().max()
        assert (found[name] - expected[name]).abs().max() < 1e-5 * scale, name


def test_eight_bits_are_near_and_round_as_they_should():
    encoder = tiny_encoder()
    exact, found = explore(encoder), explore(cast_for_inference(encoder, torch.int8), torch.int8)
    assert not torch.equal(found["logits"], exact["logits"])
    torch.testing.assert_close(found["latent"], exact["latent"], rtol=0.2, atol=0.2)
    envs = tiny_vector_env(2, precision="int8")
    observation, _ = envs.reset(seed=0)
    assert envs.observer.dtype == torch.int8
    assert observation["logits"].dtype == np.float32


def test_eight_bits_are_refused_where_there_is_no_such_product():
    with pytest.raises(
        ValueError, match="precision='int8' is for x86 processors, and this is 'cuda'"
    ):
        resolve_precision("int8", torch.device("cuda"))


def test_environments_run_in_the_precision_asked_for():
    beliefs = {}
    for precision in ("float32", "bfloat16"):
        envs = tiny_vector_env(3, precision=precision, observe=("latent", "logits", "entropy"))
        envs.reset(seed=0)
        for action in (0, 7):
            observation, *_ = envs.step(np.full(3, action))
        beliefs[precision] = observation
        assert envs.observer.encoder.backbone.vit.head.weight.dtype == torch.float32
    for name in ("latent", "logits", "entropy"):
        exact, lowered = beliefs["float32"][name], beliefs["bfloat16"][name]
        assert lowered.dtype == np.float32
        assert not np.array_equal(exact, lowered)
        np.testing.assert_allclose(lowered, exact, rtol=0.2, atol=0.2)


def test_new_weights_are_seen_after_a_refresh():
    envs = tiny_vector_env(2, precision="bfloat16")
    before = envs.observer.belief["logits"].copy()
    with torch.no_grad():
        envs.observer.encoder.backbone.vit.head.weight.add_(1.0)
    envs.observer.refresh_prior()
    assert not np.allclose(envs.observer.belief["logits"], before)


@pytest.mark.parametrize("split", [0, 1, 3])
def test_explicit_and_fused_attention_agree_on_ragged_rows(split):
    encoder = tiny_encoder()
    fused = explore(encoder, split=split)
    set_fused_attention(encoder, False)
    explicit = explore(encoder, split=split)
    for name in ALL_OUTPUTS:
        torch.testing.assert_close(explicit[name], fused[name], rtol=1e-4, atol=1e-4)


def test_rows_decoded_in_groups_are_decoded_alike(monkeypatch):
    encoder = tiny_encoder()
    whole = explore(encoder)
    rows_at_once = encoder.decoder.rows_at_once(CPU)
    monkeypatch.setattr(decoders, "_CACHED_ELEMENTS", 1)
    assert encoder.decoder.rows_at_once(CPU) == 1 < rows_at_once
    grouped = explore(encoder)
    for name in ALL_OUTPUTS:
        torch.testing.assert_close(grouped[name], whole[name])


@torch.no_grad()
def test_entropy_maps_made_in_parts_are_those_made_at_once_and_cost_as_much(monkeypatch):
    encoder = tiny_encoder()
    wanted = ("entropy", "normalised_entropy")
    ids = RAGGED[:1]
    patches = take_patches(encoder, random_images(encoder, 1), ids)
    with FlopCounterMode(display=False) as whole_counter:
        whole = encoder(patches, ids, 1, (*wanted, "attention"))
    for elements in (1, 4 * 33 * 5, 4 * 33 * 32):  # one query at a time, five, all but the last
        monkeypatch.setattr(decoders, "_CACHED_ELEMENTS", elements)
        with FlopCounterMode(display=False) as counter:
            found = encoder(patches, ids, 1, wanted)
        for name in wanted:
            torch.testing.assert_close(found[name], whole[name], rtol=1e-5, atol=1e-5)
        assert found.attention is None
        assert counter.get_total_flops() == whole_counter.get_total_flops()


def test_an_unknown_precision_is_refused():
    expected = "precision='half'; expected one of float32, bfloat16, int8, auto"
    with pytest.raises(ValueError, match=expected):
        resolve_precision("half", CPU)

"""The plain Vision Transformer is timm's: the same names, random weights, numbers and gradients."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models.vision_transformer import Block, VisionTransformer

from encoders.config import EncoderConfig
from encoders.families.tore.surgery import make_vit
from encoders.layers.transformer import (
    PLAIN_OPTIONS,
    PlainVisionTransformer,
    TransformerBlock,
)
from encoders.layers.vit import TokenSet, run_block, run_block_with_attention, set_fused_attention

ROOT = Path(__file__).parents[2]
SIZE = {"img_size": (32, 48), "patch_size": 16}


def pair(seed: int = 0, **options):
    """The same model of both, made with the same seed; and the next random number after each."""
    made = []
    for family in (PlainVisionTransformer, VisionTransformer):
        torch.manual_seed(seed)
        made += [family(**SIZE, **options).eval(), torch.rand(())]
    return made


@given(
    seed=st.integers(0, 2**32 - 1),
    depth=st.integers(0, 3),
    num_heads=st.sampled_from([1, 2, 4]),
    mlp_ratio=st.sampled_from([1.0, 2.5, 4.0]),
    qkv_bias=st.booleans(),
    no_embed_class=st.booleans(),
    num_classes=st.sampled_from([0, 1, 7]),
)
@settings(max_examples=25, deadline=None)
def test_random_weights_and_outputs_are_those_of_timm(seed, **options):
    ours, after_ours, theirs, after_theirs = pair(seed, embed_dim=16, **options)
    weights, expected = ours.state_dict(), theirs.state_dict()
    assert list(weights) == list(expected)
    for name, values in expected.items():
        assert torch.equal(weights[name], values), name
    assert torch.equal(after_ours, after_theirs)  # no more and no fewer were drawn
    images = torch.rand(2, 3, 32, 48)
    assert torch.equal(ours(images), theirs(images))
    assert torch.equal(ours.forward_features(images), theirs.forward_features(images))


def test_every_plain_option_is_one_of_timm_and_changes_the_model():
    changed = {
        "embed_dim": 24,
        "depth": 2,
        "num_heads": 4,
        "mlp_ratio": 2.0,
        "qkv_bias": False,
        "no_embed_class": True,
    }
    assert changed.keys() == PLAIN_OPTIONS
    base = {"embed_dim": 16, "depth": 1, "num_heads": 2}
    for name, value in changed.items():
        ours, _, theirs, _ = pair(**{**base, name: value})
        shapes = {key: tensor.shape for key, tensor in ours.state_dict().items()}
        assert shapes == {key: tensor.shape for key, tensor in theirs.state_dict().items()}, name
        assert ours.blocks[0].attn.num_heads == theirs.blocks[0].attn.num_heads
        if name != "num_heads":
            assert shapes != {key: each.shape for key, each in pair(**base)[0].state_dict().items()}


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_blocks_run_and_learn_like_those_of_timm(fused, padded):
    torch.manual_seed(0)
    theirs = Block(16, 4, qkv_bias=True)
    ours = TransformerBlock(16, 4)
    ours.load_state_dict(theirs.state_dict())
    mask = torch.rand(3, 5) < 0.7 if padded else None
    if mask is not None:
        mask[:, 0] = True
    values = torch.randn(3, 5, 16)
    results = []
    for block in (ours, theirs):
        set_fused_attention(block, fused)
        assert block.attn.fused_attn is fused
        tokens = TokenSet(values.clone().requires_grad_(), mask=mask)
        after, _ = run_block(block, tokens)
        after.values.square().sum().backward()
        written_out, attention = run_block_with_attention(block, TokenSet(values, mask=mask))
        results.append(
            [
                after.values,
                tokens.values.grad,
                *(parameter.grad for parameter in block.parameters()),
                written_out.values,
                attention,
            ]
        )
    for mine, expected in zip(*results, strict=True):
        assert torch.equal(mine, expected)
    bias = TokenSet(values, mask=mask).bias
    assert torch.equal(ours(values, attn_mask=bias), theirs(values, attn_mask=bias))


def test_heads_are_replaced_as_timm_does():
    made = []
    for vit in pair(embed_dim=16, depth=1, num_heads=2, num_classes=3)[::2]:
        torch.manual_seed(1)
        vit.reset_classifier(5)
        made.append(vit.head.weight)
        vit.reset_classifier(0)
        assert isinstance(vit.head, torch.nn.Identity)
        assert vit.num_classes == 0
    assert torch.equal(*made)


def test_only_plain_configurations_are_made_without_timm():
    plain = EncoderConfig("a", {"embed_dim": 16, "depth": 1, "num_heads": 2}, (32, 48), 16)
    assert type(make_vit(plain)) is PlainVisionTransformer
    for more in ({"reg_tokens": 1}, {"init_values": 1e-5}, {"global_pool": "avg"}):
        vit = make_vit(EncoderConfig("a", {**plain.vit, **more}, (32, 48), 16))
        assert type(vit) is VisionTransformer
    with pytest.raises(ValueError, match="3 attention heads do not divide 16 channels"):
        PlainVisionTransformer(embed_dim=16, num_heads=3)


def test_the_shipped_encoder_is_used_without_timm():
    code = (
        "import sys, gymnasium, ave_env\n"
        "env = gymnasium.make('AVE-Synthetic-v0')\n"
        "env.reset(seed=0)\n"
        "env.step(0)\n"
        "heavy = {'timm', 'torchvision', 'torch._dynamo', 'sympy', 'torchmetrics', 'wandb',\n"
        "    'stable_baselines3', 'matplotlib', 'pandas', 'scipy', 'h5py'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

"""AlterNet's blocks and its pattern give the authors' numbers."""

from __future__ import annotations

import pytest
import torch
from golden_numbers import DTYPES, Golden
from torch import Tensor, nn

from encoders.families.canvas.alternet import (
    PUBLISHED_STAGES,
    AttentionBlock,
    alternating_pattern,
)
from encoders.layers.local_attention import LocalAttention, relative_positions

_OURS = {
    "attn.attn.": "attention.",
    "attn.pos_embedding": "attention.position_bias",
    "attn.to_": "to_",
    "pos_embedding": "position_bias",
    "to_q.": "query.",
    "to_kv.": "key_value.",
    "to_out.0.": "out.",
    "shortcut.0.": "shortcut.",
}


def load(module: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    renamed = {}
    for name, tensor in weights.items():
        for theirs, ours in _OURS.items():
            name = name.replace(theirs, ours)
        renamed[name] = tensor
    module.load_state_dict(renamed)
    return module.eval()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("local_attention", lambda: LocalAttention(24, 24, 3, 8, 4)),
        ("basicB", lambda: AttentionBlock(24, 24, 3, 8, 4)),
        ("basicB_proj", lambda: AttentionBlock(24, 32, 3, 8, 4)),
        ("blockB", lambda: AttentionBlock(24, 32, 3, 8, 4, hidden=6)),
    ],
)
def test_attention_of_alternet_is_the_authors(dtype, name, make):
    golden = Golden("mixers", dtype)
    module = load(make().to(dtype), golden.group(f"alternet/{name}/w/"))
    with torch.no_grad():
        golden.check(module(golden["alternet/x"]), f"alternet/{name}/y")


def test_relative_positions_are_the_authors():
    expected = Golden("mixers")["alternet/local_attention/rel_index"]
    assert torch.equal(relative_positions(4), expected)


@pytest.mark.parametrize("depth", PUBLISHED_STAGES)
def test_the_pattern_is_the_published_one(depth):
    golden, name = Golden("mixers"), "34_50" if depth in (34, 50) else str(depth)
    for stage, (blocks, attentions) in enumerate(zip(*PUBLISHED_STAGES[depth], strict=True)):
        expected = golden[f"alternet/pattern/{name}/stage{stage}"].bool()
        assert list(alternating_pattern(blocks, attentions)) == expected.tolist()

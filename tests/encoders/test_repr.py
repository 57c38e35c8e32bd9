"""What a notebook shows of encoders, states and beliefs: a few lines, no numbers of tensors."""

from __future__ import annotations

import torch
from helpers import tiny_encoder

import encoders
from encoders.support import version


def test_an_encoder_is_a_few_lines():
    shown = repr(tiny_encoder(mean=(0.5, 0.25, 0.125)))
    for words in (
        "'tiny'",
        "(tore)",
        "32x64 pixels, 4x8 patches of 8",
        "3 of width 24, 3 heads; split block K = 2",
        "class head 5 classes, unnamed; decoder 16 x 2",
        f"random, {sum(each.numel() for each in tiny_encoder().parameters()):,} parameters on cpu",
        "mean 0.5 0.25 0.125, std 0.229 0.224 0.225",
    ):
        assert words in shown
    assert len(shown.splitlines()) == 6
    assert "class head none; decoder none" in repr(tiny_encoder(decoder=None, num_classes=0))


def test_a_state_says_what_it_holds_and_a_belief_what_was_computed():
    encoder = tiny_encoder()
    state = encoder.init_state(2)
    held = "2 rows, 0 of 32 tokens, 0 glimpses, K = unset"
    assert repr(state) == f"ToreState({held}, {state.num_bytes:,} bytes on cpu)"
    ids = torch.tensor([[0, 1, 2], [-1, -1, -1]])
    belief, state = encoder.observe(torch.zeros(2, 3, 3, 8, 8), ids, state, 1, ("latent", "cells"))
    assert "2 rows, 0-3 of 32 tokens, 0-1 glimpses, K = 1" in repr(state)
    assert repr(belief) == "Belief(latent: float32 [2, 24], cells: float32 [2, 4, 8, 16])"
    assert repr(encoders.Belief()) == "Belief()"


def test_the_package_shows_its_names_and_version():
    assert {"create_encoder", "part_hashes", "Belief", "__version__"} <= set(dir(encoders))
    assert encoders.__version__ == version.__version__

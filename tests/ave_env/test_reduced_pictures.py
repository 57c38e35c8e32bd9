"""Environments whose encoder reduces tokens, and what pictures show of that."""

from __future__ import annotations

import numpy as np
import pytest
from tiny import raises_naming, tiny_env, tiny_vector_env

from ave_env.rendering import ink
from ave_env.rendering.tokens import describe_tokens, paint_tokens

OPTIONS = {
    "drops": {"reduction": "evit:keep_rate=0.5,blocks=1,fuse=false"},
    "merges": {"max_tokens": 5},
    "halts": {"reduction": "avit:gate_scale=4.0,gate_center=0.0"},
    "halts in glimpses": {
        "reduction": "avit:gate_scale=4.0,gate_center=0.0",
        "reduction_in": "extractor",
    },
}


@pytest.mark.parametrize("what", OPTIONS)
def test_an_environment_knows_what_became_of_every_patch(what):
    env = tiny_vector_env(2, encoder_options=OPTIONS[what], split_block=1, render_mode="rgb_array")
    env.reset(seed=0)
    observer = env.observer
    assert all(not maps.any() for maps in observer.reduced.values())
    for action in ([0, 3], [8, 9], [14, 0]):
        _, _, _, _, info = env.step(np.array(action))
        tokens = observer.reduced["tokens"]
        if what == "drops":
            assert (tokens < 0).any()
        if what == "merges":
            assert tokens.max() <= 5
            assert info["tokens"].max() <= 5
        if what == "halts":
            assert observer.reduced["depth"].max() == 2  # blocks of the aggregator
        if what == "halts in glimpses":
            assert ((observer.reduced["depth"] == 1) == (tokens > 0)).all()  # the extractor's only
    assert env.render()[0].dtype == np.uint8
    env.close()


def test_a_memory_that_holds_no_glimpse_is_refused_when_the_environment_is_made():
    with raises_naming(ValueError, ["max_tokens=3", "4 patches", "at least 4"]):
        tiny_env(encoder_options={"max_tokens": 3})


def test_the_picture_of_tokens_paints_groups_crosses_and_depths():
    scene = np.full((40, 80, 3), 100, np.uint8)
    tokens = np.array([[1, 1, 2, 0], [-1, 3, 3, 0]])
    painted = paint_tokens(scene, tokens)
    centres = painted[5::20, 5::20].astype(int)  # off the crosses
    assert (centres[0, 0] == centres[0, 1]).all()  # one group
    assert (centres[1, 1] == centres[1, 2]).all()
    assert (centres[0, 0] != centres[1, 1]).any()  # another
    assert (centres[0, 2] == 100).all()  # stands alone, as it is
    assert (centres[:, 3] == ink.UNKNOWN).all()
    assert painted[20:, :20].max() == 255  # crossed out
    assert describe_tokens(tokens) == "6 seen: 1 dropped, 4 merged into 2"
    depth = np.array([[1, 2, 4, 0], [0, 4, 4, 0]])
    shown = paint_tokens(scene, np.where(tokens < 0, 0, tokens), depth)[10::20, 10::20].astype(int)
    brightness = shown.sum(2)
    assert brightness[0, 0] < brightness[0, 1] < brightness[0, 2] == brightness[1, 1]
    assert describe_tokens(np.where(tokens < 0, 0, tokens), depth) == "3.0 blocks each, at most 4"

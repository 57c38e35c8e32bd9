"""Warnings are about a line of the user's."""

import warnings
from pathlib import Path

import gymnasium as gym
from gymnasium.wrappers import TimeLimit

import ave_env  # noqa: F401
from encoders.support.notices import warn


def test_a_warning_points_at_the_line_that_made_the_environment():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env = gym.make("AVE-SUN360-v0", encoder=None)
        TimeLimit(env, 3).reset(seed=0)
        warn("here")
    assert [each.filename for each in caught] == [__file__] * 2
    lines = [line.strip() for line in Path(__file__).read_text("utf-8").splitlines()]
    first, last = (lines[each.lineno - 1] for each in (caught[0], caught[-1]))
    assert (first[:15], last) == ("env = gym.make(", 'warn("here")')

"""How many threads a step is taken with."""

import numpy as np
import pytest
import torch
from tiny import tiny_env, tiny_vector_env

from encoders.support.threads import SMALL_STEP, choose_threads, set_threads, using_threads


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_small_steps_take_one_thread_and_large_ones_all():
    assert choose_threads(None, SMALL_STEP - 1) == 1
    assert choose_threads(None, SMALL_STEP) is None
    assert choose_threads(3, 1) == 3


def test_threads_inside_are_not_those_outside(four_threads):
    with using_threads(2):
        assert torch.get_num_threads() == 2
        with using_threads(None):
            assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 4
    with pytest.raises(ZeroDivisionError), using_threads(1):
        raise ZeroDivisionError
    assert torch.get_num_threads() == 4
    set_threads(None)
    assert torch.get_num_threads() == 4
    set_threads(3)
    assert torch.get_num_threads() == 3


def test_an_environment_leaves_the_threads_of_others_alone(four_threads, monkeypatch):
    env = tiny_env()
    seen = []
    normalise = type(env.observer.encoder).normalise
    monkeypatch.setattr(
        type(env.observer.encoder),
        "normalise",
        lambda *values: (seen.append(torch.get_num_threads()), normalise(*values))[1],
    )
    env.reset(seed=0)
    env.step(0)
    for threads in (2, 3):
        asked = tiny_env(threads=threads)
        asked.reset(seed=0)
        asked.step(0)
    assert seen == [1, 2, 3]
    assert torch.get_num_threads() == 4


def test_threads_change_results_by_rounding_alone(four_threads):
    beliefs = []
    for threads in (1, 4):
        envs = tiny_vector_env(64, threads=threads)
        envs.reset(seed=0)
        beliefs.append(envs.step(np.arange(64) % 15)[0]["latent"])
    np.testing.assert_allclose(*beliefs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("threads", "kind"), [(0, ValueError), (-1, ValueError), (1.5, TypeError)])
def test_there_is_no_such_number_of_threads(threads, kind):
    with pytest.raises(kind, match=f"threads={threads}"):
        tiny_env(threads=threads)

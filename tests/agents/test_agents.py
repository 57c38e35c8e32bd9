"""Where agents look, against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.evaluation import evaluate_policy
from tiny import tiny_env, tiny_vector_env

from agents import GlimpseVecEnv, list_agents, make_agent, required_observables
from agents.policies.attention_entropy import window_means
from agents.policies.fixed import CenterOutAgent, CheckerboardAgent, RasterAgent
from ave_env.sensors.grid import GridSensor

# `regions` needs an encoder that has some: test_regions.py.
OF_TORE = [name for name in list_agents() if name != "regions"]

EVERY_PART = ("latent", "logits", "entropy", "normalised_entropy", "cells")


def sensors(most: int = 9):
    return st.builds(
        lambda rows, columns, size, wrap: GridSensor(
            (8 * max(rows, size), 8 * max(columns, size)), 8, size, wrap
        ),
        st.integers(1, most),
        st.integers(1, most),
        st.integers(1, 3),
        st.booleans(),
    )


@settings(max_examples=60, deadline=None)
@given(sensor=sensors(), kind=st.sampled_from([RasterAgent, CenterOutAgent, CheckerboardAgent]))
def test_a_fixed_order_sees_everything_with_as_few_glimpses_as_tiles(sensor, kind):
    order = kind.order(sensor)
    tiles = np.prod([-(-side // sensor.glimpse_size) for side in sensor.grid])
    assert len(order) == len(set(order.tolist())) == tiles
    assert set(sensor.patch_ids(order).ravel().tolist()) == set(range(np.prod(sensor.grid)))


def test_the_orders_are_those_of_their_names():
    sensor = GridSensor((128, 256), 16, 2)
    rows, columns = np.divmod(RasterAgent.order(sensor), sensor.positions[1])
    assert (rows[:9].tolist(), columns[:9].tolist()) == ([0] * 8 + [2], [*range(0, 16, 2), 0])
    rows, columns = np.divmod(CheckerboardAgent.order(sensor), sensor.positions[1])
    dark = (rows // 2 + columns // 2) % 2
    assert dark.tolist() == [0] * 16 + [1] * 16
    for first, second in zip(range(7), range(1, 8), strict=True):  # it spreads
        assert np.hypot(rows[first] - rows[second], columns[first] - columns[second]) >= 4
    rows, columns = np.divmod(CenterOutAgent.order(sensor), sensor.positions[1])
    distance = np.hypot(rows - 3, columns - 7)
    assert (np.diff(distance) >= 0).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), start=st.integers(0, 14))
def test_agents_that_promise_so_always_see_something_new(seed, start):
    env = tiny_vector_env(3, observe=EVERY_PART, autoreset_mode="DISABLED")
    for name in ("random", "checkerboard", "raster", "center_out", "ame_normalised"):
        agent = make_agent(name, env, seed=seed)
        observation, _ = env.reset(seed=seed, options={"start": np.full(3, start)})
        for _ in range(env.num_glimpses - 1):
            actions, _ = agent.predict(observation)
            useful = env.sensor.reveals(observation["visited"])
            assert useful[np.arange(3), actions].all(), name
            observation, *_ = env.step(actions)


def test_random_positions_are_uniform_over_the_useful_ones():
    env = tiny_vector_env(64, observe=("logits",), autoreset_mode="DISABLED")
    agent = make_agent("random", env, seed=0)
    observation, _ = env.reset(seed=0)
    drawn = np.concatenate([agent.predict(observation)[0] for _ in range(100)])
    counts = np.bincount(drawn, minlength=env.sensor.num_actions)
    expected = len(drawn) / env.sensor.num_actions
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_window_means_are_the_means_of_the_windows():
    sensor = GridSensor((32, 64), 8, 2)
    maps = np.random.default_rng(0).random((3, 4, 8)).astype(np.float32)
    found = window_means(maps, sensor).reshape(3, 3, 7)
    for row, top, left in np.ndindex(3, 3, 7):
        window = maps[row, top : top + 2, left : left + 2].astype(np.float64)
        assert found[row, top, left] == pytest.approx(window.mean(), abs=1e-12)


def test_ame_takes_the_window_of_highest_entropy():
    env = tiny_vector_env(4, observe=EVERY_PART, autoreset_mode="DISABLED")
    agent = make_agent("ame", env)
    observation, _ = env.reset(seed=1)
    for _ in range(env.num_glimpses):
        actions, _ = agent.predict(observation)
        scores = window_means(observation["entropy"], env.sensor)
        np.testing.assert_allclose(scores[np.arange(4), actions], scores.max(axis=1))
        observation, *_ = env.step(actions)


@pytest.mark.parametrize("name", ["oracle", "oracle_unlabelled"])
def test_oracles_take_the_glimpse_after_which_what_they_know_is_most_probable(name):
    env = tiny_vector_env(2, observe=("logits",), autoreset_mode="DISABLED")
    oracle = make_agent(name, env, batch_size=7)
    observation, _ = env.reset(seed=3)
    known = np.eye(env.observer.encoder.config.num_classes)[env.labels]
    if name == "oracle_unlabelled":  # what the encoder says of the whole scene
        encoder, pixels = (
            env.observer.encoder,
            torch.from_numpy(env.images.copy()).permute(0, 3, 1, 2),
        )
        with torch.no_grad():
            known = encoder.forward_full(encoder.normalise(pixels)).logits.softmax(1).numpy()
    history: list[np.ndarray] = []
    for _ in range(2):
        chosen, _ = oracle.predict(observation)
        scenes = env.scene_ids.copy()
        outcomes = np.full((2, env.sensor.num_actions), -np.inf)
        for action in range(env.sensor.num_actions):
            trial = tiny_vector_env(2, observe=("logits",), autoreset_mode="DISABLED")
            trial.reset(options={"scene_id": scenes})
            for earlier in history:
                trial.step(earlier)
            after, *_ = trial.step(np.full(2, action))
            logits = after["logits"].astype(np.float64)
            logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
            gains = (known * logits).sum(axis=1)
            new = env.sensor.reveals(observation["visited"])[:, action].astype(bool)
            outcomes[new, action] = gains[new]
        best = outcomes.max(axis=1)
        np.testing.assert_allclose(outcomes[np.arange(2), chosen], best, atol=1e-6)
        history.append(chosen)
        observation, *_ = env.step(chosen)
    assert oracle.flops_per_action > 0


def test_the_oracle_leaves_the_environment_as_it_was():
    env = tiny_vector_env(2, observe=("logits",), autoreset_mode="DISABLED")
    oracle = make_agent("oracle", env)
    observation, _ = env.reset(seed=3)
    before = env.observer.state.fork()
    oracle.predict(observation)
    after = env.observer.state
    assert before.token_counts.tolist() == after.token_counts.tolist()
    assert before.buffer.equal(after.buffer)


def test_a_single_observation_gets_a_single_action():
    env = tiny_env(observe=EVERY_PART)
    observation, _ = env.reset(seed=0)
    for name in OF_TORE:
        action, state = make_agent(name, env).predict(observation)
        assert np.shape(action) == ()
        assert state is None
        assert env.action_space.contains(action)


def test_stable_baselines_evaluates_every_agent():
    env = tiny_vector_env(4, observe=EVERY_PART, autoreset_mode="SAME_STEP")
    wrapped = GlimpseVecEnv(env)
    for name in OF_TORE:
        mean, _ = evaluate_policy(make_agent(name, env), wrapped, n_eval_episodes=4, warn=False)
        assert np.isfinite(mean)


def test_what_an_agent_needs_is_asked_for_by_name():
    env = tiny_vector_env(2, observe=("logits",))
    with pytest.raises(ValueError, match=r"'ame' needs \['entropy'\]"):
        make_agent("ame", env)
    assert required_observables(["random", "ame", "oracle"]) == ("entropy", "logits")
    with pytest.raises(ValueError, match=r"no agent 'rasta' \(did you mean 'raster'\?\): exp"):
        make_agent("rasta", env)
    with pytest.raises(ValueError, match=r"'ppo' needs \['cells', 'latent'\]"):
        make_agent("ppo", env)

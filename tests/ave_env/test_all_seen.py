"""Episodes that have seen everything there is to see."""

import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from tiny import MemoryScenes, tiny_encoder, tiny_env, tiny_vector_env

from agents import make_agent
from agents.evaluation.walk import evaluate
from agents.learning.ppo.config import PpoConfig
from agents.learning.ppo.learner import PpoLearner
from ave_env.sensors.grid import GridSensor

# Six windows of 2x2 patches show the 4x6 patches of a scene; the last action of 15 repeats.
TILES = (0, 2, 4, 10, 12, 14)


@pytest.mark.parametrize(("num_glimpses", "warned"), [(6, False), (7, True)])
def test_more_glimpses_than_there_is_to_see_are_warned_of(num_glimpses, warned):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tiny_env(num_glimpses=num_glimpses)
        tiny_env(num_glimpses=num_glimpses, stop_when_all_seen=True)
    found = [str(each.message) for each in caught if "num_glimpses" in str(each.message)]
    assert len(found) == warned
    assert all(word in text for text in found for word in ("=7", "6 can show", "24 patches"))
    assert {Path(each.filename).name for each in caught} <= {"tiny.py"}  # which asked for it


@pytest.mark.parametrize(("wrap", "seamless", "warned"), [(1, 0, 1), (1, 1, 0), (0, 0, 0)])
def test_edges_that_do_not_meet_are_warned_of(wrap, seamless, warned):
    scenes = MemoryScenes()
    scenes.seamless = bool(seamless)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tiny_env(scenes=scenes, wrap_azimuth=bool(wrap))
    assert ["wrap_azimuth=True" in str(each.message) for each in caught] == [True] * warned


def test_an_episode_ends_where_all_is_seen():
    env = tiny_env(num_glimpses=10, stop_when_all_seen=True)
    env.reset(seed=0)
    results = [env.step(action) for action in TILES]
    assert [result[2:4] for result in results] == [(False, False)] * 5 + [(True, False)]
    info = results[-1][4]
    assert (info["step"], info["coverage"]) == (6, 1.0)
    assert info["is_success"] == (info["prediction"] == info["label"])
    with pytest.raises(gym.error.ResetNeeded, match="has ended"):
        env.step(0)
    env.reset()
    assert env.step(0)[2] is False


@pytest.mark.filterwarnings("ignore:num_glimpses")
def test_without_the_option_it_goes_on():
    env = tiny_env(num_glimpses=7)
    env.reset(seed=0)
    assert [env.step(action)[2] for action in (*TILES, 0)] == [False] * 6 + [True]


def test_what_no_action_shows_need_not_be_seen():
    class Left(GridSensor):
        """Looks at the left half alone."""

        @property
        def positions(self):
            return super().positions[0], 2

        def reveals(self, visited):
            return super(GridSensor, self).reveals(visited)

    sensor = Left((64, 96), 16)
    assert sensor.num_visible == 12
    assert GridSensor((64, 96), 16).num_visible == 24


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_rows_end_each_at_its_own_time(mode):
    envs = tiny_vector_env(2, num_glimpses=10, stop_when_all_seen=True, autoreset_mode=mode)
    envs.reset(seed=0)
    for action in TILES[:5]:
        *_, terminations, _, _ = envs.step(np.array([action, 0]))
        assert not terminations.any()
    *_, terminations, _, _ = envs.step(np.array([TILES[5], 0]))
    assert terminations.tolist() == [True, False]
    belief = envs.belief["latent"].copy()
    observation, rewards, terminations, _, info = envs.step(np.array([2, 2]))
    if mode is AutoresetMode.DISABLED:  # the row rests
        assert terminations.tolist() == [True, False]
        assert info["step"].tolist() == [6, 7]
        assert (rewards[0], info["flops"][0], info["flops_without_recycling"][0]) == (0, 0, 0)
        assert np.array_equal(observation["latent"][0], belief[0])
        assert info["flops"][1] > 0
        for _ in range(3):
            envs.step(np.array([2, 2]))
        with pytest.raises(gym.error.ResetNeeded, match="has ended"):
            envs.step(np.array([2, 2]))
    else:  # it has begun anew
        assert info["step"].tolist() == [int(mode is AutoresetMode.SAME_STEP), 7]


@pytest.mark.filterwarnings("ignore:num_glimpses")
@pytest.mark.parametrize("agent", ["raster", "random", "ame"])
def test_a_walk_that_stops_measures_what_one_that_goes_on_measures(agent, monkeypatch):
    """What shows nothing new costs nothing and changes nothing."""
    encoder, walks, steps = tiny_encoder(), [], []
    for stop in (False, True):
        env = tiny_vector_env(
            *(4,),
            num_glimpses=15,
            stop_when_all_seen=stop,
            observe=("latent", "logits", "entropy"),
            encoder=encoder,
            autoreset_mode="DISABLED",
        )
        taken = []
        step = env.step
        monkeypatch.setattr(
            env, "step", lambda a, step=step, taken=taken: taken.append(a) or step(a)
        )
        walks.append(evaluate(make_agent(agent, env), env, num_scenes=4, progress=False))
        steps.append(len(taken))
    going_on, stopped = walks
    assert steps[1] < steps[0] == 15
    assert going_on.columns.keys() == stopped.columns.keys()
    for name, values in going_on.columns.items():
        np.testing.assert_allclose(
            stopped.columns[name], values, rtol=1e-4, atol=1e-5, err_msg=name
        )


def test_ppo_needs_episodes_of_one_length():
    env = tiny_vector_env(
        2,
        observe=("cells", "latent", "logits"),
        stop_when_all_seen=True,
        autoreset_mode="SAME_STEP",
    )
    with pytest.raises(ValueError, match=r"ppo learns .* leave stop_when_all_seen out"):
        PpoLearner(env, PpoConfig())

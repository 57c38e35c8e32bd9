"""Gymnasium's wrappers, its vector classes and other processes take an environment as it is."""

import multiprocessing
import pickle

import cv2
import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.utils.env_match import check_environments_match
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import (
    FlattenObservation,
    HumanRendering,
    NumpyToTorch,
    RecordEpisodeStatistics,
    RecordVideo,
    TimeLimit,
)
from gymnasium.wrappers import vector as vector_wrappers
from packaging.version import Version
from scene_trees import make_tree
from tiny import SETTINGS, MemoryScenes, tiny_encoder

import ave_env
from ave_env.scenes.pack import pack

SYNTHETIC = "ave_env:AVE-Synthetic-v0"
# Before 1.4, RecordEpisodeStatistics counts one step too few of later episodes in SAME_STEP mode.
COUNTED_MODES = ["NEXT_STEP", "SAME_STEP"][: 2 if Version(gym.__version__) >= Version("1.4") else 1]


def make(**settings):
    settings = {**SETTINGS, "scenes": MemoryScenes(), "encoder": None, **settings}
    return ave_env.ActiveExplorationEnv(**settings)


def make_vector(num_envs, **settings):
    settings = {**SETTINGS, "scenes": MemoryScenes(), "encoder": None, **settings}
    return ave_env.ActiveExplorationVectorEnv(num_envs, **settings)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """An image folder packed into one HDF5 file."""
    root = tmp_path_factory.mktemp("packed")
    pack(make_tree(root / "data", {"train/a": 6, "train/b": 6}), root / "data.h5", progress=False)
    return str(root / "data.h5")


@pytest.fixture
def screen(monkeypatch):
    """A window that nobody sees."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    import pygame

    yield lambda: pygame.surfarray.array3d(pygame.display.get_surface()).transpose(1, 0, 2)
    pygame.quit()


# One environment -------------------------------------------------------------------------------


def test_a_time_limit_truncates():
    env = TimeLimit(make(), 3)
    env.reset(seed=0)
    assert [env.step(action)[2:4] for action in (0, 3, 9)][-1] == (False, True)
    env.reset()
    assert env.step(0)[2:4] == (False, False)


def test_a_time_limit_in_make_does_not_shorten_what_is_shorter():
    env = gym.make(SYNTHETIC, encoder=None, max_episode_steps=100)
    env.reset(seed=0)
    assert [env.step(action)[2:4] for action in range(8)][-1] == (True, False)


def test_statistics_add_up_the_rewards():
    env = RecordEpisodeStatistics(make(encoder=tiny_encoder()))
    for _ in range(2):
        env.reset(seed=0)
        rewards, infos = zip(*(env.step(action)[1::3] for action in (0, 3, 9, 12)), strict=True)
        assert "episode" not in infos[-2]
        assert infos[-1]["episode"]["l"] == 4
        assert infos[-1]["episode"]["r"] == pytest.approx(sum(rewards))


def test_flattened_observations_hold_every_part():
    env, plain = FlattenObservation(make()), make()
    observation, _ = env.reset(seed=0)
    flat = gym.spaces.flatten(plain.observation_space, plain.reset(seed=0)[0])
    assert observation in env.observation_space
    assert np.array_equal(observation, flat)


def test_torch_tensors_hold_what_arrays_held():
    env, plain = NumpyToTorch(make(encoder=tiny_encoder())), make(encoder=tiny_encoder())
    results = [(env.reset(seed=0), plain.reset(seed=0))]
    results += [(env.step(torch.tensor(action)), plain.step(action)) for action in (0, 14)]
    for ours, reference in results:
        assert all(isinstance(value, torch.Tensor) for value in ours[0].values())
        ours = {key: value.numpy() for key, value in ours[0].items()}
        assert data_equivalence(ours, reference[0], exact=True)
    assert isinstance(results[-1][0][1], float)


def test_a_video_has_one_frame_per_glimpse_and_one_before(tmp_path):
    env = make(render_mode="rgb_array", encoder=tiny_encoder())
    env = RecordVideo(env, str(tmp_path / "videos"), episode_trigger=lambda episode: True)
    env.reset(seed=0)
    for action in (0, 3, 9, 12):
        env.step(action)
    shape = env.unwrapped.render().shape
    env.close()
    (path,) = (tmp_path / "videos").iterdir()
    video = cv2.VideoCapture(str(path))
    frames = []
    while (frame := video.read())[0]:
        frames.append(frame[1])
    assert len(frames) == 5
    assert video.get(cv2.CAP_PROP_FPS) == env.metadata["render_fps"]
    assert {frame.shape for frame in frames} == {shape}


def test_a_list_of_frames_is_collected_by_make():
    env = gym.make(SYNTHETIC, encoder=None, render_mode="rgb_array_list")
    env.reset(seed=0)
    env.step(0)
    env.step(50)
    frames = env.render()
    assert len(frames) == 3
    assert not np.array_equal(frames[1], frames[2])
    assert env.render() == []


@pytest.mark.filterwarnings("ignore:.*HumanRendering wrapper is being applied")
def test_a_window_shows_the_newest_frame(screen, monkeypatch):
    env = gym.make(SYNTHETIC, encoder=None, render_mode="human", num_glimpses=2)
    monkeypatch.setitem(env.unwrapped.metadata, "render_fps", 1000)
    assert env.render_mode == "human"
    env.reset(seed=0)
    env.step(50)
    assert np.array_equal(screen(), env.unwrapped.render())
    env.close()
    with pytest.raises(ValueError, match=r"'human'.*HumanRendering"):
        make(render_mode="human")


# Many environments -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", COUNTED_MODES)
def test_statistics_of_rows_add_up_the_rewards(mode):
    envs = make_vector(3, encoder=tiny_encoder(), autoreset_mode=mode)
    envs = vector_wrappers.RecordEpisodeStatistics(envs)
    envs.reset(seed=0)
    rng = np.random.default_rng(0)
    totals, lengths, episodes = np.zeros(3), np.zeros(3, int), 0
    for step in range(12):
        if step == 2:  # episodes of different lengths from here on
            envs.reset(options={"reset_mask": np.array([True, False, False])})
            totals[0] = lengths[0] = 0
        before = envs.unwrapped._episodes.ended
        _, rewards, terminations, _, info = envs.step(rng.integers(0, 15, 3))
        totals, lengths = totals + rewards, lengths + ~before
        for row in np.flatnonzero(terminations):
            assert info["_episode"][row]
            assert info["episode"]["l"][row] == lengths[row] == 4
            assert info["episode"]["r"][row] == pytest.approx(totals[row])
            totals[row] = lengths[row] = 0
            episodes += 1
    assert episodes >= 5


def test_rows_flatten_and_turn_to_torch():
    envs = vector_wrappers.FlattenObservation(make_vector(3))
    observation, _ = envs.reset(seed=0)
    assert observation in envs.observation_space
    assert observation.shape == (3, 32 * 32 * 3 + 2 + 4 * 6 + 1)
    envs = vector_wrappers.NumpyToTorch(make_vector(3))
    envs.reset(seed=0)
    observation, rewards, *_ = envs.step(torch.tensor([0, 7, 14]))
    assert isinstance(observation["glimpse"], torch.Tensor)
    assert rewards.shape == (3,)


def test_rows_are_filmed_and_shown(tmp_path, screen):
    envs = make_vector(2, render_mode="rgb_array")
    envs = vector_wrappers.RecordVideo(envs, str(tmp_path / "videos"), video_length=3)
    envs.reset(seed=0)
    for _ in range(5):
        envs.step(np.array([0, 9]))
    envs.close()
    videos = {path.name for path in (tmp_path / "videos").iterdir()}
    assert videos == {"rl-video-episode-0.mp4", "rl-video-episode-1.mp4"}
    envs = vector_wrappers.HumanRendering(make_vector(2, render_mode="rgb_array"))
    envs.metadata["render_fps"] = 1000
    envs.reset(seed=0)
    envs.step(np.array([0, 9]))
    assert screen().any()
    envs.close()


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP"])
def test_worker_processes_started_afresh_give_the_same(packed, mode):
    options = {"data_root": packed, "num_envs": 2, "encoder": None, "image_size": [64, 96]}
    envs = gym.make_vec("ave_env:AVE-ImageFolder-v0", autoreset_mode=mode, **options)
    workers = gym.make_vec(
        "ave_env:AVE-ImageFolder-v0",
        vectorization_mode="async",
        vector_kwargs={"context": "spawn", "autoreset_mode": AutoresetMode[mode]},
        **options,
    )
    try:
        assert data_equivalence(envs.reset(seed=3), workers.reset(seed=3), exact=True)
        for actions in np.random.default_rng(0).integers(0, 15, (10, 2)):
            ours, theirs = envs.step(actions), workers.step(actions)
            assert data_equivalence(ours[:4], theirs[:4], exact=True)
            keys = theirs[4].keys() - {"final_obs", "final_info"}
            assert ours[4].keys() == theirs[4].keys()
            assert data_equivalence(
                {key: ours[4][key] for key in keys}, {key: theirs[4][key] for key in keys}
            )
    finally:
        workers.close()
        envs.close()


# Copies ----------------------------------------------------------------------------------------


def play(env, actions):
    """Goes on with an episode, into the next one."""
    results = []
    for action in actions:
        results.append(env.step(action))
        if not isinstance(env, gym.vector.VectorEnv) and results[-1][2]:
            results.append(env.reset())
    return results


def play_all(episodes, queue):
    queue.put([play(env, actions) for env, actions in episodes])


def assert_close(ours, theirs, tolerance):
    """Compares nested results number by number."""
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        ours, theirs = list(ours.values()), list(theirs.values())
    if isinstance(ours, list | tuple):
        for one, other in zip(ours, theirs, strict=True):
            assert_close(one, other, tolerance)
    else:
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def test_a_process_started_afresh_goes_on_alike(packed):
    """Nothing is shared with it either, though torch would share the token caches."""
    rng = np.random.default_rng(0)
    episodes = []
    for encoder in (None, tiny_encoder(class_names=("a", "b"))):
        settings = {"scenes": "imagefolder", "data_root": packed, "encoder": encoder}
        for env, shape in ((make(**settings), 9), (make_vector(3, **settings), (9, 3))):
            first, *actions = rng.integers(0, 15, shape)
            env.reset(seed=3)
            env.step(first)
            episodes.append((env, actions))
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=play_all, args=(episodes, queue))
    process.start()
    copies = [play(pickle.loads(pickle.dumps(env)), actions) for env, actions in episodes]
    there = queue.get(timeout=300)
    process.join(timeout=60)
    assert process.exitcode == 0
    here = [play(env, actions) for env, actions in episodes]
    assert data_equivalence(here, copies, exact=True)
    assert_close(here, there, tolerance=1e-5)  # another process may sum up in other threads


@pytest.mark.parametrize("env_id", ["AVE-Synthetic-v0", "AVE-ImageFolder-v0"])
def test_a_specification_from_json_makes_the_same_environment(packed, env_id):
    needs = {"data_root": packed} if env_id == "AVE-ImageFolder-v0" else {}
    env = gym.make(f"ave_env:{env_id}", encoder=None, wrap_azimuth=True, **needs)
    env = RecordEpisodeStatistics(TimeLimit(env, 6))
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.configuration == env.unwrapped.configuration
    assert again.spec == env.spec
    check_environments_match(
        env.unwrapped, again.unwrapped, 20, seed=0, info_comparison="equivalence"
    )


def test_human_rendering_can_be_wrapped_by_hand(screen):
    env = make(render_mode="rgb_array")
    env.metadata = {**env.metadata, "render_fps": 1000}
    env = HumanRendering(env)
    env.reset(seed=0)
    env.step(4)
    assert np.array_equal(screen(), env.unwrapped.render())
    env.close()

"""Stable-Baselines3's policies over what environments show, whatever the sensor."""

import os
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.torch_layers import NatureCNN
from tiny import MemoryScenes, tiny_encoder, tiny_env, tiny_vector_env

from agents import GlimpseFeatures, GlimpseVecEnv
from ave_env import ActiveExplorationEnv
from ave_env.spaces import SMALLEST_IMAGE_OF_SB3 as SMALLEST

ROOT = Path(__file__).parents[2]
LOOK = {"features_extractor_class": GlimpseFeatures}
EVERY_PART = ("latent", "logits", "entropy", "normalised_entropy", "cells", "reconstruction")


@pytest.mark.parametrize("algorithm", [PPO, A2C, DQN])
def test_every_algorithm_learns_from_every_part(algorithm):
    steps = {"buffer_size": 16} if algorithm is DQN else {"n_steps": 8}
    batches = {} if algorithm is A2C else {"batch_size": 8}
    env = tiny_env(observe=EVERY_PART)
    model = algorithm("MultiInputPolicy", env, policy_kwargs=LOOK, **steps, **batches, seed=0)
    model.learn(16)
    action, _ = model.predict(env.reset(seed=0)[0])
    assert env.action_space.contains(int(action))


@pytest.mark.parametrize("patch_size", [1, 2, 3, 4, 8, 16])
@pytest.mark.parametrize("glimpse_size", [1, 2, 4])
def test_a_glimpse_may_have_any_size(patch_size, glimpse_size):
    size = {"patch_size": patch_size, "image_size": (4 * patch_size, 6 * patch_size)}
    scenes = MemoryScenes(size["image_size"])
    env = ActiveExplorationEnv(scenes=scenes, encoder=None, glimpse_size=glimpse_size, **size)
    model = PPO("MultiInputPolicy", env, policy_kwargs=LOOK, n_steps=4, batch_size=4)
    model.learn(4)
    parts = model.policy.features_extractor.parts
    assert parts.keys() == env.observation_space.spaces.keys()


@pytest.mark.parametrize("name", ["offgrid:OffgridSensor", "continuous:ContinuousSensor"])
def test_sensors_of_ones_own_are_learnt_from(name, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "examples" / "plugins"))
    env = tiny_env(sensor=name)
    PPO("MultiInputPolicy", env, policy_kwargs=LOOK, n_steps=4, batch_size=4).learn(4)


def test_every_part_of_an_observation_matters():
    env = tiny_env(observe=EVERY_PART)
    policy = PPO("MultiInputPolicy", env, policy_kwargs=LOOK, n_steps=4, batch_size=4).policy
    env.reset(seed=0)
    observation = env.step(3)[0]
    tensors, _ = policy.obs_to_tensor(observation)
    with torch.no_grad():
        before = policy.extract_features(tensors, policy.features_extractor)
        assert before.shape == (1, policy.features_extractor.features_dim)
        for name in observation:
            changed = {**tensors, name: tensors[name] + 1}
            after = policy.extract_features(changed, policy.features_extractor)
            assert not torch.equal(after, before), name


def test_masks_keep_a_policy_on_the_batched_environment_from_looking_twice():
    env = tiny_vector_env(4, autoreset_mode="SAME_STEP")
    wrapped = GlimpseVecEnv(env)
    model = MaskablePPO("MultiInputPolicy", wrapped, policy_kwargs=LOOK, n_steps=4, batch_size=16)
    model.learn(32)
    observation = wrapped.reset()
    for _ in range(env.num_glimpses - 1):
        masks = env.action_masks()
        actions, _ = model.predict(observation, action_masks=masks)
        assert masks[np.arange(4), actions].all()
        before = env.visited.sum(axis=(1, 2))
        observation, *_ = wrapped.step(actions)
        assert (env.visited.sum(axis=(1, 2)) > before).all()


def test_flat_observations_are_refused_with_a_sentence():
    with pytest.raises(ValueError, match=r"GlimpseFeatures reads a dictionary.*MlpPolicy"):
        GlimpseFeatures(gym.spaces.Box(-1, 1, (3,)))
    with pytest.raises(ValueError, match=r"'where' is Discrete\(3\)"):
        GlimpseFeatures(gym.spaces.Dict({"where": gym.spaces.Discrete(3)}))


HINTED = """
import warnings
from stable_baselines3 import PPO
import ave_env, gymnasium
def hints(policy_kwargs=None, **settings):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env = gymnasium.make("AVE-Synthetic-v0", encoder=None, **settings)
        assert not caught
        try:
            PPO("MultiInputPolicy", env, policy_kwargs=policy_kwargs)
        except RuntimeError as error:
            assert "Kernel size" in str(error)
    return [each for each in caught if "36x36" in str(each.message)]
small, = hints()
assert "'glimpse' has 32x32" in str(small.message), small
assert "agents.GlimpseFeatures" in str(small.message), small
assert small.filename == "<string>", small  # the line that makes the policy
assert hints(glimpse_size=3) == []
import agents
assert hints({"features_extractor_class": agents.GlimpseFeatures}) == []
"""


def test_the_hint_is_about_images_that_are_really_too_small():
    NatureCNN(gym.spaces.Box(0, 255, (3, SMALLEST, SMALLEST), np.uint8))
    with pytest.raises(RuntimeError, match="Kernel size"):
        NatureCNN(gym.spaces.Box(0, 255, (3, SMALLEST - 1, SMALLEST), np.uint8))


def test_who_has_stable_baselines_alone_is_told_what_to_pass():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", HINTED], env=environment, check=True, timeout=300)


def test_the_batched_environment_trains_on_glimpses_as_they_are():
    encoder = tiny_encoder()
    env = tiny_vector_env(2, encoder=encoder, autoreset_mode="SAME_STEP")
    model = PPO("MultiInputPolicy", GlimpseVecEnv(env), policy_kwargs=LOOK, n_steps=4, batch_size=8)
    model.learn(8)
    assert model.num_timesteps == 8

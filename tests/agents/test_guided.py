"""What guided learning promises: teachers, look-ahead, the first glimpse, and whole runs."""

from __future__ import annotations

import copy
import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import CLASS_NAMES, MemoryScenes, raises_naming, tiny_encoder, tiny_vector_env
from torch.utils.flop_counter import FlopCounterMode

import agents
from agents.learning.guided.agent import GuidedAgent
from agents.learning.guided.config import GuidedConfig
from agents.learning.guided.first_glimpse import FirstGlimpses
from agents.learning.guided.imitation import Imitation
from agents.learning.guided.learner import GuidedLearner, make_policy
from agents.learning.guided.look_ahead import LookAhead
from agents.learning.guided.teachers import ErrorTeacher, SaliencyTeacher, find_teacher
from agents.learning.ppo.config import PpoConfig
from agents.learning.ppo.learner import PpoLearner
from agents.learning.record import read_agent
from agents.learning.windows.agent import OBSERVABLES
from agents.learning.windows.policy import WindowPolicyConfig
from ave_env.tasks.base import Task

ROWS, STEPS = 4, 4
SMALL = {"policy_width": 8, "policy_overview": 6, "policy_surroundings": 5}
CONFIG = GuidedConfig(batch_size=16, n_epochs=2, precision="float32", **SMALL)


class SeamlessScenes(MemoryScenes):
    """Whose left and right edges meet."""

    seamless = True


def training_env(**options):
    return tiny_vector_env(ROWS, observe=OBSERVABLES, autoreset_mode="SAME_STEP", **options)


def begun(**options):
    env = training_env(**options)
    env.reset(seed=5)
    return env


# The first glimpse -------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_the_window_whose_episodes_went_best_is_left(num_windows, seed):
    generator = torch.Generator().manual_seed(seed)
    worth = torch.rand(num_windows, generator=generator)
    first = FirstGlimpses(num_windows)
    for progress in np.linspace(0, 1, 30):
        windows = first.draw(2 * num_windows, generator)
        drawn = torch.bincount(windows, minlength=num_windows)[first.competing]
        assert int(drawn.max() - drawn.min()) <= 1
        first.learn(windows, worth[windows])
        first.narrow(float(progress))
    assert first.competing.tolist() == [int(worth.argmax())]
    assert first.targets.argmax() == worth.argmax()


def test_windows_that_were_not_tried_are_not_dropped_for_it():
    first = FirstGlimpses(4)
    first.learn(torch.tensor([0, 1]), torch.tensor([1.0, 2.0]))
    first.narrow(0.5)
    assert sorted(first.competing.tolist()) == [2, 3]


# Teachers ----------------------------------------------------------------------------------------


def test_saliency_is_gradient_times_embedding_and_is_computed_once_per_scene():
    env = begun()
    teacher = SaliencyTeacher(env, "float32")
    worth = teacher.worth()
    encoder = env.observer.encoder
    for row in range(ROWS):
        pixels = torch.from_numpy(env.images[row : row + 1].copy()).permute(0, 3, 1, 2)
        embedded = encoder.embed(encoder.normalise(pixels)).detach()
        label = int(env.labels[row])

        def log_probability(values, label=label):
            logits = encoder.forward_embedded(values, outputs=("logits",)).logits
            return logits.log_softmax(1)[0, label]

        gradient = torch.autograd.functional.jacobian(log_probability, embedded)
        expected = (gradient * embedded).square().sum(2).sqrt()[0]
        torch.testing.assert_close(worth[row], expected / expected.max(), rtol=1e-4, atol=1e-5)
    per_scene = teacher.flops // len(set(env.scene_ids.tolist()))
    assert per_scene > 0
    before = teacher.flops
    assert torch.equal(teacher.worth(), worth)
    assert teacher.flops == before


def test_whole_scenes_through_embeddings_are_whole_scenes():
    encoder = tiny_encoder()
    images = torch.rand(3, 3, 64, 96)
    names = ("latent", "logits", "cells", "entropy")
    direct = encoder.forward_full(images, names)
    through = encoder.forward_embedded(encoder.embed(images), names)
    for name in names:
        torch.testing.assert_close(through[name], direct[name])


def test_the_error_is_that_of_every_patch():
    env = begun(task="reconstruction")
    env.step(env.action_space.sample())
    worth = ErrorTeacher(env, "float32").worth().numpy()
    painted = env.belief["pixels"].astype(float)
    for row, (top, left) in ((0, (0, 0)), (1, (2, 3)), (3, (3, 5))):
        patch = np.s_[row, 16 * top : 16 * top + 16, 16 * left : 16 * left + 16]
        expected = ((painted[patch] - env.images[patch].astype(float)) ** 2).mean()
        assert worth[row, top * 6 + left] == pytest.approx(expected, rel=1e-5)


class Brightness(Task):
    """A task of somebody else's, of which no teacher knows."""

    name = "brightness"
    requires = ("logits",)

    def score(self, belief, truth):
        return belief["logits"][:, 0].astype(np.float64)

    def measure(self, belief, truth):
        return {}


def test_tasks_and_encoders_without_a_teacher_are_learnt_by_looking_ahead(recwarn):
    env = training_env()
    env.task = Brightness()
    with pytest.warns(UserWarning, match=r"no teacher .*'brightness'.*look-ahead"):
        assert find_teacher(env, CONFIG) is None
    env = training_env()
    config = env.observer.encoder.config
    told = {"config": config, "family": "other", "outputs": ()}
    kind = type("OtherEncoder", (), {**told, "resolve_options": lambda self, options: options})
    env.observer.encoder = kind()
    with pytest.warns(UserWarning, match=r"'tiny' of family 'other'.*look-ahead"):
        assert find_teacher(env, CONFIG) is None
    recwarn.clear()
    assert find_teacher(env, dataclasses.replace(CONFIG, look_ahead_share=1.0)) is None
    assert not recwarn.list


# Looking ahead -----------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["classification", "reconstruction"])
def test_gains_are_the_rewards_of_the_glimpses_and_change_nothing(task):
    env = begun(task=task)
    env.step(np.array([0, 3, 7, 14]))
    windows = torch.tensor([[0, 5, 9], [3, 4, 14], [0, 8, 1], [14, 13, 2]])  # seen ones among them
    look_ahead = LookAhead(env, "float32")
    before = copy.deepcopy(dict(env.belief))
    rows = torch.tensor([2, 0, 1, 3])
    gains = look_ahead.gains(rows, windows[rows])[rows.argsort()]
    for name, value in before.items():
        np.testing.assert_array_equal(env.belief[name], value)
    assert gains[0, 0] == pytest.approx(0, abs=1e-6)
    tokens = int(env.observer.tokens.sum())
    spent = 0
    for column in range(3):
        other = begun(task=task)
        other.step(np.array([0, 3, 7, 14]))
        _, rewards, _, _, info = other.step(windows[:, column].numpy())
        np.testing.assert_allclose(gains[:, column].numpy(), rewards, atol=2e-4)
        spent += int(info["flops"].sum())
    assert int(env.observer.tokens.sum()) == tokens
    if task == "classification":  # no more is asked than logits, where the environment shows cells
        assert 0 < look_ahead.flops < spent
    else:
        assert look_ahead.flops > 0


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_looking_ahead_weighs_the_windows_it_tried_by_their_gains(share):
    env = begun()
    policy = make_policy(env, WindowPolicyConfig(width=8), seed=0)
    config = dataclasses.replace(CONFIG, look_ahead_windows=6, look_ahead_rows=share)
    imitation = Imitation(env, policy, None, config, seed=0)
    observation, *_ = env.step(np.array([0, 3, 7, 14]))
    logits = torch.randn(ROWS, env.sensor.num_actions)
    logits[env.sensor.reveals(env.visited) == 0] = -1e9
    visited = torch.from_numpy(observation["visited"])
    targets, considered = imitation._by_looking_ahead(logits, visited)
    looked = int(share * ROWS)
    rows = torch.from_numpy(env.scores.argsort()[:looked].copy())
    assert considered.sum(1)[rows].tolist() == [6] * looked
    assert int(considered.sum()) == 6 * looked
    torch.testing.assert_close(targets[rows].sum(1), torch.ones(looked))
    windows = considered[rows].nonzero()[:, 1].view(looked, 6)
    gains = LookAhead(env, "float32").gains(rows, windows)
    expected = (gains / config.look_ahead_temperature).softmax(1)
    torch.testing.assert_close(targets[rows].gather(1, windows), expected, atol=1e-4, rtol=1e-3)
    assert considered[rows].gather(1, logits[rows].topk(4, dim=1).indices).all()


# Whole runs --------------------------------------------------------------------------------------


def test_a_policy_learns_what_its_teacher_says():
    env = training_env()
    config = dataclasses.replace(CONFIG, learning_rate=1e-2, first_glimpse_share=0.3)
    learner = GuidedLearner(env, config, seed=1)
    imitation = learner._imitation
    losses = []
    learner.log = lambda values: losses.append(values["guided/cross_entropy"])  # type: ignore[method-assign]
    learner.learn(60 * ROWS * STEPS)
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.3
    assert imitation.first_glimpses.competing.shape == (1,)
    prior = training_env().reset(seed=0)[0]
    first = learner.policy.predict({key: prior[key] for key in learner.policy.observation_space})[0]
    assert first.tolist() == imitation.first_glimpses.competing.tolist() * ROWS


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_saved_agent_acts_as_its_policy_and_says_how_it_was_guided(tmp_path, share):
    env = training_env()
    config = dataclasses.replace(CONFIG, look_ahead_share=share, first_glimpse_share=0.0)
    learner = GuidedLearner(env, config, seed=1)
    learner.learn(4 * ROWS * STEPS)
    learner.save(tmp_path)
    guidance = read_agent(tmp_path)["guidance"]
    assert guidance["teacher"] == ("look-ahead" if share == 1 else "saliency")
    assert guidance["timesteps"] == 4 * ROWS * STEPS
    flops = guidance["flops"]
    assert (flops["teacher"] > 0) == (share < 1)
    assert (flops["look_ahead"] > 0) == (share > 0)
    agent = agents.make_agent(tmp_path, env)
    assert isinstance(agent, GuidedAgent)
    assert agents.make_agent("guided", env, folder=tmp_path).name == "guided"
    observation, _ = env.reset(seed=9)
    chosen, _ = agent.predict(observation)
    own, _ = learner.policy.predict(
        {
            key: observation[key]
            for key in env.single_observation_space
            if key in learner.policy.observation_space.spaces
        },
        deterministic=True,
    )
    np.testing.assert_array_equal(chosen, own)


def interrupted_and_resumed(make, folder, total):
    """Learns in two goes, with a resume between them from the middle of a stretch."""
    learner = make(seed=3)
    step = learner.env.step

    def interrupted(actions):
        if learner.num_timesteps >= total // 2 and learner.env._episodes.steps[0] == 2:
            raise KeyboardInterrupt
        return step(actions)

    learner.env.step = interrupted
    with pytest.raises(KeyboardInterrupt):
        learner.learn(total)
    learner.save(folder)
    learner.save_state(folder)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - the state that must not matter
    resumed = make(seed=77)
    resumed.load_state(folder)
    resumed.learn(total)
    return resumed


@pytest.mark.parametrize("kind", ["guided", "ppo in its guided part", "ppo after it"])
def test_a_resumed_run_ends_as_one_without_a_stop(tmp_path, kind):
    total = 8 * ROWS * STEPS

    def make(seed):
        if kind == "guided":
            config = dataclasses.replace(CONFIG, look_ahead_share=0.4)
            return GuidedLearner(training_env(), config, seed=seed)
        share = 0.8 if kind == "ppo in its guided part" else 0.3
        config = PpoConfig(
            batch_size=16, guided_batch_size=16, guided_share=share, precision="float32", **SMALL
        )
        return PpoLearner(training_env(), config, seed=seed)

    whole = make(seed=3)
    whole.learn(total)
    resumed = interrupted_and_resumed(make, tmp_path, total)
    assert resumed.num_timesteps == whole.num_timesteps == total
    for name, value in whole.policy.state_dict().items():
        assert torch.equal(value, resumed.policy.state_dict()[name]), name
    assert whole._learning_record() == resumed._learning_record()


def test_a_state_of_another_policy_is_refused_in_a_sentence(tmp_path):
    learner = GuidedLearner(training_env(), CONFIG, seed=1)
    learner.save(tmp_path)
    learner.save_state(tmp_path)
    wider = dataclasses.replace(CONFIG, policy_width=9)
    with raises_naming(ValueError, ["training_state.pt", "another policy", "--init-from"]):
        GuidedLearner(training_env(), wider, seed=1).load_state(tmp_path)


@pytest.mark.parametrize("config", [GuidedConfig, PpoConfig])
def test_no_policy_is_trained_in_eight_bits(config):
    with raises_naming(ValueError, ["precision='int8'", "float32, bfloat16, auto"]):
        config(precision="int8")


def test_ppo_goes_on_from_its_guided_start(tmp_path):
    config = PpoConfig(
        batch_size=16, guided_batch_size=16, guided_share=0.5, precision="float32", **SMALL
    )
    learner = PpoLearner(training_env(), config, seed=0, tensorboard_log=str(tmp_path / "events"))
    seen = []
    learner.learn(
        8 * ROWS * STEPS, lambda: seen.append((learner.num_timesteps, learner.model._n_updates))
    )
    steps, updates = zip(*seen, strict=True)
    assert steps == tuple(range(0, 8 * ROWS * STEPS, ROWS * STEPS))
    assert updates[4] == 0 < updates[5]  # of PPO
    learner.save(tmp_path)
    description = json.loads((tmp_path / "agent.json").read_text())
    assert description["guidance"]["timesteps"] == 4 * ROWS * STEPS
    assert description["timesteps"] == 8 * ROWS * STEPS
    assert len(list((tmp_path / "events").iterdir())) == 1


def test_ppo_starts_from_a_guided_agent(tmp_path):
    guided = GuidedLearner(training_env(), CONFIG, seed=1)
    guided.save(tmp_path)
    config = PpoConfig(batch_size=16, guided_share=0, **SMALL)
    ppo = PpoLearner(training_env(), config, seed=2)
    ppo.init_from(tmp_path)
    for name, value in guided.policy.state_dict().items():
        assert torch.equal(value, ppo.policy.state_dict()[name]), name
    narrower = dataclasses.replace(config, policy_overview=0)
    with raises_naming(ValueError, ["policy_overview=6", "policy_overview=0"]):
        PpoLearner(training_env(), narrower, seed=2).init_from(tmp_path)


def test_errors_of_reconstruction_guide_too():
    env = training_env(task="reconstruction", scenes=MemoryScenes(), encoder=tiny_encoder())
    learner = GuidedLearner(env, CONFIG, seed=1)
    learner.learn(2 * ROWS * STEPS)
    assert learner._learning_record()["guidance"]["teacher"] == "error"


def test_saliency_needs_a_class_head():
    encoder = tiny_encoder(class_names=CLASS_NAMES)
    from encoders.analysis.saliency import ClassSaliency

    headless = type("Headless", (), {"embed": 1, "forward_embedded": 1})()
    headless.config, headless.family, headless.outputs = encoder.config, "tore", ("latent",)
    with raises_naming(ValueError, ["'tiny'", "no class head"]):
        ClassSaliency(headless)


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("widths", [(6, 0), (0, 5), (6, 5)])
def test_flops_of_a_policy_with_an_overview_are_those_of_its_forward_pass(widths, wrap):
    env = training_env(wrap_azimuth=wrap, scenes=SeamlessScenes())
    overview, surroundings = widths
    config = WindowPolicyConfig(
        width=8,
        overview=overview,
        surroundings=surroundings,
        seamless=wrap,
        wrap_azimuth=wrap,
    )
    policy = make_policy(env, config, seed=0)
    observation, _ = env.reset(seed=1)
    batch = {key: torch.from_numpy(observation[key][:1]) for key in policy.observation_space}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        features = policy.extract_features(batch)
        logits = policy.mlp_extractor.forward_actor(features)
    assert logits.shape == (1, env.sensor.num_actions)
    assert counter.get_total_flops() == 2 * policy.flops_per_action

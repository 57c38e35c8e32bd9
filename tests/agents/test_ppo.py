"""What learning a policy promises."""

from __future__ import annotations

import dataclasses
import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.wrappers import FilterObservation
from safetensors.torch import load_file, save_file
from sb3_contrib import MaskablePPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import MemoryScenes, raises_naming, tiny_encoder, tiny_env, tiny_vector_env

from agents import GlimpseVecEnv, make_agent
from agents.commands.eval_options import RunOptions
from agents.evaluation.walk import evaluate
from agents.learning.checkpoints import Checkpoints
from agents.learning.history import Validation, ValidationHistory
from agents.learning.ppo.agent import PpoAgent
from agents.learning.ppo.config import PpoConfig
from agents.learning.ppo.learner import PpoLearner
from agents.learning.record import read_agent
from agents.learning.windows.agent import OBSERVABLES, POLICY_FILE
from agents.learning.windows.policy import POLICY_KEYS, WindowPolicy, WindowPolicyConfig
from ave_env.configuration import Configuration
from encoders.parts import part_hashes
from encoders.storage import weights_hash

CONFIG = PpoConfig(batch_size=16, n_epochs=2, policy_width=8, guided_share=0)
ROWS, STEPS = 4, 4  # one rollout is 16 environment steps


def training_env(**settings):
    return tiny_vector_env(ROWS, observe=OBSERVABLES, autoreset_mode="SAME_STEP", **settings)


def policy_for(env, **changes) -> WindowPolicy:
    torch.manual_seed(0)
    spaces = env.single_observation_space.spaces
    config = WindowPolicyConfig(
        glimpse_size=env.sensor.glimpse_size, wrap_azimuth=env.sensor.wrap_azimuth, width=8
    )
    return WindowPolicy(
        gym.spaces.Dict({key: spaces[key] for key in POLICY_KEYS}),
        env.single_action_space,
        lambda _: 1e-3,
        config,
        **changes,
    )


def random_beliefs(env, rows: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    spaces = env.single_observation_space.spaces
    return {
        key: torch.from_numpy(
            rng.integers(0, 2, (rows, *spaces[key].shape)).astype(np.uint8)
            if key == "visited"
            else rng.standard_normal((rows, *spaces[key].shape)).astype(np.float32)
        )
        for key in POLICY_KEYS
    }


def logits_of(policy, observation) -> torch.Tensor:
    with torch.no_grad():
        features = policy.extract_features(observation)
        return policy.mlp_extractor.forward_actor(features)


@pytest.mark.parametrize("wrap", [False, True])
def test_each_window_has_the_logit_of_its_own_cells(wrap):
    env = training_env(wrap_azimuth=wrap)
    policy = policy_for(env)
    observation = random_beliefs(env)
    observation["visited"].zero_()
    before = logits_of(policy, observation)
    assert before.shape == (3, env.sensor.num_actions)
    for cell in range(int(np.prod(env.sensor.grid))):
        changed = {key: value.clone() for key, value in observation.items()}
        changed["cells"].flatten(1, 2)[:, cell] += 1.0
        changed["cells"].flatten(1, 2)[:, cell, 0] += 3.0
        moved = (logits_of(policy, changed) != before).any(dim=0).numpy()
        ids = env.sensor.patch_ids(np.arange(env.sensor.num_actions))
        np.testing.assert_array_equal(moved, (ids == cell).any(axis=1))


@pytest.mark.parametrize("wrap", [False, True])
def test_windows_that_show_nothing_new_are_never_chosen(wrap):
    env = training_env(wrap_azimuth=wrap)
    policy = policy_for(env)
    observation = random_beliefs(env, rows=40)
    useful = env.sensor.reveals(observation["visited"].numpy()).astype(bool)
    probabilities = torch.softmax(logits_of(policy, observation), dim=1).numpy()
    some = useful.any(axis=1)
    assert some.any()
    assert (probabilities[some][~useful[some]] == 0).all()
    assert (probabilities[some][useful[some]] > 0).all()


def test_the_policys_flops_are_those_of_its_forward_pass():
    from torch.utils.flop_counter import FlopCounterMode

    env = training_env()
    policy = policy_for(env)
    with FlopCounterMode(display=False) as counter:
        logits_of(policy, random_beliefs(env, rows=1))
    assert counter.get_total_flops() == 2 * policy.flops_per_action


def test_training_leaves_the_encoder_alone_and_runs_it_once_per_step(monkeypatch):
    env = training_env()
    encoder = env.observer.encoder
    before = weights_hash(encoder)
    rows = []
    observe = encoder.observe
    monkeypatch.setattr(
        encoder,
        "observe",
        lambda patches, *a, **k: rows.append(len(patches)) or observe(patches, *a, **k),
    )
    trainer = PpoLearner(env, CONFIG)
    trainer.learn(4 * ROWS * STEPS)
    assert trainer.num_timesteps == 4 * ROWS * STEPS
    assert sum(rows) <= trainer.num_timesteps * (1 + 1 / STEPS)
    assert weights_hash(encoder) == before
    assert not encoder.training


def test_learning_changes_every_part_of_the_policy():
    trainer = PpoLearner(training_env(), CONFIG)
    before = {name: value.clone() for name, value in trainer.model.policy.state_dict().items()}
    trainer.learn(2 * ROWS * STEPS)
    after = trainer.model.policy.state_dict()
    # A bias common to all windows cancels in the softmax.
    still = [name for name in before if before[name].equal(after[name])]
    assert [name for name in still if name != "mlp_extractor.score.bias"] == []


def test_a_saved_agent_acts_as_it_did(tmp_path):
    env = training_env()
    trainer = PpoLearner(env, CONFIG)
    trainer.learn(ROWS * STEPS)
    trainer.save(tmp_path)
    agent = make_agent(tmp_path, env)
    observation, _ = env.reset(seed=5)
    expected, _ = trainer.model.predict(
        {key: observation[key] for key in POLICY_KEYS}, deterministic=True
    )
    np.testing.assert_array_equal(agent.predict(observation)[0], expected)
    assert agent.flops_per_action == trainer.model.policy.flops_per_action
    sampled = [tuple(agent.predict(observation, deterministic=False)[0]) for _ in range(20)]
    assert len(set(sampled)) > 1


def test_an_agent_refuses_beliefs_it_was_not_trained_on(tmp_path):
    env = training_env()
    PpoLearner(env, CONFIG).save(tmp_path)
    other = tiny_encoder()
    with torch.no_grad():
        other.backbone.vit.cls_token += 1
    with pytest.raises(ValueError, match=r"trained with encoder 'tiny'.* another backbone"):
        PpoAgent(training_env(encoder=other), tmp_path)
    with pytest.raises(
        ValueError, match="trained with split_block=2, the environment has split_block=1"
    ):
        PpoAgent(training_env(split_block=1), tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no agent\.json"):
        PpoAgent(env, tmp_path / "elsewhere")


def run(folder, halves: bool) -> PpoLearner:
    """Learns for eight rollouts; in two goes with a resume between them, or in one."""
    trainer = PpoLearner(training_env(), CONFIG, seed=3)
    total = 8 * ROWS * STEPS
    if not halves:
        trainer.learn(total)
        return trainer

    step = trainer.env.step

    def interrupted(actions):
        if trainer.num_timesteps > total / 2:  # in the middle of a rollout, as Ctrl-C would
            raise KeyboardInterrupt
        return step(actions)

    trainer.env.step = interrupted
    with pytest.raises(KeyboardInterrupt):
        trainer.learn(total)
    trainer.save(folder)
    trainer.save_state(folder)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - the state that must not matter
    resumed = PpoLearner(training_env(), CONFIG, seed=77)
    resumed.load_state(folder)
    resumed.learn(total)
    return resumed


@pytest.mark.parametrize(
    ("rows", "glimpses", "batch_size", "words"),
    [
        (1, 1, 16, ["num_envs=1", "num_glimpses=1", "a single step"]),
        (3, 3, 4, ["num_envs=3", "num_glimpses=3", "batch_size=4 leaves one"]),
    ],
)
def test_a_step_that_would_be_learnt_from_by_itself_is_refused(rows, glimpses, batch_size, words):
    env = tiny_vector_env(
        rows, observe=OBSERVABLES, autoreset_mode="SAME_STEP", num_glimpses=glimpses
    )
    with raises_naming(ValueError, [*words, "advantages of at least 2 steps"]):
        PpoLearner(env, dataclasses.replace(CONFIG, batch_size=batch_size))


def test_what_an_agent_was_trained_in_is_noted_and_taken_by_an_evaluation(tmp_path):
    env = training_env(overlap="keep", split_block=1, wrap_azimuth=True)
    PpoLearner(env, CONFIG).save(tmp_path)
    description = read_agent(tmp_path)
    noted = description["environment"]
    left_out = {"split", "seed", "observe", "cache_bytes", "device", "precision", "threads"}
    left_out |= {"encoder_options", "split_block"}  # with the encoder
    assert noted.keys() == {field.name for field in dataclasses.fields(Configuration)} - left_out
    assert description["encoder_parts"] == part_hashes(env.observer.encoder, OBSERVABLES)
    options = RunOptions(agents=(str(tmp_path),)).completed()
    assert (options.sensor, options.overlap, options.split_block) == ("grid", "keep", 1)
    assert (options.image_size, options.num_glimpses) == ((64, 96), 4)
    assert options.wrap_azimuth is True


def test_a_warm_start_takes_the_policy_and_nothing_else(tmp_path):
    first = PpoLearner(training_env(), CONFIG, seed=3)
    first.learn(2 * ROWS * STEPS)
    first.save(tmp_path)
    second = PpoLearner(training_env(), CONFIG, seed=4)
    second.init_from(tmp_path)
    for name, value in first.model.policy.state_dict().items():
        assert torch.equal(value, second.model.policy.state_dict()[name]), name
    assert second.num_timesteps == 0
    assert not second.model.policy.optimizer.state
    second.save(tmp_path / "second")
    assert read_agent(tmp_path / "second")["init_from"]["timesteps"] == 2 * ROWS * STEPS
    with raises_naming(ValueError, ["glimpse_size=2", "glimpse_size=3"]):
        PpoLearner(training_env(glimpse_size=3), CONFIG).init_from(tmp_path)
    size = (32, 96)
    there = {"scenes": MemoryScenes(size), "encoder": tiny_encoder(image_size=size)}
    smaller = training_env(image_size=size, **there)
    with raises_naming(ValueError, ["does not fit", "fits only where", "'tiny'"]):
        PpoLearner(smaller, CONFIG).init_from(tmp_path)
    with torch.no_grad():
        (changed := tiny_encoder()).backbone.vit.cls_token += 1
    with pytest.warns(UserWarning, match="other weights"):
        PpoLearner(training_env(encoder=changed), CONFIG).init_from(tmp_path)


def test_weights_of_another_shape_are_named(tmp_path):
    env = training_env()
    trainer = PpoLearner(env, CONFIG)
    trainer.save(tmp_path)
    weights = load_file(tmp_path / POLICY_FILE)
    weights["mlp_extractor.score.weight"] = weights["mlp_extractor.score.weight"][..., None, None]
    save_file(weights, tmp_path / POLICY_FILE)
    with pytest.raises(ValueError, match=r"does not fit: .*score\.weight"):
        PpoAgent(env, tmp_path)


def test_a_resumed_run_ends_as_one_without_a_stop(tmp_path):
    whole, resumed = run(tmp_path / "a", halves=False), run(tmp_path / "b", halves=True)
    assert whole.num_timesteps == resumed.num_timesteps
    other = resumed.model.policy.state_dict()
    for name, value in whole.model.policy.state_dict().items():
        assert torch.equal(value, other[name]), name


def test_resuming_needs_the_same_rows_and_a_state(tmp_path):
    trainer = PpoLearner(training_env(), CONFIG)
    with pytest.raises(FileNotFoundError, match=r"no training_state\.pt to resume from"):
        trainer.load_state(tmp_path)
    trainer.learn(ROWS * STEPS)
    trainer.save(tmp_path)
    trainer.save_state(tmp_path)
    wider = tiny_vector_env(5, observe=OBSERVABLES, autoreset_mode="SAME_STEP")
    with pytest.raises(ValueError, match="pass --n-envs 4"):
        PpoLearner(wider, CONFIG).load_state(tmp_path)


def checkpoints(trainer, folder, scores, history=None) -> Checkpoints:
    def validate():
        return Validation(next(scores), np.arange(3.0), np.full(3, STEPS), np.ones(3, bool))

    return Checkpoints(trainer, folder, validate, ROWS * STEPS, history)


def test_the_best_policy_is_kept_and_exploration_is_logged(tmp_path):
    trainer = PpoLearner(training_env(), CONFIG, tensorboard_log=str(tmp_path / "events"))
    scores = iter([0.5, 0.9, 0.1, 0.2])
    kept = checkpoints(trainer, tmp_path, scores)
    trainer.learn(4 * ROWS * STEPS, kept)
    best = json.loads((tmp_path / "best" / "agent.json").read_text())
    assert kept.history.best == 0.9
    assert best["timesteps"] == kept.history.timesteps[1] == 2 * ROWS * STEPS
    (file,) = (tmp_path / "events").rglob("events*")
    logged = EventAccumulator(str(file)).Reload().Tags()["scalars"]
    expected = {"coverage", "gflops_per_episode", "position_entropy", "revisits"}
    assert {f"exploration/{name}" for name in expected} <= set(logged)
    assert {"validation/score", "train/explained_variance", "train/entropy_loss"} <= set(logged)


def test_validations_are_kept_as_the_zoo_plots_them(tmp_path):
    trainer = PpoLearner(training_env(), CONFIG)
    trainer.learn(3 * ROWS * STEPS, checkpoints(trainer, tmp_path, iter([0.5, 0.9, 0.1])))
    with np.load(tmp_path / "evaluations.npz") as saved:
        assert saved["timesteps"].tolist() == [ROWS * STEPS, 2 * ROWS * STEPS]
        for name, kind in (("results", "f"), ("ep_lengths", "i"), ("successes", "b")):
            assert saved[name].shape == (2, 3)
            assert saved[name].dtype.kind == kind


def test_a_resumed_run_remembers_its_validations_up_to_where_it_continues(tmp_path):
    trainer = PpoLearner(training_env(), CONFIG)
    trainer.learn(4 * ROWS * STEPS, checkpoints(trainer, tmp_path, iter([0.5, 0.9, 0.1])))
    resumed = PpoLearner(training_env(), CONFIG)
    resumed.load_state(tmp_path)  # saved with the last validation
    history = ValidationHistory.load(tmp_path, resumed.num_timesteps)
    assert [each.score for each in history.validations] == [0.5, 0.9, 0.1]
    kept = checkpoints(resumed, tmp_path, iter([0.3]), history)
    resumed.learn(5 * ROWS * STEPS, kept)
    assert kept.history.timesteps == [n * ROWS * STEPS for n in (1, 2, 3, 4)]
    best = json.loads((tmp_path / "best" / "agent.json").read_text())
    assert best["timesteps"] == 2 * ROWS * STEPS  # a worse one after the resume is not kept
    earlier = ValidationHistory.load(tmp_path, 2 * ROWS * STEPS)
    assert [each.score for each in earlier.validations] == [0.5, 0.9]


def test_validating_leaves_the_training_as_it_was(tmp_path):
    weights = []
    for often in (False, True):
        env = training_env()
        trainer = PpoLearner(env, CONFIG, seed=3)
        held_out = tiny_vector_env(3, observe=OBSERVABLES, autoreset_mode="DISABLED")

        def validate(held_out=held_out):
            agent = PpoAgent(held_out, tmp_path)
            return Validation.of(evaluate(agent, held_out, progress=False))

        every = ROWS * STEPS if often else 100 * ROWS * STEPS
        callback = Checkpoints(trainer, tmp_path, validate, every)
        trainer.learn(4 * ROWS * STEPS, callback)
        assert len(callback.history.timesteps) == (3 if often else 0)
        weights.append(trainer.model.policy.state_dict())
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


def test_sb3_needs_the_mode_it_works_in():
    with pytest.raises(ValueError, match="SAME_STEP"):
        GlimpseVecEnv(tiny_vector_env(2))
    with pytest.raises(ValueError, match=r"no \['colour'\]"):
        GlimpseVecEnv(tiny_vector_env(2, autoreset_mode="SAME_STEP"), keys=["colour"])


def test_each_row_gets_its_own_reset_options_once():
    env = tiny_vector_env(4, autoreset_mode="SAME_STEP")
    wrapped = VecMonitor(GlimpseVecEnv(env))
    drawn = tiny_vector_env(4, autoreset_mode="SAME_STEP")

    def begin(options) -> list:
        wrapped.seed(3)
        wrapped.set_options(options)
        wrapped.reset()
        return env.scene_ids.tolist()

    drawn.reset(seed=3)
    assert begin([{"scene_id": row} for row in (5, 3, 1, 7)]) == [5, 3, 1, 7]
    scenes = drawn.scene_ids.tolist()
    assert begin([{}, {"scene_id": 6}, {}, {}]) == [scenes[0], 6, *scenes[2:]]
    assert begin({"scene_id": 2}) == [2] * 4
    assert begin([{}, {"start": 3}, None, {"scene_id": 1, "start": 0}])[3] == 1
    assert (env.visited.any(axis=(1, 2))).tolist() == [False, True, False, True]
    assert begin(None) == scenes  # options are used once
    wrapped.reset()
    assert not env.visited.any()
    wrapped.set_options([{}, {"scene": 1}, {}, {}])
    with pytest.raises(ValueError, match=r"row 1.*\['scene'\].*scene_id, start"):
        wrapped.reset()
    wrapped.reset()


def test_options_and_seeds_hold_for_one_episode_as_in_sb3():
    """Beside SB3's own vector of single environments, over the ends of episodes."""
    ours = GlimpseVecEnv(tiny_vector_env(2, autoreset_mode="SAME_STEP"))
    theirs = DummyVecEnv([tiny_env, tiny_env])
    for envs in (ours, theirs):
        envs.seed(3)
        envs.set_options([{}, {"scene_id": 6}])
    compare = [(ours.reset(), theirs.reset())]
    for step in range(2 * ours.env.num_glimpses):
        actions = np.array([step % 15, (3 * step) % 15])
        compare.append((ours.step(actions)[0], theirs.step(actions)[0]))
    for one, other in compare:
        for key, values in one.items():
            np.testing.assert_allclose(values, other[key], rtol=1e-4, atol=1e-5, err_msg=key)


def test_an_ended_row_reports_its_episode():
    env = tiny_vector_env(3, autoreset_mode="SAME_STEP")
    wrapped = VecMonitor(GlimpseVecEnv(env))
    wrapped.seed(1)
    wrapped.reset()
    total = np.zeros(3)
    for step in range(env.num_glimpses):
        observation, rewards, dones, infos = wrapped.step(np.full(3, step))
        total += rewards
    assert dones.all()
    for row, info in enumerate(infos):
        assert info["episode"]["l"] == env.num_glimpses
        assert info["episode"]["r"] == pytest.approx(total[row], abs=1e-5)
        assert info["terminal_observation"]["progress"] == 1.0
        assert observation["progress"][row] == 0.0
        assert info["TimeLimit.truncated"] is False
    assert np.stack(wrapped.env_method("action_masks")).shape == (3, env.sensor.num_actions)


@pytest.mark.parametrize("vectorised", [False, True])
def test_maskable_ppo_takes_its_masks_from_the_environment(vectorised):
    # SB3's own network for images wants at least 36 pixels, so it gets no glimpses here.
    if vectorised:
        env = GlimpseVecEnv(training_env(), POLICY_KEYS)
        masks_of = env.env.action_masks
    else:
        env = FilterObservation(tiny_env(observe=OBSERVABLES), POLICY_KEYS)
        masks_of = env.unwrapped.action_masks
    model = MaskablePPO("MultiInputPolicy", env, n_steps=8, batch_size=8)
    model.learn(64)
    observation = env.reset() if vectorised else env.reset(seed=0)[0]
    masks = masks_of()
    actions, _ = model.predict(observation, action_masks=masks)
    assert np.take_along_axis(np.atleast_2d(masks), np.atleast_2d(actions).T, axis=1).all()

"""What environments promise when an encoder watches: belief, rewards, compute, and no leaks."""

import copy
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env, data_equivalence
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3
from tiny import IMAGE_SIZE, OWN_TASKS, SETTINGS, MemoryScenes, raises_naming, tiny_encoder

import encoders
from ave_env import ActiveExplorationEnv, ActiveExplorationVectorEnv
from ave_env.configuration import OBSERVABLES
from ave_env.registration import ENVIRONMENTS

OF_TORE = tuple(name for name in OBSERVABLES if name != "regions")  # it has none

FLOPS = ("flops_extractor", "flops_aggregator", "flops_decoder", "flops_head")
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoder()


def make(encoder, **settings_):
    settings_ = {"scenes": MemoryScenes(), **SETTINGS, **settings_}
    return ActiveExplorationEnv(encoder=encoder, **settings_)


def make_vector(num_envs, encoder, **settings_):
    settings_ = {"scenes": MemoryScenes(), **SETTINGS, **settings_}
    return ActiveExplorationVectorEnv(num_envs, encoder=encoder, **settings_)


def assert_close(ours, theirs):
    assert set(ours) == set(theirs)
    for key, values in ours.items():
        np.testing.assert_allclose(values, theirs[key], err_msg=key, **TOLERANCE)


def normalised_patches(encoder, image, patch_ids):
    """Patches of a scene cut out and normalised one by one."""
    columns, side = encoder.grid[1], encoder.config.patch_size
    patches = []
    for row, column in (divmod(int(patch), columns) for patch in patch_ids):
        patch = image[row * side : (row + 1) * side, column * side : (column + 1) * side]
        patches.append((patch / 255.0 - encoder.config.mean) / encoder.config.std)
    return torch.tensor(np.array(patches), dtype=torch.float32).permute(0, 3, 1, 2)


# Checkers --------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:THE WEIGHTS OF", "ignore:the class head", "ignore:NO SUN360")
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("task", OWN_TASKS)
@pytest.mark.parametrize("env_id", sorted(ENVIRONMENTS))
def test_gymnasium_finds_nothing_to_complain_about(tmp_path, env_id, task):
    defaults = ENVIRONMENTS[env_id]
    size = tuple(defaults.get("image_size", (128, 256)))
    folder = tmp_path / "encoder"
    encoders.checkpoints.save_encoder(tiny_encoder(image_size=size, depth=2), folder)
    env = gym.make(
        env_id,
        scenes=MemoryScenes(size, count=3),
        encoder=str(folder),
        task=task,
        observe=OF_TORE,
    )
    check_env(env.unwrapped)


@pytest.mark.filterwarnings("ignore:.*(minimal resolution|unconventional shape|is an image but)")
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("task", OWN_TASKS)
def test_sb3_finds_nothing_to_complain_about(encoder, task):
    check_env_for_sb3(make(encoder, task=task, observe=OF_TORE))


# Belief ----------------------------------------------------------------------------------------


def test_the_belief_is_the_encoders(encoder):
    env = make(encoder, observe=("latent", "logits", "entropy", "cells"), split_block=2)
    _, info = env.reset(seed=0)
    image = env.scenes.images[info["scene_id"]]
    state, known = encoder.init_state(1), set()
    for action in (0, 1, 8, 14):
        observation, *_ = env.step(action)
        ids = [i for i in env.sensor.patch_ids(np.array([action]))[0].tolist() if i not in known]
        known |= set(ids)
        belief, state = encoder.observe(
            normalised_patches(encoder, image, ids)[None],
            torch.tensor([ids]),
            state,
            split_block=2,
            outputs=("latent", "logits", "entropy", "cells"),
        )
        for name in ("latent", "logits", "entropy", "cells"):
            np.testing.assert_allclose(
                observation[name], getattr(belief, name)[0].numpy(), **TOLERANCE
            )


def test_observations_hold_what_is_asked_for_and_no_more(encoder):
    always = {"glimpse", "position", "visited", "progress"}
    for observe in ((), ("cells",), ("latent", "reconstruction")):
        env = make(encoder, observe=observe, task="reconstruction")
        observation, _ = env.reset(seed=0)
        assert set(observation) == always | set(observe)
        assert observation in env.observation_space
        assert env.step(3)[0] in env.observation_space


def test_the_belief_before_any_glimpse_is_the_same_for_all_scenes_and_costs_nothing(encoder):
    envs = make_vector(3, encoder, observe=OF_TORE)
    observation, info = envs.reset(seed=0)
    assert len(set(info["scene_id"])) > 1
    for values in observation.values():
        assert (values == values[:1]).all()
    prior = encoder.prior(("latent", "logits"))
    expected = prior.latent[0].numpy()
    np.testing.assert_allclose(observation["latent"][0], expected, rtol=1e-5, atol=1e-5)
    assert not info["flops_total"].any()
    for _ in range(4):
        envs.step(np.array([0, 3, 9]))
    again, *_ = envs.step(np.array([0, 0, 0]))
    assert data_equivalence(again, observation, exact=True), "nothing of an episode is left over"


@pytest.mark.parametrize("num_envs", [1, 3, 16])
@pytest.mark.parametrize("task", OWN_TASKS)
def test_row_i_equals_a_single_environment_seeded_seed_plus_i(encoder, num_envs, task):
    envs = make_vector(num_envs, encoder, task=task, autoreset_mode="SAME_STEP")
    singles = [make(encoder, task=task) for _ in range(num_envs)]
    observation, info = envs.reset(seed=8)
    expected = [env.reset(seed=8 + row) for row, env in enumerate(singles)]
    rng = np.random.default_rng(0)
    for _ in range(9):
        for row, (row_observation, row_info) in enumerate(expected):
            assert_close({key: values[row] for key, values in observation.items()}, row_observation)
            for name in FLOPS:
                assert info[name][row] == row_info[name]
        actions = rng.integers(0, 15, num_envs)
        observation, rewards, terminations, _, info = envs.step(actions)
        for row, env in enumerate(singles):
            *seen, reward, terminated, _, row_info = env.step(actions[row])
            np.testing.assert_allclose(rewards[row], reward, rtol=1e-4, atol=1e-4)
            assert terminations[row] == terminated
            expected[row] = env.reset() if terminated else (seen[0], row_info)


def test_rows_that_end_early_do_not_disturb_the_others(encoder):
    envs = make_vector(3, encoder, autoreset_mode="DISABLED")
    calm = make_vector(3, encoder, autoreset_mode="DISABLED")
    options = {"scene_id": np.array([1, 2, 3])}
    envs.reset(options=options)
    calm.reset(options=options)
    for actions in ([0, 5, 9], [3, 6, 14]):
        envs.step(np.array(actions))
        calm.step(np.array(actions))
    envs.reset(options={"reset_mask": np.array([True, False, False]), "scene_id": 7})
    ours, *_ = envs.step(np.array([4, 2, 0]))
    theirs, *_ = calm.step(np.array([4, 2, 0]))
    assert_close(
        {key: values[1:] for key, values in ours.items()},
        {key: values[1:] for key, values in theirs.items()},
    )
    single = make(encoder)
    single.reset(options={"scene_id": 7})
    assert_close({key: values[0] for key, values in ours.items()}, single.step(4)[0])


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda envs: pickle.loads(pickle.dumps(envs))]
)
def test_a_copy_made_in_mid_episode_goes_on_alike(encoder, duplicate):
    envs = make_vector(2, encoder, observe=("latent", "cells"))
    envs.reset(seed=3)
    envs.step(np.array([4, 5]))
    twin = duplicate(envs)
    for actions in np.random.default_rng(0).integers(0, 15, (7, 2)):
        assert data_equivalence(envs.step(actions), twin.step(actions), exact=True)


@given(seed=st.integers(0, 2**32 - 1), actions=st.lists(st.integers(0, 14), max_size=4))
@settings(max_examples=15, deadline=None)
@pytest.mark.parametrize("task", OWN_TASKS)
def test_no_observation_depends_on_unseen_pixels(encoder, task, seed, actions):
    scenes = MemoryScenes()
    env = make(encoder, scenes=scenes, task=task, observe=OF_TORE)
    options = {"scene_id": 3}
    reference = [env.reset(options=options)[0]] + [env.step(action)[0] for action in actions]
    seen = np.zeros(env.sensor.grid, bool)
    if actions:
        seen.flat[env.sensor.patch_ids(np.array(actions))] = True
    unseen = ~seen.repeat(16, axis=0).repeat(16, axis=1)
    noise = np.random.default_rng(seed).integers(0, 256, scenes.images[3].shape, dtype=np.uint8)
    scenes.images[3][unseen] = noise[unseen]
    changed = [env.reset(options=options)[0]] + [env.step(action)[0] for action in actions]
    assert data_equivalence(reference, changed, exact=True)


# Tasks -----------------------------------------------------------------------------------------


def test_classification_rewards_add_up_to_the_gain_in_log_probability(encoder):
    env = make(encoder)
    observation, info = env.reset(seed=2)

    def log_probability():
        return torch.log_softmax(torch.tensor(observation["logits"]).double(), 0)[info["label"]]

    first, total = log_probability(), 0.0
    for action in (0, 3, 9, 14):
        observation, reward, terminated, _, info = env.step(action)
        total += reward
        assert info["prediction"] == observation["logits"].argmax()
        assert info["is_success"] == (terminated and info["prediction"] == info["label"])
    assert total == pytest.approx(float(log_probability() - first), abs=1e-9)


def test_a_right_answer_at_the_end_is_a_success(encoder):
    scenes = MemoryScenes()
    env = make(encoder, scenes=scenes)
    env.reset(options={"scene_id": 0})
    *_, info = [env.step(action) for action in (0, 3, 9, 14)][-1]
    scenes.labels[0] = info["prediction"]
    env.reset(options={"scene_id": 0})
    infos = [env.step(action)[4] for action in (0, 3, 9, 14)]
    assert [info["is_success"] for info in infos] == [False, False, False, True]


def test_reconstruction_rewards_are_drops_of_the_overall_error(encoder):
    env = make(encoder, task="reconstruction", observe=("reconstruction",))
    observation, info = env.reset(seed=2)
    errors = [info["rmse"]]
    for action in (0, 3, 3, 14):
        observation, reward, _, _, info = env.step(action)
        image, painted = env.images[0].astype(float), observation["reconstruction"].astype(float)
        assert info["rmse"] == pytest.approx(np.sqrt(((image - painted) ** 2).mean()), rel=1e-5)
        assert reward == pytest.approx(errors[-1] - info["rmse"], abs=1e-9)
        errors.append(info["rmse"])
        known = observation["visited"].repeat(16, axis=0).repeat(16, axis=1) == 1
        assert np.array_equal(painted[known], image[known]), "what was seen is pasted in"
    assert errors[3] == errors[2], "nothing new was seen"


def test_reconstruction_paints_what_the_decoder_says(encoder):
    env = make(encoder, task="reconstruction", observe=("reconstruction",), split_block=1)
    env.reset(seed=4)
    observation, *_ = env.step(6)
    ids = env.sensor.patch_ids(np.array([6]))
    belief, _ = encoder.observe(
        normalised_patches(encoder, env.images[0], ids[0])[None],
        torch.tensor(ids),
        encoder.init_state(1),
        split_block=1,
        outputs=("pixels",),
    )
    patches = belief.pixels[0].numpy().reshape(4, 6, 16, 16, 3)
    colours = (patches * encoder.config.std + encoder.config.mean) * 255.0
    picture = colours.transpose(0, 2, 1, 3, 4).reshape(*IMAGE_SIZE, 3).clip(0, 255)
    unknown = observation["visited"].repeat(16, axis=0).repeat(16, axis=1) == 0
    difference = np.abs(picture - observation["reconstruction"])[unknown]
    assert difference.max() <= 0.51  # rounding


# Compute ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlap", ["dedup", "keep"])
@pytest.mark.parametrize("observe", [("latent",), ("latent", "logits", "cells")])
def test_flops_are_the_encoders_and_add_up(encoder, overlap, observe):
    envs = make_vector(3, encoder, overlap=overlap, observe=observe, split_block=1)
    envs.reset(seed=0)
    outputs, tokens, total = {*observe, "logits"}, np.zeros(3, np.int64), np.zeros(3, np.int64)
    seen = np.zeros((3, 24), bool)
    for actions in np.array([[0, 3, 9], [1, 3, 0], [1, 3, 5], [14, 4, 0]]):
        info = envs.step(actions)[4]
        ids = envs.sensor.patch_ids(actions)
        new = [4 if overlap == "keep" else int((~seen[i][ids[i]]).sum()) for i in range(3)]
        for row in range(3):
            seen[row][ids[row]] = True
            count = encoder.flops(new[row], int(tokens[row]), split_block=1, outputs=outputs)
            whole = encoder.flops(int(tokens[row]) + new[row], 0, split_block=1, outputs=outputs)
            expected = [getattr(count, name.removeprefix("flops_")) for name in FLOPS]
            assert [info[name][row] for name in FLOPS] == (expected if new[row] else [0] * 4)
            assert info["flops_without_recycling"][row] == (whole.total if new[row] else 0)
        tokens += new
        total += info["flops"]
        assert (info["flops"] == sum(info[name] for name in FLOPS)).all()
        assert (info["flops_total"] == total).all()
        assert (info["flops_without_recycling"] >= info["flops"]).all()
        assert (info["tokens"] == tokens).all()
        assert envs.observer.state.token_counts.tolist() == tokens.tolist()


def test_a_deeper_split_costs_less(encoder):
    totals = []
    for split_block in range(encoder.depth + 1):
        env = make(encoder, split_block=split_block, observe=("logits", "cells"))
        env.reset(seed=0)
        totals.append([env.step(action)[4] for action in (0, 2, 4, 10)][-1]["flops_total"])
    assert totals == sorted(totals, reverse=True)
    assert len(set(totals)) == len(totals)


def test_a_glimpse_of_nothing_new_costs_nothing_and_changes_no_belief(encoder):
    env = make(encoder, observe=OF_TORE)
    env.reset(seed=0)
    before, *_ = env.step(6)
    after, reward, _, _, info = env.step(6)
    assert (reward, info["flops"], info["flops_without_recycling"]) == (0.0, 0, 0)
    assert info["tokens"] == 4
    for name in OF_TORE:
        assert np.array_equal(before[name], after[name])
    keeping = make(encoder, overlap="keep")
    keeping.reset(seed=0)
    keeping.step(6)
    *_, info = keeping.step(6)
    assert info["flops"] > 0
    assert info["tokens"] == 8


def test_only_rows_with_something_new_run_through_the_encoder():
    ran = []

    class Counting(encoders.GlimpseEncoder):
        def observe(self, patches, *arguments, **keywords):
            ran.append(len(patches))
            return super().observe(patches, *arguments, **keywords)

    tiny = tiny_encoder()
    counting = Counting(tiny.config, tiny.backbone, tiny.decoder).eval()
    envs = make_vector(3, counting)
    envs.reset(seed=0)
    for actions in ([0, 3, 9], [0, 3, 4], [0, 3, 4]):
        envs.step(np.array(actions))
    assert ran == [3, 1]
    envs.step(np.array([7, 3, 4]))
    assert ran == [3, 1, 1]
    envs.step(np.array([7, 7, 7]))  # begins the next episodes
    assert ran == [3, 1, 1]


def test_a_first_glimpse_at_reset_is_charged(encoder):
    env = make(encoder)
    observation, info = env.reset(seed=0, options={"start": 5, "scene_id": 2})
    other = make(encoder)
    other.reset(options={"scene_id": 2})
    expected, _, _, _, expected_info = other.step(5)
    assert_close(observation, expected)
    assert info["flops_total"] == expected_info["flops_total"] > 0
    assert env.vector.snapshot(0).reward == 0.0, "nobody chose it, so it earns nothing"


# Heads, shapes, errors -------------------------------------------------------------------------


def test_a_head_for_other_classes_is_new_and_said_to_be(tmp_path):
    encoders.checkpoints.save_encoder(tiny_encoder(class_names=("cat", "dog")), tmp_path / "tiny")
    with pytest.warns(UserWarning, match="was not trained for the 5 classes") as record:
        env = make(str(tmp_path / "tiny"))
    assert len(record) == 1
    assert env.observer.trained_head is False
    assert env.reset(seed=0)[0]["logits"].shape == (5,)


def test_a_head_for_these_classes_is_kept_without_a_word(tmp_path, encoder):
    encoders.checkpoints.save_encoder(encoder, tmp_path / "tiny")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = make(tmp_path / "tiny")
    assert env.observer.trained_head is True
    reference, _ = make(encoder).reset(seed=0)
    assert_close(env.reset(seed=0)[0], reference)


def test_new_weights_give_a_new_prior():
    tiny = tiny_encoder()
    env = make(tiny)
    before, _ = env.reset(seed=0)
    with torch.no_grad():
        tiny.backbone.vit.cls_token += 1.0
    env.observer.refresh_prior()
    after, _ = env.reset(seed=0)
    assert not np.allclose(before["latent"], after["latent"])
    expected = tiny.prior(("latent",)).latent[0].numpy()
    np.testing.assert_allclose(after["latent"], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("encoder_options", "settings_", "words"),
    [
        ({}, {"patch_size": 8}, ["patch_size=16", "patch_size=8"]),
        ({"image_size": (64, 64)}, {}, ["image_size=(64, 64)", "image_size=(64, 96)"]),
        ({"decoder": False}, {"observe": ("cells",)}, ["cells", "decoder", "tiny"]),
        ({"decoder": False}, {"task": "reconstruction"}, ["decoder", "tiny"]),
        ({}, {"split_block": 4}, ["split_block 4", "[0, 3]"]),
        ({"class_names": ("cat", "dog")}, {}, ["2 classes", "replace_head"]),
    ],
)
def test_encoders_that_do_not_fit_are_named(encoder_options, settings_, words):
    with raises_naming(ValueError, words):
        make(tiny_encoder(**encoder_options), **settings_)


def test_an_unknown_encoder_is_named():
    with pytest.raises(ValueError, match="no encoder 'tore-giga'"):
        make("tore-giga")


def test_pictures_show_belief_and_compute(encoder):
    env = make(encoder, observe=OF_TORE, render_mode="rgb_array")
    env.reset(seed=0)
    snapshot = env.vector.snapshot(0)
    assert snapshot.flops_total == 0
    *_, info = env.step(3)
    snapshot = env.vector.snapshot(0)
    assert snapshot.flops_total == info["flops_total"]
    assert snapshot.flops_limit >= snapshot.flops_without_recycling
    assert snapshot.probabilities.sum() == pytest.approx(1.0, abs=1e-5)
    assert snapshot.entropy.shape == env.sensor.grid
    assert env.render().dtype == np.uint8

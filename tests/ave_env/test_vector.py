"""The batched environment: each row is a single one, whatever the others do."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import SETTINGS, MemoryScenes, raises_naming

from ave_env import ActiveExplorationEnv, ActiveExplorationVectorEnv

MODES = list(AutoresetMode)


def make(num_envs=3, **settings_):
    settings_ = {**SETTINGS, "encoder": None, **settings_}
    return ActiveExplorationVectorEnv(num_envs, scenes=MemoryScenes(), **settings_)


def make_sync(num_envs, mode, **settings_):
    settings_ = {**SETTINGS, "encoder": None, **settings_}
    single = lambda: ActiveExplorationEnv(scenes=MemoryScenes(), **settings_)  # noqa: E731
    return SyncVectorEnv([single] * num_envs, autoreset_mode=mode)


def assert_equal(ours, reference):
    assert data_equivalence(ours, reference, exact=True)


def leaves(data):
    """All arrays in nested dictionaries and arrays of them."""
    if isinstance(data, dict):
        return [leaf for value in data.values() for leaf in leaves(value)]
    if data is None:
        return []
    if data.dtype == object:
        return [data, *(leaf for value in data for leaf in leaves(value))]
    return [data]


# Rows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_envs", [1, 3, 16])
@pytest.mark.parametrize("wrap_azimuth", [False, True])
def test_row_i_equals_a_single_environment_seeded_seed_plus_i(num_envs, wrap_azimuth):
    settings_ = {**SETTINGS, "encoder": None, "wrap_azimuth": wrap_azimuth}
    envs = make(num_envs, wrap_azimuth=wrap_azimuth)
    singles = [ActiveExplorationEnv(scenes=MemoryScenes(), **settings_) for _ in range(num_envs)]
    results = [env.reset(seed=40 + row) for row, env in enumerate(singles)]
    observation, info = envs.reset(seed=40)
    rng = np.random.default_rng(0)
    ended = False
    for _ in range(3 * 5):
        for row, (expected, expected_info) in enumerate(results):
            assert_equal({key: values[row] for key, values in observation.items()}, expected)
            for key, value in expected_info.items():
                assert_equal(info[key][row], np.asarray(value)[()])
        actions = rng.integers(0, envs.sensor.num_actions, num_envs)
        observation, rewards, terminations, truncations, info = envs.step(actions)
        if ended:
            results, ended = [env.reset() for env in singles], False
            assert not rewards.any()
            assert not terminations.any()
        else:
            steps = [env.step(action) for env, action in zip(singles, actions, strict=True)]
            results = [(step[0], step[4]) for step in steps]
            assert rewards.tolist() == [step[1] for step in steps]
            assert terminations.tolist() == [step[2] for step in steps]
            ended = terminations.all()
        assert not truncations.any()


@given(
    mode=st.sampled_from(MODES),
    seed=st.integers(0, 1000),
    rounds=st.lists(st.lists(st.booleans(), min_size=3, max_size=3), max_size=12),
)
@settings(max_examples=40, deadline=None)
def test_every_autoreset_mode_equals_gymnasiums_own(mode, seed, rounds):
    """Rows are reset at odd times, so that their episodes end apart from each other."""
    envs, reference = make(3, autoreset_mode=mode), make_sync(3, mode)
    assert_equal(envs.reset(seed=seed), reference.reset(seed=seed))
    ended = np.zeros(3, bool)
    for reset_rows in rounds:
        mask = np.array(reset_rows) | (ended & (mode is AutoresetMode.DISABLED))
        if mask.any():
            options = {"reset_mask": mask}
            assert_equal(envs.reset(options=options), reference.reset(options=dict(options)))
            assert "reset_mask" in options, "options belong to the caller"
        actions = np.random.default_rng(seed).integers(0, 15, 3)
        ours, theirs = envs.step(actions), reference.step(actions)
        assert_equal(ours[:4], theirs[:4])
        assert set(ours[4]) == set(theirs[4])
        assert_equal(ours[4], {key: theirs[4][key] for key in ours[4]})
        ended = ours[2]
        seed += 1


@pytest.mark.parametrize("vectorization_mode", ["sync", "async"])
def test_make_vec_gives_the_same_in_every_way(vectorization_mode):
    options = {"num_envs": 2, "encoder": None}
    envs = gym.make_vec("ave_env:AVE-Synthetic-v0", **options)
    others = gym.make_vec(
        "ave_env:AVE-Synthetic-v0", vectorization_mode=vectorization_mode, **options
    )
    try:
        assert isinstance(envs, ActiveExplorationVectorEnv)
        assert envs.single_observation_space == others.single_observation_space
        assert envs.observation_space == others.observation_space
        assert envs.action_space == others.action_space
        assert_equal(envs.reset(seed=9), others.reset(seed=9))
        for actions in np.random.default_rng(0).integers(0, 105, (10, 2)):
            assert_equal(envs.step(actions), others.step(actions))
    finally:
        others.close()
        envs.close()


def test_the_specification_survives_json():
    envs = gym.make_vec(
        "AVE-Synthetic-v0", num_envs=3, encoder=None, autoreset_mode="SAME_STEP", glimpse_size=3
    )
    again = gym.make_vec(EnvSpec.from_json(envs.spec.to_json()))
    assert (again.num_envs, again.autoreset_mode) == (3, AutoresetMode.SAME_STEP)
    assert again.configuration == envs.configuration


def test_spaces_hold_what_is_returned():
    envs = make(4)
    observation, _ = envs.reset(seed=0)
    assert observation in envs.observation_space
    envs.action_space.seed(0)
    for _ in range(6):
        observation, *_ = envs.step(envs.action_space.sample())
        assert observation in envs.observation_space


@pytest.mark.parametrize("mode", MODES)
def test_nothing_that_is_returned_is_used_again(mode):
    envs = make(2, autoreset_mode=mode)
    results = [envs.reset(seed=0)]
    for _ in range(3 if mode is AutoresetMode.DISABLED else 6):
        step = envs.step(np.array([0, 3]))
        results.append((step[0], step[4]))
    for index, (observation, info) in enumerate(results):
        for other, other_info in results[:index]:
            for array in [*leaves(observation), *leaves(info)]:
                for old in [*leaves(other), *leaves(other_info)]:
                    assert not np.may_share_memory(array, old)


def test_what_users_do_to_observations_stays_with_them():
    envs, untouched = make(2), make(2)
    results = [envs.reset(seed=0), untouched.reset(seed=0)]
    for actions in np.random.default_rng(0).integers(0, 15, (7, 2)):
        for values in results[0][0].values():
            values[...] = 1
        for values in results[0][-1].values():
            values[...] = 1
        results = [envs.step(actions), untouched.step(actions)]
        assert_equal(*results)


# Resets ----------------------------------------------------------------------------------------


def test_a_mask_resets_some_rows_and_leaves_the_others_alone():
    envs = make(3)
    envs.reset(seed=0)
    before, *_ = envs.step(np.array([0, 3, 9]))
    mask = np.array([False, True, False])
    options = {"reset_mask": mask, "scene_id": np.array([99, 5, -1])}
    observation, info = envs.reset(options=options)
    for key, values in observation.items():
        assert_equal(values[~mask], before[key][~mask])
        assert not values[mask].any()
    assert info["scene_id"].tolist() == [0, 5, 0]
    assert info["_scene_id"].tolist() == mask.tolist()
    *_, info = envs.step(np.array([0, 3, 9]))
    assert info["step"].tolist() == [2, 1, 2]


def test_arrays_of_options_reach_their_rows():
    envs = make(3)
    options = {"scene_id": np.array([4, 0, 11]), "start": np.array([0, 7, 14])}
    observation, info = envs.reset(options=options)
    assert info["scene_id"].tolist() == [4, 0, 11]
    assert info["step"].tolist() == [1, 1, 1]
    glimpses = envs.sensor.capture(envs.scenes.images[[4, 0, 11]], options["start"])
    assert_equal(observation["glimpse"], glimpses)


def test_rows_whose_option_is_left_open_are_as_without_it():
    """The scene is drawn and no glimpse taken, as the same seed does it alone."""
    envs, plain = make(3), make(3)
    options = {"scene_id": [None, 6, None], "start": [7, None, None]}
    observation, info = envs.reset(seed=4, options=options)
    expected, drawn = plain.reset(seed=4)
    assert info["scene_id"].tolist() == [drawn["scene_id"][0], 6, drawn["scene_id"][2]]
    assert info["step"].tolist() == [1, 0, 0]
    for key, values in observation.items():
        assert_equal(values[1:], expected[key][1:])
    assert observation["glimpse"][0].any()
    everything_open = {"scene_id": [None] * 3, "start": [None] * 3}
    assert_equal(plain.reset(seed=4, options=everything_open)[0], expected)


def test_a_list_of_seeds_reaches_its_rows():
    envs = make(3)
    envs.reset(seed=[7, None, 3])
    seeds = envs.np_random_seed
    assert (seeds[0], seeds[2]) == (7, 3)
    single = ActiveExplorationEnv(scenes=MemoryScenes(), encoder=None, **SETTINGS)
    assert envs.scene_ids[2] == single.reset(seed=3)[1]["scene_id"]


def test_each_scene_is_visited_once_whatever_the_number_of_rows():
    envs = make(5, autoreset_mode="DISABLED")
    todo, visited = list(range(len(envs.scenes))), []
    while todo:
        mask = np.arange(5) < len(todo)
        scene_ids = np.zeros(5, np.int64)
        scene_ids[mask] = [todo.pop() for _ in range(mask.sum())]
        _, info = envs.reset(options={"reset_mask": mask, "scene_id": scene_ids})
        visited += info["scene_id"][mask].tolist()
    assert sorted(visited) == list(range(12))


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda envs: pickle.loads(pickle.dumps(envs))]
)
def test_a_copy_made_in_mid_episode_goes_on_alike(duplicate):
    envs = make(3)
    envs.reset(seed=3)
    envs.step(np.array([4, 5, 6]))
    envs.reset(options={"reset_mask": np.array([True, False, False])})
    twin = duplicate(envs)
    for actions in np.random.default_rng(0).integers(0, 15, (12, 3)):
        assert_equal(envs.step(actions), twin.step(actions))


def test_statistics_count_every_row():
    for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
        envs = gym.wrappers.vector.RecordEpisodeStatistics(make(2, autoreset_mode=mode))
        envs.reset(seed=0)
        infos = [envs.step(np.array([0, 3]))[4] for _ in range(4)]
        assert infos[-1]["episode"]["l"].tolist() == [4, 4]


def test_rendering_gives_one_frame_per_row():
    envs = make(2, render_mode="rgb_array")
    envs.reset(seed=0)
    frames = envs.render()
    assert isinstance(frames, tuple)
    assert len(frames) == 2
    assert frames[0].dtype == np.uint8


# Errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        (np.array([0, 15, 0]), ["15", "row 1", "< 15"]),
        (np.array([0, 0, -1]), ["-1", "row 2"]),
        (np.array([0, 0]), ["(2,)", "(3,)"]),
        (np.array([0.0, 1.0, 2.0]), ["float64", "integers"]),
        (np.array([True, False, True]), ["bool", "integers"]),
        (3, ["()", "(3,)"]),
    ],
)
def test_wrong_actions_are_named(actions, words):
    envs = make(3)
    envs.reset(seed=0)
    with raises_naming(ValueError, words):
        envs.step(actions)
    assert not envs.visited.any(), "a refused step changes nothing"


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64])
def test_actions_of_any_integer_dtype_are_taken(dtype):
    envs = make(3)
    envs.reset(seed=0)
    *_, info = envs.step(np.array([0, 7, 14], dtype))
    assert info["glimpse_box"][:, 0].tolist() == [0, 16, 32]


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"mask": 1}, ValueError, ["'mask'", "scene_id, start, reset_mask"]),
        ({"reset_mask": [True, False, True]}, TypeError, ["reset_mask", "list"]),
        ({"reset_mask": np.array([1, 0, 1])}, TypeError, ["reset_mask", "int64"]),
        ({"reset_mask": np.array([True])}, ValueError, ["(1,)", "(3,)"]),
        ({"reset_mask": np.zeros(3, bool)}, ValueError, ["no row"]),
        ({"scene_id": np.array([0, 12, 0])}, ValueError, ["12", "row 1", "< 12"]),
        ({"scene_id": np.array([0, 1])}, ValueError, ["(2,)", "(3,)"]),
        ({"scene_id": np.zeros(3)}, TypeError, ["float64"]),
        ({"start": np.array([0, 0, 15])}, ValueError, ["start", "15", "row 2"]),
        ({"start": [None, 15, None]}, ValueError, ["start", "15", "row 1"]),
        ({"start": [None, -1, None]}, ValueError, ["start", "-1", "row 1"]),
        ({"scene_id": [None, 0.5, None]}, TypeError, ["scene_id", "0.5"]),
        ({"scene_id": [None, 1]}, ValueError, ["scene_id", "(2,)", "(3,)"]),
        ({"scene_id": [[1, 2], 1, 2]}, TypeError, ["scene_id", "for each row"]),
    ],
)
def test_wrong_options_are_named_and_change_nothing(options, kind, words):
    envs = make(3)
    envs.reset(seed=0)
    before = envs.scene_ids.copy()
    with raises_naming(kind, words):
        envs.reset(seed=1, options=options)
    assert_equal(envs.scene_ids.copy(), before)
    assert envs.np_random_seed == (0, 1, 2)


@pytest.mark.parametrize(
    ("seed", "kind", "words"),
    [
        ([1, 2], ValueError, ["2 seeds", "3 environments"]),
        ([1, 2, 0.5], TypeError, ["0.5", "row 2"]),
        (1.5, TypeError, ["1.5"]),
        ("012", TypeError, ["'012'"]),
    ],
)
def test_wrong_seeds_are_named(seed, kind, words):
    with raises_naming(kind, words):
        make(3).reset(seed=seed)


def test_without_autoreset_an_ended_row_must_be_reset():
    envs = make(2, autoreset_mode=AutoresetMode.DISABLED)
    with pytest.raises(gym.error.ResetNeeded, match=r"rows \[0, 1\] has not begun"):
        envs.step(np.array([0, 0]))
    envs.reset(seed=0)
    envs.step(np.array([0, 0]))
    envs.reset(options={"reset_mask": np.array([False, True])})
    for _ in range(3):
        envs.step(np.array([0, 0]))
    with pytest.raises(gym.error.ResetNeeded, match=r"rows \[0\] has ended"):
        envs.step(np.array([0, 0]))
    envs.reset(options={"reset_mask": np.array([True, False])})
    envs.step(np.array([0, 0]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_envs": 0}, ["num_envs=0"]),
        ({"num_envs": 2.0}, ["num_envs=2.0"]),
        ({"autoreset_mode": "sometimes"}, ["sometimes", "NEXT_STEP, SAME_STEP, DISABLED"]),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with raises_naming(ValueError, words):
        make(**arguments)


def test_what_could_not_be_made_can_be_closed():
    envs = ActiveExplorationVectorEnv.__new__(ActiveExplorationVectorEnv)
    with pytest.raises(ValueError, match="num_envs=0"):
        envs.__init__(0)
    envs.close()
    make(2).close(timeout=1)


@pytest.mark.parametrize("mode", MODES)
def test_the_autoreset_mode_is_in_the_metadata_of_this_environment_only(mode):
    for spelling in (mode, mode.name, mode.value):
        assert make(2, autoreset_mode=spelling).metadata["autoreset_mode"] is mode
    default = ActiveExplorationVectorEnv.metadata["autoreset_mode"]
    assert default is AutoresetMode.NEXT_STEP

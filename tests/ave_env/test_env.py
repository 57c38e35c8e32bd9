"""What a single environment promises: Gymnasium's contract, the observation, `info`, errors."""

import copy
import dataclasses
import inspect
import json
import pickle
import re
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3
from tiny import IMAGE_SIZE, OWN_TASKS, SETTINGS, MemoryScenes, raises_naming

import ave_env
from ave_env.configuration import OBSERVABLES, Configuration
from ave_env.registration import ENVIRONMENTS
from ave_env.sensors.grid import GridSensor

INFO_TYPES = {
    "scene_id": int,
    "label": int,
    "step": int,
    "glimpse_box": np.ndarray,
    "coverage": float,
    "tokens": int,
    "action_mask": np.ndarray,
    "flops": int,
    "flops_total": int,
    "flops_extractor": int,
    "flops_aggregator": int,
    "flops_decoder": int,
    "flops_head": int,
    "flops_without_recycling": int,
    "prediction": int,
    "is_success": bool,
}


def make(**settings_):
    settings_ = {**SETTINGS, "scenes": MemoryScenes(), "encoder": None, **settings_}
    return ave_env.ActiveExplorationEnv(**settings_)


@pytest.fixture(scope="session")
def data_root(tmp_path_factory):
    """A tree of noise that is a SUN360, an ImageNet and an image folder at once."""
    root = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(0)
    parts = ("train", "val", "test", "indoor", "outdoor")
    for folder in (f"{part}/{name}" for part in parts for name in ("n01440764", "n01443537")):
        (root / folder).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / folder / f"pano_{number}.jpg")
    return root


@pytest.fixture(params=sorted(ENVIRONMENTS))
def registered(request, data_root):
    """An id and the arguments that it needs on this machine."""
    reads_files = request.param not in ("AVE-Synthetic-v0", "AVE-Panoramas-v0")
    return request.param, {"data_root": str(data_root)} if reads_files else {}


# Checkers --------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("task", OWN_TASKS)
def test_gymnasium_finds_nothing_to_complain_about(registered, task):
    env_id, needs = registered
    env = gym.make(env_id, encoder=None, task=task, **needs)
    check_env(env.unwrapped)


# SB3's advice for its own CNN and MLP policies; glimpses are small and maps have two axes.
@pytest.mark.filterwarnings("ignore:The minimal resolution for an image is 36x36")
@pytest.mark.filterwarnings("ignore:Your observation visited has an unconventional shape")
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("task", OWN_TASKS)
def test_sb3_finds_nothing_to_complain_about(registered, task):
    env_id, needs = registered
    check_env_for_sb3(gym.make(env_id, encoder=None, task=task, **needs))


@pytest.mark.filterwarnings("error")
def test_flattened_it_suits_any_policy():
    env = gym.wrappers.FlattenObservation(gym.make("AVE-Synthetic-v0", encoder=None))
    check_env_for_sb3(env)


def test_ids_are_found_by_module_and_survive_json():
    env = gym.make("ave_env:AVE-Synthetic-v0", encoder=None, wrap_azimuth=True)
    again = EnvSpec.from_json(env.spec.to_json()).make()
    assert again.unwrapped.configuration == env.unwrapped.configuration
    assert again.action_space == gym.spaces.Discrete(7 * 16)


def test_registering_twice_changes_nothing():
    before = dict(gym.registry)
    ave_env.register_envs()
    assert gym.registry == before


def test_the_import_is_light():
    code = (
        "import sys, ave_env\n"
        "loaded = {'torch', 'timm', 'cv2', 'h5py'} & set(sys.modules)\n"
        "import gymnasium\n"
        "env = gymnasium.make('AVE-Synthetic-v0', encoder=None)\n"
        "env.reset(); env.step(0)\n"
        "sys.exit(str(loaded) if loaded else 'torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_statistics_recording_and_time_limits_wrap_it():
    env = gym.wrappers.TimeLimit(make(render_mode="rgb_array"), 3)
    env = gym.wrappers.RecordEpisodeStatistics(gym.wrappers.RenderCollection(env))
    env.reset(seed=0)
    *_, info = [env.step(action) for action in (0, 3, 9)][-1]
    assert info["episode"]["l"] == 3
    assert len(env.render()) == 4


# Episodes --------------------------------------------------------------------------------------


def test_an_episode_ends_with_its_glimpses():
    env = make()
    env.reset(seed=0)
    ends = [env.step(action)[2:4] for action in (0, 3, 9, 12)]
    assert ends == [(False, False)] * 3 + [(True, False)]
    with pytest.raises(gym.error.ResetNeeded, match="has ended"):
        env.step(0)


def test_stepping_before_a_reset_is_refused():
    with pytest.raises(gym.error.ResetNeeded, match="has not begun"):
        make().step(0)


@pytest.mark.parametrize("wrap_azimuth", [False, True])
def test_observations_say_what_was_looked_at(wrap_azimuth):
    env = make(wrap_azimuth=wrap_azimuth)
    observation, info = env.reset(seed=1)
    assert not observation["glimpse"].any()
    assert not observation["position"].any()
    assert not observation["visited"].any()
    image = env.scenes.load(info["scene_id"])
    assert np.array_equal(env.images[0], image)
    sensor = GridSensor(IMAGE_SIZE, 16, 2, wrap_azimuth)
    seen = set()
    for step, action in enumerate((4, 5, 4, sensor.num_actions - 1), start=1):
        observation, reward, _, _, info = env.step(action)
        assert observation in env.observation_space
        actions = np.array([action])
        assert np.array_equal(observation["glimpse"], sensor.capture(image[None], actions)[0])
        assert np.array_equal(observation["position"], sensor.centers(actions)[0])
        assert np.array_equal(info["glimpse_box"], sensor.boxes(actions)[0])
        seen |= set(sensor.patch_ids(actions)[0].tolist())
        assert np.flatnonzero(observation["visited"]).tolist() == sorted(seen)
        assert observation["progress"] == np.float32(step / 4)
        assert info["step"] == step
        assert info["coverage"] == len(seen) / 24
        assert reward == 0.0


@pytest.mark.parametrize("task", OWN_TASKS)
def test_info_has_the_same_keys_and_types_throughout(task):
    env = make(task=task)
    types = INFO_TYPES | ({"rmse": float} if task == "reconstruction" else {})
    infos = [env.reset(seed=0)[1]] + [env.step(action)[4] for action in (0, 0, 9, 12)]
    for info in infos:
        assert {key: type(value) for key, value in info.items()} == types
        assert info["glimpse_box"].dtype == np.int64
        assert info["glimpse_box"].shape == (4,)
        assert info["action_mask"].dtype == np.int8
        assert info["action_mask"].shape == (15,)
        assert info["label"] == env.scenes.labels[info["scene_id"]]
        assert info["flops"] == info["flops_total"] == info["flops_without_recycling"] == 0
        assert info["prediction"] == -1


@given(seed=st.integers(0, 2**32 - 1), actions=st.lists(st.integers(0, 14), max_size=4))
@settings(max_examples=25, deadline=None)
def test_no_observation_depends_on_unseen_pixels(seed, actions):
    """The law of active exploration: what was not looked at might as well be anything."""
    scenes = MemoryScenes(seed=seed % 7)
    env = make(scenes=scenes)
    option = {"scene_id": 3}
    reference = [env.reset(options=option)[0]] + [env.step(action)[0] for action in actions]

    sensor = env.sensor
    seen = np.zeros(sensor.grid, bool)
    if actions:
        seen.flat[sensor.patch_ids(np.array(actions))] = True
    unseen = ~seen.repeat(16, axis=0).repeat(16, axis=1)
    noise = np.random.default_rng(seed).integers(0, 256, scenes.images[3].shape, dtype=np.uint8)
    scenes.images[3][unseen] = noise[unseen]
    changed = [env.reset(options=option)[0]] + [env.step(action)[0] for action in actions]
    assert data_equivalence(reference, changed, exact=True)


def test_action_masks_offer_what_is_new_and_never_nothing():
    env = make(num_glimpses=9, glimpse_size=2)
    _, info = env.reset(seed=0)
    assert env.action_masks().dtype == bool
    assert env.action_masks().all()
    for action in (0, 2, 4, 10, 12, 14):  # tiles that cover the grid of 4x6 patches
        assert env.action_masks()[action]
        *_, info = env.step(action)
        if info["coverage"] < 1:
            assert np.array_equal(env.action_masks(), info["action_mask"] == 1)
    assert info["coverage"] == 1.0
    assert not info["action_mask"].any()
    assert env.action_masks().all()


def test_options_choose_scene_and_first_glimpse():
    env = make()
    observation, info = env.reset(seed=0, options={"scene_id": 7, "start": 9})
    assert (info["scene_id"], info["step"]) == (7, 1)
    other = make()
    other.reset(options={"scene_id": 7})
    expected, *_ = other.step(9)
    assert data_equivalence(observation, expected, exact=True)
    assert [env.step(0)[2] for _ in range(3)] == [False, False, True]


def test_scenes_follow_the_seed():
    env = make()
    first = [env.reset(seed=5)[1]["scene_id"]] + [env.reset()[1]["scene_id"] for _ in range(9)]
    second = [env.reset(seed=5)[1]["scene_id"]] + [env.reset()[1]["scene_id"] for _ in range(9)]
    assert first == second
    assert len(set(first)) > 1


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_made_in_mid_episode_goes_on_alike(duplicate):
    env = make()
    env.reset(seed=3)
    env.step(4)
    twin = duplicate(env)
    for action in (0, 9, 14):
        assert data_equivalence(env.step(action), twin.step(action), exact=True)
    assert data_equivalence(env.reset(), twin.reset(), exact=True)
    twin.step(0)
    assert not env.visited.any(), "the copy shares no state"


def test_privileged_views_are_read_only():
    env = make()
    env.reset(seed=0)
    for array in (env.images, env.labels, env.scene_ids, env.visited):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_rendering_shows_one_frame_of_constant_size():
    env = make(render_mode="rgb_array")
    env.reset(seed=0)
    frames = [env.render()]
    for action in (0, 3):
        env.step(action)
        frames.append(env.render())
    assert all(frame.dtype == np.uint8 and frame.shape == frames[0].shape for frame in frames)
    assert not np.array_equal(frames[0], frames[1])
    with pytest.warns(UserWarning, match="render_mode='rgb_array'"):
        assert make().render() is None


# Errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "words"),
    [(15, ["15", "< 15"]), (-1, ["-1"]), (1.5, ["float64"]), ([3], ["[3]", "one integer"])],
)
def test_a_wrong_action_is_named(action, words):
    env = make()
    env.reset(seed=0)
    with raises_naming(ValueError, words):
        env.step(action)


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"scene": 3}, ValueError, ["'scene'", "scene_id, start"]),
        ({"reset_mask": np.array([True])}, ValueError, ["'reset_mask'", "scene_id, start"]),
        ({"scene_id": 12}, ValueError, ["12", "< 12"]),
        ({"scene_id": -1}, ValueError, ["-1"]),
        ({"scene_id": 1.0}, TypeError, ["1.0", "integers"]),
        ({"scene_id": True}, TypeError, ["True", "integers"]),
        ({"scene_id": "3"}, TypeError, ["'3'", "integers"]),
        ({"scene_id": [[1]]}, ValueError, ["(1, 1)"]),
        ({"start": 15}, ValueError, ["start", "15"]),
        ([("scene_id", 3)], TypeError, ["list", "dictionary"]),
    ],
)
def test_wrong_options_are_named_with_what_is_accepted(options, kind, words):
    with raises_naming(kind, words):
        make().reset(options=options)


def test_a_start_needs_a_glimpse_after_it():
    with pytest.raises(ValueError, match="num_glimpses >= 2"):
        make(num_glimpses=1).reset(options={"start": 0})


@pytest.mark.parametrize(
    ("keywords", "kind", "words"),
    [
        ({"glimpse_sise": 2}, TypeError, ["glimpse_sise", "did you mean 'glimpse_size'"]),
        (
            {"frameskip": 1},
            TypeError,
            ["unexpected keyword argument 'frameskip'"],
        ),  # as TorchRL asks
        ({"task": "detection"}, ValueError, ["detection", "classification, reconstruction"]),
        ({"split": "training"}, ValueError, ["training", "train, val, test"]),
        ({"overlap": "drop"}, ValueError, ["drop", "dedup, keep"]),
        ({"precision": "half"}, ValueError, ["half", "float32"]),
        ({"observe": ("latents",)}, ValueError, ["latents", "latent, logits"]),
        ({"num_glimpses": 0}, ValueError, ["num_glimpses=0"]),
        ({"num_glimpses": 2.5}, TypeError, ["num_glimpses=2.5"]),
        ({"wrap_azimuth": "yes"}, TypeError, ["wrap_azimuth='yes'"]),
        ({"image_size": 64}, TypeError, ["image_size=64"]),
        ({"image_size": (60, 96)}, ValueError, ["(60, 96)", "16"]),
        ({"image_size": (64, 64)}, ValueError, ["(64, 96)", "(64, 64)"]),
        ({"glimpse_size": 5}, ValueError, ["glimpse_size 5", "4x6"]),
        ({"render_mode": "ansi"}, ValueError, ["ansi", "rgb_array"]),
    ],
)
def test_wrong_arguments_are_named_with_what_is_accepted(keywords, kind, words):
    with raises_naming(kind, words):
        make(**keywords)


# Documentation ---------------------------------------------------------------------------------


def table(heading):
    """First cells of the table under a heading of the class docstring."""
    page = inspect.getdoc(ave_env.ActiveExplorationEnv)
    section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `([\w-]+)` \| (.*?) \|", section, flags=re.MULTILINE))


def test_the_page_lists_the_arguments_and_their_defaults():
    fields = {
        field.name: getattr(Configuration(), field.name)
        for field in dataclasses.fields(Configuration)
    }
    documented = table("Arguments")
    assert set(documented) == {*fields, "render_mode"}
    for name, default in fields.items():
        if name != "scenes":
            shown = json.dumps(default) if isinstance(default, str) else str(default)
            assert documented[name].replace("'", '"') == f"`{shown}`".replace("'", '"')


def test_the_page_lists_every_observation_info_and_id():
    env = make(task="reconstruction")
    _, info = env.reset()
    assert set(table("Information")) == set(info)
    assert set(table("Observation Space")) == {*env.observation_space.spaces, *OBSERVABLES}
    assert set(table("Description")) == set(ENVIRONMENTS)

"""Whatever is thrown at an environment: it works, or refuses with an error and stays as it was."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from tiny import IMAGE_SIZE, SETTINGS, MemoryScenes, tiny_encoder

from ave_env import ActiveExplorationVectorEnv
from ave_env.configuration import OBSERVABLES

OF_TORE = tuple(name for name in OBSERVABLES if name != "regions")  # it has none

ROWS, ACTIONS, SCENES = 3, 15, 12
REFUSALS = (ValueError, TypeError, gym.error.ResetNeeded)

numbers = st.one_of(
    st.integers(-2, 20),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=2),
    st.complex_numbers(),
)
arrays = st.builds(
    lambda values, dtype, shape: np.resize(np.array(values).astype(dtype), shape),
    st.lists(st.integers(-2, 20), min_size=1, max_size=4),
    st.sampled_from(
        [np.int8, np.uint8, np.int64, np.uint64, bool, np.float32, object, "U3", "M8[s]"]
    ),
    st.sampled_from([(), (0,), (1,), (2,), (ROWS,), (4,), (ROWS, 1), (1, ROWS)]),
)
rubbish = st.one_of(
    numbers, arrays, st.lists(numbers, max_size=4), st.dictionaries(numbers, numbers)
)
names = st.sampled_from(
    ["scene_id", "start", "reset_mask", "mask", "seed", "", "Scene_id", 0, None]
)
options = st.one_of(rubbish, st.dictionaries(names, rubbish, max_size=3))
masks = st.lists(st.booleans(), min_size=ROWS, max_size=ROWS)
actions = st.lists(st.integers(0, ACTIONS - 1), min_size=ROWS, max_size=ROWS)


def are_integers(value, limit, rows):
    """Whether these are one integer per row, in range where rows are selected."""
    if not isinstance(value, np.ndarray):
        try:
            value = np.asarray(value)
        except (ValueError, TypeError, OverflowError):
            return False
    return (
        value.shape == (ROWS,)
        and value.dtype.kind in "iu"
        and all(0 <= int(number) < limit for number in value[rows])
    )


class Episodes(RuleBasedStateMachine):
    """Steps, resets and rubbish in any order, beside a model that counts glimpses."""

    @initialize(
        mode=st.sampled_from(list(AutoresetMode)),
        task=st.sampled_from(["classification", "reconstruction"]),
        with_encoder=st.booleans(),
        wrap_azimuth=st.booleans(),
        overlap=st.sampled_from(["dedup", "keep"]),
        seed=st.integers(0, 2**31),
    )
    def make(self, mode, task, with_encoder, wrap_azimuth, overlap, seed):
        self.envs = ActiveExplorationVectorEnv(
            ROWS,
            scenes=MemoryScenes(IMAGE_SIZE, SCENES),
            encoder=self.encoder if with_encoder else None,
            observe=OF_TORE,
            task=task,
            autoreset_mode=mode,
            wrap_azimuth=wrap_azimuth,
            overlap=overlap,
            **SETTINGS,
        )
        self.mode = mode
        self.glimpses = SETTINGS["num_glimpses"]
        self.keys = None
        self.steps = np.zeros(ROWS, int)
        self.check(*self.envs.reset(seed=seed), held=np.ones(ROWS, bool))

    def check(self, observation, info, held):
        """Everything handed out is in its space, finite, typed, and agrees with the model."""
        assert observation in self.envs.observation_space
        for values in observation.values():
            assert np.isfinite(values).all()
        info = {key: values for key, values in info.items() if "final" not in key}
        keys = {key: (values.dtype, values.shape) for key, values in info.items()}
        assert self.keys in (None, keys)
        self.keys = keys
        for key in keys:
            assert np.isfinite(info[key]).all(), key
            if not key.startswith("_"):
                assert np.array_equal(info[f"_{key}"], held)
        assert np.array_equal(info["step"][held], self.steps[held])
        assert np.array_equal(observation["progress"][:, 0], self.steps / np.float32(self.glimpses))
        covered = observation["visited"].mean(axis=(1, 2))
        assert np.allclose(info["coverage"][held], covered[held])
        assert ((info["flops"] >= 0) & (info["flops"] <= info["flops_total"])).all()

    @rule(actions=actions)
    def step(self, actions):
        ended = self.steps == self.glimpses
        if self.mode is AutoresetMode.DISABLED and ended.any():
            with pytest.raises(gym.error.ResetNeeded):
                self.envs.step(np.array(actions))
            return
        self.took(ended, self.envs.step(np.array(actions)))

    def took(self, ended, results):
        observation, rewards, terminations, truncations, info = results
        self.steps = np.where(ended, 0, self.steps + 1)
        over = self.steps == self.glimpses
        assert np.array_equal(terminations, over)
        assert not truncations.any()
        assert np.isfinite(rewards).all()
        assert not rewards[ended].any()
        if self.mode is AutoresetMode.SAME_STEP:
            self.steps[over] = 0
            assert ("final_obs" in info) == over.any()
        self.check(observation, info, held=np.ones(ROWS, bool))

    @rule(mask=masks, scene=st.none() | st.integers(0, SCENES - 1), start=st.none() | actions)
    def reset(self, mask, scene, start):
        mask = np.array(mask) | (not any(mask))
        chosen = {"reset_mask": mask}
        if scene is not None:
            chosen["scene_id"] = scene
        if start is not None:
            chosen["start"] = np.array(start)
        observation, info = self.envs.reset(options=chosen)
        self.steps[mask] = start is not None
        if scene is not None:
            assert (info["scene_id"][mask] == scene).all()
        self.check(observation, info, held=mask)

    @rule(actions=rubbish | arrays)
    def step_with_rubbish(self, actions):
        ended = self.steps == self.glimpses
        if are_integers(actions, ACTIONS + 3 * self.envs.sensor.wrap_azimuth, ~ended):
            if not (self.mode is AutoresetMode.DISABLED and ended.any()):
                self.took(ended, self.envs.step(actions))
        else:
            self.refused(lambda: self.envs.step(actions))

    @rule(options=options)
    def reset_with_rubbish(self, options):
        before = self.state()
        try:
            observation, info = self.envs.reset(options=options)
        except REFUSALS:
            assert self.state() == before
            return
        options = {} if options is None else options
        assert set(options) <= {"scene_id", "start", "reset_mask"}
        mask = options.get("reset_mask", np.ones(ROWS, bool))
        assert mask.shape == (ROWS,)
        self.steps[mask] = options.get("start") is not None
        self.check(observation, info, held=mask)

    @rule(seed=rubbish.filter(lambda seed: not isinstance(seed, bool)))
    def reset_with_a_seed_of_rubbish(self, seed):
        before = self.state()
        try:
            observation, info = self.envs.reset(seed=seed)
        except (*REFUSALS, gym.error.Error):
            assert self.state() == before
            return
        self.steps[:] = 0
        self.check(observation, info, held=np.ones(ROWS, bool))

    def refused(self, call):
        before = self.state()
        with pytest.raises(REFUSALS, match=r"expected|reset"):
            call()
        assert self.state() == before

    def state(self):
        """All that the next step depends on."""
        envs, observer = self.envs, self.envs.observer
        cache = [] if observer is None else [observer.state.token_counts.numpy(), observer.belief]
        generators = [generator.bit_generator.state for generator in envs.np_random]
        return pickle.dumps([vars(envs._episodes), generators, cache])

    @invariant()
    def nothing_handed_out_is_writable_state(self):
        if hasattr(self, "envs"):
            assert not self.envs.images.flags.writeable


@pytest.mark.filterwarnings("error", "ignore:wrap_azimuth")
def test_anything_goes():
    Episodes.encoder = tiny_encoder(depth=2)
    run_state_machine_as_test(
        Episodes,
        settings=settings(
            max_examples=40,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

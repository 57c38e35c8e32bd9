"""A trained agent is bound to what it reads of an encoder, unless its user insists."""

import copy
import json

import numpy as np
import pytest
import torch
from tiny import CLASS_NAMES, SETTINGS, MemoryScenes, raises_naming, tiny_encoder, tiny_vector_env

from agents import make_agent
from agents.evaluation.comparison import evaluate_agents
from agents.evaluation.config import EvaluationConfig
from agents.learning.ppo.config import PpoConfig
from agents.learning.ppo.learner import PpoLearner
from agents.learning.windows.agent import OBSERVABLES
from agents.reports.summary import summarise
from encoders import replace_head


def make_env(encoder, **settings):
    return tiny_vector_env(
        2, encoder=encoder, observe=OBSERVABLES, autoreset_mode="DISABLED", **settings
    )


def with_noise(encoder, *names):
    """The same encoder but for some weights."""
    other = copy.deepcopy(encoder)
    changed = [each for name, each in other.named_parameters() if name.startswith(names)]
    assert changed
    with torch.no_grad():
        for each in changed:
            each.add_(0.01)
    return other


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoder()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, encoder):
    path = tmp_path_factory.mktemp("agent")
    env = tiny_vector_env(2, encoder=encoder, observe=OBSERVABLES, autoreset_mode="SAME_STEP")
    PpoLearner(env, PpoConfig(batch_size=8)).save(path)
    return path


def test_another_class_head_is_refused_by_name_and_allowed_if_asked(folder, encoder):
    other = make_env(replace_head(copy.deepcopy(encoder), CLASS_NAMES))
    with raises_naming(ValueError, [str(folder), "another class head", "--allow-other-encoder"]):
        make_agent(folder, other)
    agent = make_agent(folder, other, allow_other_encoder=True)
    assert agent.differences == ("another class head (encoder 'tiny')",)
    observation, _ = other.reset(seed=0)
    assert agent.predict(observation)[0].shape == (2,)


def test_parts_that_the_policy_does_not_read_may_be_others(folder, encoder):
    env = make_env(with_noise(encoder, "decoder.pred"))
    assert make_agent(folder, env).differences == ()


def test_other_options_of_the_encoder_are_allowed_with_the_same_word(folder, encoder):
    env = make_env(encoder, split_block=1)
    trained = json.loads((folder / "agent.json").read_text())["encoder_options"]["split_block"]
    assert trained != 1
    with raises_naming(ValueError, [f"split_block={trained}", "split_block=1", "allow"]):
        make_agent(folder, env)
    agent = make_agent(folder, env, allow_other_encoder=True)
    assert agent.differences == (f"split_block=1, trained with {trained}",)


def test_a_policy_that_does_not_fit_says_why(folder, encoder):
    classes = tuple("abcdefg")
    scenes = MemoryScenes()
    scenes.class_names = classes
    env = make_env(replace_head(copy.deepcopy(encoder), classes), scenes=scenes)
    with raises_naming(ValueError, ["another class head", "number of classes"]):
        make_agent(folder, env, allow_other_encoder=True)


def test_older_records_know_the_weights_as_a_whole(folder, encoder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    description = json.loads((folder / "agent.json").read_text())
    del description["encoder_parts"]
    (tmp_path / "agent.json").write_text(json.dumps(description))
    assert make_agent(tmp_path, make_env(encoder)).differences == ()
    other = make_env(with_noise(encoder, "decoder"))
    with raises_naming(ValueError, ["another set of weights"]):
        make_agent(tmp_path, other)
    assert make_agent(tmp_path, other, allow_other_encoder=True).differences


def test_results_say_that_an_agent_does_not_act_as_it_was_trained(folder, encoder):
    settings = {"scenes": MemoryScenes(), "encoder": encoder, **SETTINGS, "split_block": 1}
    config = EvaluationConfig(num_envs=12, episodes=0, progress=False)
    with raises_naming(ValueError, ["split_block=1"]):
        evaluate_agents([folder], "AVE-Synthetic-v0", settings, config)
    config = EvaluationConfig(num_envs=12, episodes=0, progress=False, allow_other_encoder=True)
    comparison = evaluate_agents(["raster", folder], "AVE-Synthetic-v0", settings, config)
    found = summarise(comparison)["agents"]
    assert found["raster"]["not_as_trained"] == []
    assert "split_block=1" in found["ppo"]["not_as_trained"][0]


def test_an_agent_that_was_made_is_checked_where_it_goes(folder, encoder):
    agent = make_agent(folder, make_env(encoder))
    twin = make_agent(agent, make_env(encoder), seed=4)
    observation, _ = make_env(encoder).reset(seed=0)
    np.testing.assert_array_equal(agent.predict(observation)[0], twin.predict(observation)[0])
    with raises_naming(ValueError, ["another class head"]):
        make_agent(agent, make_env(replace_head(copy.deepcopy(encoder), CLASS_NAMES)))

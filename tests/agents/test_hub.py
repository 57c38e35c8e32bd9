"""Trained agents that are pushed to the hub, and pulled by others."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from local_hub import local_hub
from panoramas import save_panorama_encoder
from tiny import tiny_vector_env

import agents
from agents.hub import fetch_agent, load_agent
from agents.learning.ppo.agent import PpoAgent
from agents.learning.ppo.config import PpoConfig
from agents.learning.ppo.learner import PpoLearner
from agents.learning.record import describe_environment
from agents.learning.windows.agent import OBSERVABLES
from ave_env.registration import configure
from ave_env.vector import ActiveExplorationVectorEnv

ROOT = Path(__file__).parents[2]

USE = """
import sys
import agents
from agents.commands.eval_agent import main

folder, encoder = sys.argv[1:3]
agent = agents.load_agent(folder)
print(agent.push_to_hub("someone/tiny-ppo"))
try:
    agents.load_agent("someone/tiny-ppo")
except ValueError as error:
    print(error)
print(agent.push_to_hub("someone/tiny-ppo", encoder=encoder, commit_message="Name the encoder"))
pulled = agents.TrainedAgent.from_pretrained("someone/tiny-ppo")
observation, _ = agent.env.reset(seed=3)
seen, _ = pulled.env.reset(seed=3)
assert agent.predict(observation)[0] == pulled.predict(seen)[0]
assert pulled.env.unwrapped.num_glimpses == 3
assert pulled.env.unwrapped.spec.kwargs["split"] == "test"
try:
    agents.load_agent("someone/nothing")
except ValueError as error:
    print(error)
sys.argv = ["eval_agent.py", "--agents", "random", "someone/tiny-ppo", "--scenes", "4"]
sys.argv += ["--episodes", "0", "--no-progress"]
main()
"""


def train(folder: Path, encoder: Path) -> Path:
    """A run folder with an agent (and more) over the synthetic panoramas."""
    changes = {"encoder": str(encoder), "image_size": (64, 128), "num_glimpses": 3}
    configuration = configure("AVE-Synthetic-v0", observe=OBSERVABLES, **changes)
    env = ActiveExplorationVectorEnv(2, configuration=configuration, autoreset_mode="SAME_STEP")
    noted = describe_environment(configuration, env.scenes.name, "AVE-Synthetic-v0")
    learner = PpoLearner(env, PpoConfig(batch_size=6, policy_width=8), made_with=noted)
    learner.save(folder)
    learner.save_state(folder)
    return folder


def test_the_hub_gets_the_agent_alone_and_gives_it_to_others(tmp_path):
    encoder = save_panorama_encoder(tmp_path / "encoder")
    folder = train(tmp_path / "run", encoder)
    with local_hub() as (address, files):
        done = subprocess.run(
            [sys.executable, "-c", USE, str(folder), str(encoder)],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "HF_ENDPOINT": address,
                "HF_HOME": str(tmp_path / "home"),
                "HF_HUB_DISABLE_XET": "1",
                "HF_TOKEN": "hf_nobody",
                "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    pushed = files["someone/tiny-ppo"]
    assert pushed.keys() == {"agent.json", "policy.safetensors", "README.md"}
    assert pushed["policy.safetensors"] == (folder / "policy.safetensors").read_bytes()
    assert json.loads(pushed["agent.json"])["environment"]["encoder"] == str(encoder)
    first, no_encoder, _, nothing, *table = done.stdout.splitlines()
    assert first.startswith(f"{address}/someone/tiny-ppo/commit/")
    assert "trained with encoder 'tiny'" in no_encoder
    assert "pass it as env" in no_encoder
    assert "'someone/nothing': no such folder here" in nothing
    assert [line for line in table if line.split()[:1] == ["ppo"]]
    (steps,) = (tmp_path / "runs").glob("*/per_step.csv")
    assert {row["num_glimpses"] for row in csv.DictReader(steps.open())} == {"3"}


def test_what_is_saved_for_others_acts_alike_and_names_no_path_of_this_machine(tmp_path):
    env = tiny_vector_env(2, observe=OBSERVABLES, autoreset_mode="SAME_STEP")
    noted = {"encoder": "/home/me/encoder", "data_root": "/home/me/data"}
    PpoLearner(env, PpoConfig(batch_size=8), made_with=noted).save(tmp_path / "run")
    agent = PpoAgent(env, tmp_path / "run")
    saved = agent.save_pretrained(tmp_path / "for-others")
    for path in saved.iterdir():
        assert b"/home/me" not in path.read_bytes(), path
    (tmp_path / "run" / "agent.json").unlink()
    other = PpoAgent.from_pretrained(saved, env)
    observation, _ = env.reset(seed=1)
    np.testing.assert_array_equal(agent.predict(observation)[0], other.predict(observation)[0])


def test_a_repository_downloaded_before_is_opened_without_the_hub(tmp_path):
    env = tiny_vector_env(2, observe=OBSERVABLES, autoreset_mode="SAME_STEP")
    repository = tmp_path / "models--someone--ppo"
    commit = "0123456789abcdef0123456789abcdef01234567"
    PpoLearner(env, PpoConfig(batch_size=8)).save(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    download = {"cache_dir": tmp_path, "local_files_only": True}
    agent = load_agent("someone/ppo", env, **download)
    assert isinstance(agent, PpoAgent)
    assert agent.env is env
    with pytest.raises(ValueError, match="'someone/else': no such folder here"):
        fetch_agent("someone/else", **download)
    with pytest.raises(ValueError, match="names no environment id"):
        load_agent(agent.folder)


def test_shipped_agents_and_mistakes_are_told_apart():
    agent = agents.load_agent("ppo")
    assert agent.env.unwrapped.num_glimpses == 8
    observation, _ = agent.env.reset(seed=0)
    assert agent.env.action_space.contains(agent.predict(observation)[0])
    with pytest.raises(ValueError, match="did you mean 'ppo'"):
        agents.load_agent("ppp")

"""The agent that looks where latent regions want to look."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import CLASS_NAMES, SETTINGS, MemoryScenes, raises_naming, tiny_encoder, tiny_vector_env

import agents
from agents.policies.regions import RegionsAgent, wanted
from agents.testing import check_agent
from encoders.families.sparseformer.config import SparseFormerConfig, SparseFormerShape
from encoders.families.sparseformer.model import build_sparseformer
from encoders.storage import save_encoder

ROOT = Path(__file__).parents[2]
SHAPE = SparseFormerShape(
    latents=5, points=4, features=8, width=64, cortex_width=64, repeats=1, cortex_depth=1
)


def sparse_encoder(image_size=SETTINGS["image_size"]):
    config = SparseFormerConfig("sparse", image_size, 16, len(CLASS_NAMES), SHAPE, 16)
    config = dataclasses.replace(config, class_names=CLASS_NAMES, weights="trained")
    return build_sparseformer(config)


def by_counting(regions, visited, fine=40):
    """Shares of each region by points on a fine lattice over it."""
    _, height, width = visited.shape
    wanted = np.zeros(visited.shape)
    steps = (np.arange(fine) + 0.5) / fine
    for row, boxes in enumerate(regions):
        for y0, x0, y1, x1 in boxes:
            points = []
            for first, last, cells in ((y0, y1, height), (x0, x1, width)):
                middle, size = (first + last) / 2 * cells, max(abs(last - first) * cells, 1)
                points.append(np.floor(middle + size * (steps - 0.5)).astype(int))
            for y in points[0]:
                for x in points[1]:
                    if 0 <= y < height and 0 <= x < width:
                        wanted[row, y, x] += 1 / fine**2
    return np.where(visited == 0, wanted, 0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_every_region_spreads_a_weight_of_one(seed):
    random = np.random.default_rng(seed)
    regions = random.uniform(-0.3, 1.3, (2, 3, 4)).astype(np.float32)
    if seed % 3 == 0:
        regions[:, 0, 2:] = regions[:, 0, :2]  # without extent
    visited = (random.random((2, 4, 6)) < 0.3).astype(np.uint8)
    found = wanted(regions, visited)
    np.testing.assert_allclose(found, by_counting(regions, visited), atol=0.15)
    assert not found[visited > 0].any()
    nothing_seen = wanted(regions, visited * 0)
    assert (nothing_seen.sum((1, 2)) <= 3 + 1e-9).all()
    inside = np.tile(np.array([0.3, 0.3, 0.6, 0.6]), (1, 3, 1))
    assert np.isclose(wanted(inside, np.zeros((1, 4, 6))).sum(), 3)


def test_the_window_that_is_wanted_most_is_next():
    env = tiny_vector_env(2, encoder=sparse_encoder(), observe=("regions",))
    observation, _ = env.reset(seed=0)
    assert observation["regions"].shape == (2, 5, 4)
    agent = agents.make_agent("regions", env)
    corner = np.zeros((2, 5, 4), np.float32)
    corner[0] = [0.5, 2 / 3, 1.0, 1.0]  # the last window of 2x2 among 4x6 patches
    corner[1] = [0.0, 0.0, 0.5, 1 / 3]
    actions, _ = agent.predict({**observation, "regions": corner})
    assert actions.tolist() == [env.single_action_space.n - 1, 0]
    visited = observation["visited"].copy()
    visited[1, :2, :2] = 1  # what it wants was seen
    actions, _ = agent.predict({**observation, "regions": corner, "visited": visited})
    assert actions[1] != 0


def test_the_laws_of_agents():
    check_agent(RegionsAgent, scenes=MemoryScenes(), encoder=sparse_encoder(), **SETTINGS)


def test_encoders_without_regions_are_refused_in_a_sentence():
    with raises_naming(ValueError, ["'tiny'", "'tore'", "no regions", "'sparseformer'"]):
        tiny_vector_env(1, encoder=tiny_encoder(), observe=("regions",))
    env = tiny_vector_env(1, encoder=sparse_encoder())
    with raises_naming(ValueError, ["'regions'", "needs ['regions']"]):
        agents.make_agent("regions", env)


def evaluate(encoder, folder):
    options = "--agents random regions --split val --episodes 3 --num-glimpses 2 --device cpu"
    where = ("--encoder", str(encoder), "--output", str(folder))
    return subprocess.run(
        [sys.executable, ROOT / "eval_agent.py", *options.split(), *where],
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_compared_with_others_from_the_command_line(tmp_path):
    encoder = save_encoder(sparse_encoder((128, 256)), tmp_path / "encoder")
    done = evaluate(encoder, tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    assert "regions" in done.stdout
    refused = evaluate("tore-nano", tmp_path / "runs")
    assert refused.returncode != 0
    assert "has no regions" in refused.stderr.strip().splitlines()[-1]

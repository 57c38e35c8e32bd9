"""What an id shows and pays never changes: results published under it stay comparable.

`tests/golden/environments.json` holds hashes of observations and `info` without an encoder, and the
rewards that a fixed small encoder earns. `python tests/ave_env/test_golden.py` records the ids that
the file does not have yet; what is there it never touches.

Scenes, observations and `info` are the same bits on every machine: procedural scenes are drawn in
float64 before they are rounded to 8 bits, and the images of the other ids are halved, which OpenCV
does in integers. Rewards pass through float32 matrix products and may differ by `TOLERANCE`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path
from unittest import mock

import gymnasium as gym
import numpy as np
import pytest
import torch
from PIL import Image

from ave_env.registration import ENVIRONMENTS, configure

GOLDEN = Path(__file__).parents[1] / "golden" / "environments.json"
TOLERANCE = 1e-4
INFO = ("scene_id", "label", "step", "glimpse_box", "coverage", "action_mask")
CLASSES = ("n01440764", "n01443537", "n01484850")
CHANGED = (
    "{id}: {what} changed since the id was registered. Results published under an id must stay "
    "comparable: undo the change, or register {next}, leave {id} as it was, and record the new id "
    "with `python {recorder}`."
)


def write_images(root: Path, image_size: tuple[int, int]) -> Path:
    """Writes a tree of PNGs, twice as large as the scenes, whose pixels a formula gives."""
    height, width = (2 * side for side in image_size)
    counter = np.arange(height * width * 3, dtype=np.uint32)
    for number, name in enumerate(CLASSES * 2):
        pixels = (counter * np.uint32(2654435761) + np.uint32(number << 28)) >> np.uint32(24)
        folder = root / "train" / name
        folder.mkdir(parents=True, exist_ok=True)
        image = pixels.astype(np.uint8).reshape(height, width, 3)
        Image.fromarray(image).save(folder / f"{number}.png", compress_level=1)
    return root


def make(env_id: str, folder: Path, **settings) -> gym.Env:
    needs = {}
    if ENVIRONMENTS[env_id]["scenes"] in ("imagenet", "imagefolder"):
        needs["data_root"] = str(write_images(folder, configure(env_id).image_size))
    with warnings.catch_warnings(), mock.patch.dict(os.environ):
        os.environ.pop("AVE_SUN360_ROOT", None)
        warnings.filterwarnings("ignore", "NO SUN360 DATA")
        return gym.make(env_id, **needs, **settings)


def play(env: gym.Env):
    """Yields observation, `info` and reward of one episode and of the start of another."""
    count = env.action_space.n
    corners = (0, count - 1, count // 2, count // 2 + 1, count // 3)
    yield *env.reset(seed=0), 0.0
    for step in range(env.unwrapped.num_glimpses):
        action = corners[step % 5] if step < 5 else (step * 37) % count
        observation, reward, _, _, info = env.step(action)
        yield observation, info, reward
    yield *env.reset(), 0.0
    observation, reward, _, _, info = env.step(1)
    yield observation, info, reward


def digest(arrays: list[np.ndarray]) -> str:
    """Hash of arrays with their dtypes and shapes."""
    state = hashlib.sha256()
    for array in arrays:
        state.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
    return state.hexdigest()[:32]


def observe(env: gym.Env) -> dict[str, str]:
    """Hash of everything an episode shows, by key."""
    frames = [observation | {key: info[key] for key in INFO} for observation, info, _ in play(env)]
    return {key: digest([np.asarray(frame[key]) for frame in frames]) for key in frames[0]}


def reference_encoder(image_size: tuple[int, int], class_names: tuple[str, ...]):
    """A small encoder whose weights depend on nothing but NumPy's PCG64."""
    from tiny import tiny_encoder

    encoder = tiny_encoder(class_names=class_names, image_size=image_size, depth=2)
    rng = np.random.Generator(np.random.PCG64(0))
    with torch.no_grad():
        for _, parameter in sorted(encoder.named_parameters()):
            parameter.copy_(torch.from_numpy(0.2 * rng.standard_normal(tuple(parameter.shape))))
    return encoder


def rewards(env_id: str, folder: Path) -> dict[str, list[float]]:
    """Rewards of one episode and the start of another, by task."""
    earned = {}
    scenes = make(env_id, folder, encoder=None).unwrapped.scenes
    encoder = reference_encoder(scenes.image_size, scenes.class_names)
    for task in ("classification", "reconstruction"):
        env = make(env_id, folder, encoder=encoder, task=task, observe=("latent",))
        earned[task] = [round(reward, 6) for *_, reward in play(env)]
    return earned


def record() -> None:
    """Adds the ids that the file does not have."""
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    for env_id in ENVIRONMENTS.keys() - golden.keys():
        with tempfile.TemporaryDirectory() as folder:
            env = make(env_id, Path(folder), encoder=None)
            golden[env_id] = {"hashes": observe(env), "rewards": rewards(env_id, Path(folder))}
    unfinished = GOLDEN.with_suffix(".tmp")
    unfinished.write_text(json.dumps(golden, indent=2, sort_keys=True) + "\n")
    os.replace(unfinished, GOLDEN)


def complain(env_id: str, what: str) -> None:
    name, version = env_id.rsplit("-v", 1)
    recorder = f"tests/ave_env/{Path(__file__).name}"
    following = f"{name}-v{int(version) + 1}"
    pytest.fail(CHANGED.format(id=env_id, what=what, next=following, recorder=recorder))


@pytest.fixture(scope="module")
def golden():
    return json.loads(GOLDEN.read_text())


def test_every_id_is_recorded(golden):
    assert set(golden) == set(ENVIRONMENTS), (
        "record new ids with `python tests/ave_env/test_golden.py`"
    )


@pytest.mark.parametrize("env_id", sorted(ENVIRONMENTS))
def test_an_id_shows_what_it_always_showed(golden, env_id, tmp_path):
    recorded, now = golden[env_id]["hashes"], observe(make(env_id, tmp_path, encoder=None))
    changed = [key for key in recorded | now if recorded.get(key) != now.get(key)]
    if changed:
        complain(env_id, f"{', '.join(changed)} of the first observations and info")


@pytest.mark.parametrize("env_id", sorted(ENVIRONMENTS))
def test_an_id_pays_what_it_always_paid(golden, env_id, tmp_path):
    recorded, now = golden[env_id]["rewards"], rewards(env_id, tmp_path)
    assert set(recorded) == {"classification", "reconstruction"}
    for task, earned in recorded.items():
        assert max(map(abs, earned)) > 0.01, "these rewards pin nothing down"
        if not np.allclose(now[task], earned, rtol=TOLERANCE, atol=TOLERANCE):
            complain(env_id, f"rewards for {task} ({earned} before, {now[task]} now)")


def test_recording_leaves_what_is_there_alone():
    before = GOLDEN.read_bytes()
    record()
    assert GOLDEN.read_bytes() == before


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
    record()

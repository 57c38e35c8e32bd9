"""Scenes of one's own in the environments: arrays, objects, folders; and those of the package."""

import copy
import pickle
import re
import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image
from scene_trees import encoded, make_tree, noise

import ave_env  # noqa: F401 (registers the ids)
from ave_env.scenes import ArrayScenes, Scenes, open_scenes
from ave_env.scenes.cache import CachedScenes
from ave_env.scenes.check import check
from ave_env.scenes.pack import pack
from ave_env.scenes.sources import PANORAMAS
from ave_env.scenes.wordnet import in_words

IMAGES = np.stack([noise(seed, 64, 96) for seed in range(6)])
LABELS = [0, 1, 2, 0, 1, 2]
ID = "AVE-ImageFolder-v0"


def make(**settings) -> gym.Env:
    return gym.make(ID, **{"encoder": None} | settings)


class Squares(Scenes):
    """Grey scenes, as a user may write them."""

    name, split, class_names = "squares", "train", ("dark", "light")
    image_size, seamless = (32, 64), True
    labels = np.array([0, 1])

    def load(self, index):
        return np.full((32, 64, 3), 50 + 150 * index, np.uint8)


def test_an_array_is_explored_as_it_is() -> None:
    env = make(scenes=IMAGES, task="reconstruction", split="val")
    scenes = env.unwrapped.scenes
    assert (scenes.image_size, len(scenes), scenes.split) == ((64, 96), 6, "val")
    assert not scenes.labelled
    env.reset(seed=0, options={"scene_id": 4})
    observation = env.step(0)[0]
    assert np.array_equal(observation["glimpse"], IMAGES[4, :32, :32])


def test_images_without_classes_are_not_classified() -> None:
    with pytest.raises(ValueError, match=r"no classes to tell apart.*task='reconstruction'"):
        make(scenes=IMAGES)


@pytest.mark.parametrize("mode", [None, "sync", "async"])
def test_labelled_arrays_work_in_every_vector(mode: str | None) -> None:
    scenes = ArrayScenes(IMAGES, LABELS, ["a", "b", "c"])
    envs = gym.make_vec(ID, num_envs=2, vectorization_mode=mode, scenes=scenes, encoder=None)
    _, info = envs.reset(seed=3)
    assert info["label"].tolist() == [LABELS[scene] for scene in info["scene_id"]]
    envs.step(envs.action_space.sample())
    envs.close()


def test_scenes_of_a_class_of_ones_own_work() -> None:
    env = make(scenes=Squares(), wrap_azimuth=True, cache_bytes=10**6)
    assert isinstance(env.unwrapped.scenes, CachedScenes)
    env.reset(options={"scene_id": 1})
    assert (env.step(3)[0]["glimpse"] == 200).all()


def test_copies_share_the_array_and_pickles_hold_it(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", IMAGES)
    scenes = ArrayScenes(np.load(tmp_path / "images.npy", mmap_mode="r"), LABELS)
    assert scenes.class_names == ("0", "1", "2")
    assert copy.deepcopy(scenes) is scenes
    assert np.array_equal(pickle.loads(pickle.dumps(scenes)).load(5), IMAGES[5])
    assert not scenes.load(5).flags.writeable


@pytest.mark.parametrize(
    ("images", "labels", "names", "message"),
    [
        (IMAGES[..., 0], None, None, r"shape \(6, 64, 96\); expected uint8 of shape"),
        (IMAGES / 255, None, None, "images are float64; expected uint8"),
        (IMAGES[:0], None, None, r"shape \(0, 64, 96, 3\)"),
        ([1, 2], None, None, "images are a list; expected a NumPy array"),
        (IMAGES, [0.5] * 6, None, "labels are float64; expected integers"),
        (IMAGES, [0] * 5, None, r"labels have shape \(5,\); expected one for each image, \(6,\)"),
        (IMAGES, LABELS, ["a", "b"], "labels from 0 to 2 for 2 class names"),
        (IMAGES, LABELS, ["a", "b", "a"], "expected a tuple of distinct names"),
        (IMAGES, None, ["a"], "class_names are given without labels"),
    ],
)
def test_arrays_that_are_no_scenes_are_explained(images, labels, names, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        ArrayScenes(images, labels, names)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data_root": "x"}, "data_root='x', but the scenes are given"),
        ({"seamless": True}, "seamless=True, but the scenes that are given have seamless=False"),
        ({"image_size": (32, 32)}, "image_size=\\(64, 96\\), the environment has"),
    ],
)
def test_what_contradicts_given_scenes_is_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(scenes=ArrayScenes(IMAGES, LABELS), **settings)


def test_scenes_that_do_not_hold_together_are_refused() -> None:
    scenes = Squares()
    scenes.labels = np.array([0, 2])
    with pytest.raises(ValueError, match="labels from 0 to 2 for 2 class names"):
        make(scenes=scenes)


def test_something_else_is_no_scenes() -> None:
    with pytest.raises(TypeError, match="expected the name of a source, a NumPy array"):
        make(scenes=[IMAGES])
    with pytest.raises(ValueError, match=r"did you mean 'imagenet'.*data_root"):
        make(scenes="imagnet")


def wide_tree(root: Path) -> Path:
    """Folders of images that are twice as wide as high."""
    for number in range(12):
        folder = root / f"train/{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.jpg").write_bytes(encoded(noise(number, 40, 80)))
    return root


def test_wide_images_are_not_silently_photos(tmp_path: Path, capsys) -> None:
    root = wide_tree(tmp_path / "data")
    with pytest.warns(UserWarning, match="twice as wide as high.*say seamless=True or"):
        assert not make(data_root=root).unwrapped.scenes.seamless
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for said in (True, False):
            assert make(data_root=root, seamless=said).unwrapped.scenes.seamless is said
    assert any("twice as wide as high" in note for note in check(root, progress=False).notes)
    pack(root, tmp_path / "a.h5", progress=False)
    assert "twice as wide as high" in capsys.readouterr().err
    pack(root, tmp_path / "b.h5", progress=False, seamless=True)
    assert "twice" not in capsys.readouterr().err
    assert make(data_root=tmp_path / "b.h5").unwrapped.scenes.seamless


def test_photos_are_not_joined_at_the_edges_without_a_word(tmp_path: Path) -> None:
    root = make_tree(tmp_path, {"train/a": 3, "train/b": 3})
    with pytest.warns(UserWarning, match="wrap_azimuth=True: the left and right edges"):
        make(data_root=root, wrap_azimuth=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(data_root=root, wrap_azimuth=True, seamless=True)


def test_real_panoramas_are_part_of_the_package() -> None:
    sizes = {}
    for split in ("train", "val", "test"):
        scenes = open_scenes("panoramas", split=split)
        assert (scenes.name, scenes.seamless) == ("panoramas", True)
        assert scenes.class_names == ("indoor", "outdoor")
        sizes[split] = len(scenes)
    assert sizes == {"train": 8, "val": 2, "test": 8}
    listed = (PANORAMAS / "SOURCES.md").read_text("utf-8")
    for path in PANORAMAS.glob("*/*/*"):
        assert re.search(rf"\b{path.stem}[,.]", listed)
        assert Image.open(path).size == (512, 256)
        pixels = np.asarray(Image.open(path), np.int64)
        seam = np.abs(pixels[:, 0] - pixels[:, -1]).mean()
        assert seam < 2 * np.abs(np.diff(pixels, axis=1)).mean() + 1, "the edges meet"
    assert sum(path.stat().st_size for path in PANORAMAS.glob("**/*.*")) < 1_500_000
    assert check(PANORAMAS, progress=False).broken == []
    with pytest.raises(ValueError, match="read no files of yours"):
        open_scenes("panoramas", data_root="x")


def test_classes_of_imagenet_have_names(tmp_path: Path) -> None:
    assert in_words(("n01440764", "n01443537", "cat")) == ("tench", "goldfish", "cat")
    assert in_words(("n02012849", "n03126707")) == ("crane (n02012849)", "crane (n03126707)")
    root = make_tree(tmp_path, {"val/n01440764": 1, "val/n01443537": 1})
    settings = {"data_root": root, "split": "val", "image_size": (32, 32), "encoder": None}
    env = gym.make("AVE-ImageNet-v0", render_mode="rgb_array", **settings)
    assert env.unwrapped.scenes.class_names == ("n01440764", "n01443537")
    env.reset(options={"scene_id": 0})
    assert env.unwrapped.vector.snapshot(0).class_names == ("tench", "goldfish")

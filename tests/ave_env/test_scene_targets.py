"""What a task may ask of a scene, from every source."""

from pathlib import Path

import numpy as np
import pytest
from scene_trees import make_tree

from ave_env.scenes import Scenes, open_scenes
from ave_env.scenes.cache import CachedScenes
from ave_env.scenes.pack import pack

SIZE = (24, 32)
FOLDERS = {
    "sun360": {"indoor/bedroom": 12, "outdoor/beach": 12},
    "imagenet": {"train/n01440764": 2, "train/n01443537": 1, "val/n01440764": 1},
    "imagefolder": {"train/cat": 2, "train/dog": 3, "val/dog": 1},
}


@pytest.fixture(params=["synthetic", *FOLDERS, *(f"{source}.h5" for source in FOLDERS)])
def scenes(request: pytest.FixtureRequest, tmp_path: Path) -> Scenes:
    source, packed = Path(request.param).stem, request.param.endswith(".h5")
    root = None
    if source in FOLDERS:
        root = make_tree(tmp_path / "tree", FOLDERS[source])
        if packed:
            pack(root, tmp_path / "packed.h5", progress=False)
            root = tmp_path / "packed.h5"
    return open_scenes(source, data_root=root, image_size=SIZE)


@pytest.mark.parametrize("max_bytes", [None, 0, 10**5], ids=["plain", "no room", "cached"])
def test_every_source_has_labels_and_images(scenes: Scenes, max_bytes: int | None) -> None:
    plain = scenes
    if max_bytes is not None:
        scenes = CachedScenes(plain, max_bytes)
    assert scenes.targets == ("label", "image")
    for index in (0, 1, 0, len(scenes) - 1):
        label = scenes.target("label", index)
        assert type(label) is int
        assert label == plain.labels[index]
        image = scenes.target("image", index)
        assert (image.shape, image.dtype) == ((*SIZE, 3), np.uint8)
        assert np.array_equal(image, plain.load(index))
    for name in scenes.targets:
        for index in (-1, len(scenes)):
            with pytest.raises(IndexError):
                scenes.target(name, index)
    with pytest.raises(
        ValueError, match=rf"'{scenes.name}' have no target 'boxes'; they have 'label', 'image'"
    ):
        scenes.target("boxes", 0)


class MaskedScenes(Scenes):
    """A source that knows more than class and image."""

    name, split, seamless = "masked", "train", False
    class_names, labels = ("a",), np.zeros(3, np.int64)
    image_size = SIZE
    targets = (*Scenes.targets, "segmentation")

    def __init__(self) -> None:
        self.loads = 0

    def load(self, index: int) -> np.ndarray:
        self.loads += 1
        return np.full((*SIZE, 3), index, np.uint8)

    def target(self, name: str, index: int) -> int | np.ndarray:
        if name == "segmentation":
            return np.full(SIZE, index, np.int64)
        return super().target(name, index)


def test_a_source_brings_targets_of_its_own_also_behind_a_cache() -> None:
    source = MaskedScenes()
    for scenes in (source, CachedScenes(source, 10**6)):
        assert scenes.targets == ("label", "image", "segmentation")
        assert (scenes.target("segmentation", 2) == 2).all()
        assert scenes.target("label", 2) == 0
        with pytest.raises(ValueError, match="they have 'label', 'image', 'segmentation'"):
            scenes.target("boxes", 2)
    cached = CachedScenes(source, 10**6)
    source.loads = 0
    for _ in range(3):
        assert (cached.target("image", 1) == 1).all()
    assert source.loads == 1

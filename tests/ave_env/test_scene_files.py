"""Scenes from folders: layouts, splits, listings, and what is said when something is wrong."""

import copy
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene_trees import encoded, make_tree, noise, quadrants, unprivileged

from ave_env.scenes import SceneError, open_scenes
from ave_env.scenes.files.splits import assign_parts

SIZE = (24, 32)


@pytest.fixture(autouse=True)
def _no_data_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    for source in ("SUN360", "IMAGENET", "IMAGEFOLDER"):
        monkeypatch.delenv(f"AVE_{source}_ROOT", raising=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(
        tmp_path / "data", {"train/cat": 20, "train/dog": 10, "val/cat": 3, "val/dog": 2}
    )


@pytest.fixture
def sun360(tmp_path: Path) -> Path:
    folders = {"indoor/bedroom": 20, "indoor/church": 10, "outdoor/beach": 30}
    return make_tree(tmp_path / "sun360", folders)


def digests(scenes) -> set[bytes]:
    return {scenes.load(index).tobytes() for index in range(len(scenes))}


def test_a_tree_is_read_as_it_stands(tree: Path) -> None:
    scenes = open_scenes("imagefolder", split="val", data_root=str(tree), image_size=SIZE)
    assert (scenes.name, scenes.split, scenes.seamless) == ("imagefolder", "val", False)
    assert scenes.class_names == ("cat", "dog")
    assert scenes.image_size == SIZE
    assert scenes.labels.dtype == np.int64
    assert scenes.labels.tolist() == [0, 0, 0, 1, 1]
    for index in range(5):
        image = scenes.load(index)
        assert image.shape == (*SIZE, 3)
        assert image.dtype == np.uint8
        assert image.flags.c_contiguous
        assert np.abs(image.astype(int) - noise(30 + index)).mean() < 4
    for index in (-1, 5):
        with pytest.raises(IndexError, match=str(index)):
            scenes.load(index)


def test_panoramas_are_resized_and_photos_cropped(tmp_path: Path) -> None:
    folder = make_tree(tmp_path, {"train/a": 0}) / "train" / "a"
    (folder / "0.png").write_bytes(encoded(quadrants(32, 128), "PNG"))
    photo = open_scenes("imagefolder", data_root=tmp_path, image_size=(32, 64)).load(0)
    panorama = open_scenes(
        "imagefolder", data_root=tmp_path, image_size=(32, 64), seamless=True
    ).load(0)
    assert np.array_equal(photo, quadrants(32, 128)[:, 32:96])
    assert np.array_equal(panorama, quadrants(32, 64))


def test_a_tree_without_val_holds_a_tenth_of_train_out(tmp_path: Path) -> None:
    make_tree(tmp_path, {"train/a": 40, "train/b": 20})
    splits = {
        split: open_scenes("imagefolder", split=split, data_root=tmp_path, image_size=SIZE)
        for split in ("train", "val", "test")
    }
    assert np.bincount(splits["train"].labels).tolist() == [36, 18]
    assert np.bincount(splits["val"].labels).tolist() == [4, 2]
    train, val = digests(splits["train"]), digests(splits["val"])
    assert len(train | val) == 60
    assert not train & val
    assert digests(splits["test"]) == val


def test_test_falls_back_to_val_but_val_not_to_test(tree: Path, tmp_path: Path) -> None:
    options = {"data_root": tree, "image_size": SIZE}
    assert digests(open_scenes("imagefolder", split="test", **options)) == digests(
        open_scenes("imagefolder", split="val", **options)
    )
    assert len(open_scenes("imagefolder", split="train", **options)) == 30
    make_tree(tmp_path / "other", {"test/cat": 2})
    for split in ("train", "val"):
        with pytest.raises(SceneError, match=f"no '{split}' split here, only test"):
            open_scenes("imagefolder", split=split, data_root=tmp_path / "other", image_size=SIZE)


def test_val_is_held_out_also_beside_a_test_split(tmp_path: Path) -> None:
    make_tree(tmp_path, {"train/a": 20, "test/a": 3})
    sizes = [
        len(open_scenes("imagefolder", split=split, data_root=tmp_path, image_size=SIZE))
        for split in ("train", "val", "test")
    ]
    assert sizes == [18, 2, 3]


def test_classes_agree_between_splits_that_lack_some(tmp_path: Path) -> None:
    make_tree(tmp_path, {"train/a": 1, "train/b": 1, "train/c": 1, "val/c": 1, "val/a": 0})
    val = open_scenes("imagefolder", split="val", data_root=tmp_path, image_size=SIZE)
    assert val.class_names == ("a", "b", "c")
    assert val.labels.tolist() == [2]


def test_one_class_of_one_image_is_enough(tmp_path: Path) -> None:
    make_tree(tmp_path, {"train/only": 1})
    scenes = open_scenes("imagefolder", data_root=tmp_path, image_size=SIZE)
    assert (len(scenes), scenes.class_names) == (1, ("only",))
    with pytest.raises(SceneError, match="too few images"):
        open_scenes("imagefolder", split="val", data_root=tmp_path, image_size=SIZE)


def test_imagenet_layout(tmp_path: Path) -> None:
    make_tree(tmp_path, {"val/n01440764": 2, "val/n01443537": 1}, suffix=".JPEG")
    scenes = open_scenes("imagenet", split="test", data_root=tmp_path, image_size=SIZE)
    assert scenes.name == "imagenet"
    assert scenes.class_names == ("n01440764", "n01443537")
    assert len(scenes) == 3
    with pytest.raises(SceneError, match="no 'train' split here, only val"):
        open_scenes("imagenet", split="train", data_root=tmp_path, image_size=SIZE)


def test_imagenet_refuses_other_classes(tree: Path) -> None:
    with pytest.raises(SceneError, match=r"WordNet ids.*found class folders cat, dog.*imagefolder"):
        open_scenes("imagenet", data_root=tree, image_size=SIZE)


def test_sun360_without_a_list_is_divided_by_hash(sun360: Path) -> None:
    splits = {
        split: open_scenes("sun360", split=split, data_root=sun360, image_size=SIZE)
        for split in ("train", "val", "test")
    }
    for scenes in splits.values():
        assert (scenes.name, scenes.seamless) == ("sun360", True)
        assert scenes.class_names == ("indoor/bedroom", "indoor/church", "outdoor/beach")
    assert np.bincount(splits["train"].labels).tolist() == [16, 8, 24]
    assert np.bincount(splits["val"].labels).tolist() == [2, 1, 3]
    assert np.bincount(splits["test"].labels).tolist() == [2, 1, 3]
    assert len(set.union(*(digests(scenes) for scenes in splits.values()))) == 60


@pytest.mark.parametrize("place", ["argument", "inside", "found"])
def test_sun360_list_file_decides_the_splits(sun360: Path, tmp_path: Path, place: str) -> None:
    names = [f"outdoor/beach/{n:04d}.jpg" for n in range(30)]
    names += [f"indoor/church/{n:04d}.jpg" for n in range(10)]
    names = [names[i] for i in np.random.default_rng(0).permutation(40)]
    path = {
        "argument": tmp_path / "list.txt",
        "inside": sun360 / "list.txt",
        "found": sun360 / "sun360-dataset26-random.txt",
    }[place]
    path.write_text("\ufeff" + "\r\n".join([*names, ""]), encoding="utf-8")
    given = {"argument": str(path), "inside": "list.txt", "found": None}[place]
    val, train, test = (
        open_scenes("sun360", split=split, data_root=sun360, image_size=SIZE, list_file=given)
        for split in ("val", "train", "test")
    )
    assert val.class_names == ("indoor/church", "outdoor/beach")
    located = [[os.path.relpath(s.locate(i), sun360) for i in range(len(s))] for s in (val, train)]
    assert located == [names[:4], names[4:]]
    assert [val.class_names[label] for label in val.labels] == [
        n.rsplit("/", 1)[0] for n in names[:4]
    ]
    assert digests(test) == digests(val)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["indoor/church/0000.jpg", "indoor/church/no.jpg"], r"1 of 2 files .*no\.jpg' \(line 2\)"),
        (["indoor/nowhere/0000.jpg"], r"1 of 1 files are not in .*line 1"),
        (["indoor/church/0000.jpg"] * 2, "line 2 repeats line 1"),
        (["", "church/0000.jpg"], r"line 2: 'church/0000.jpg' is not like \{indoor,outdoor\}"),
        (["indoor/../church/0000.jpg"], "line 1"),
        ([], "empty"),
    ],
)
def test_a_wrong_list_file_is_explained(
    sun360: Path, tmp_path: Path, lines: list[str], message: str
) -> None:
    path = tmp_path / "list.txt"
    path.write_text("\n".join(lines))
    with pytest.raises(SceneError, match=rf"^{path}: .*{message}"):
        open_scenes("sun360", data_root=sun360, image_size=SIZE, list_file=path)


def test_a_missing_or_binary_list_file_is_named(sun360: Path, tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"nowhere\.txt: no such list file"):
        open_scenes("sun360", data_root=sun360, image_size=SIZE, list_file="nowhere.txt")
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\0")
    with pytest.raises(SceneError, match=r"list\.txt: a list file is UTF-8"):
        open_scenes("sun360", data_root=sun360, image_size=SIZE, list_file=tmp_path / "list.txt")


def test_sun360_without_data_is_synthetic_after_one_loud_warning() -> None:
    with pytest.warns(UserWarning, match="NO SUN360 DATA.*AVE_SUN360_ROOT") as caught:
        scenes = open_scenes("sun360", split="val", data_root=None, image_size=(128, 256), seed=3)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert scenes.name == "synthetic"
    same = open_scenes("synthetic", split="val", data_root=None, image_size=(128, 256), seed=3)
    assert np.array_equal(scenes.load(5), same.load(5))


@pytest.mark.parametrize("source", ["imagenet", "imagefolder"])
def test_no_data_says_what_to_set(source: str) -> None:
    with pytest.raises(SceneError, match=rf"AVE_{source.upper()}_ROOT: not set.*\{{train,val"):
        open_scenes(source, split="val", data_root=None, image_size=SIZE)


def test_the_environment_variable_is_used_and_named(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVE_IMAGEFOLDER_ROOT", str(tree))
    assert len(open_scenes("imagefolder", split="val", data_root=None, image_size=SIZE)) == 5
    monkeypatch.setenv("AVE_SUN360_ROOT", str(tree / "nothing"))
    with pytest.raises(
        SceneError, match=r"nothing: no such folder; AVE_SUN360_ROOT has to be.*\{indoor"
    ):
        open_scenes("sun360", data_root=None, image_size=SIZE)


@pytest.mark.parametrize(
    ("source", "root", "message"),
    [
        ("sun360", "", r"expected \{indoor,outdoor\}/<class>/pano_\*\.jpg, found train, val"),
        (
            "imagefolder",
            "train",
            r"expected \{train,val,test\}.*found cat, dog; did you mean its p",
        ),
        ("imagenet", "train/cat", r"expected a folder per class.*found 0000\.jpg, 0001"),
        ("imagefolder", "train/cat/0000.jpg/x", "no such folder; .* is the last of its folders"),
        ("imagefolder", "train/cat/0000.jpg", "data_root points to a file that is not HDF5"),
        (
            "imagenet",
            "nowhere",
            r"no such folder; data_root has to be a folder \{train,val\}",
        ),
    ],
)
def test_a_wrong_root_says_what_was_expected_and_found(
    tree: Path, source: str, root: str, message: str
) -> None:
    with pytest.raises(SceneError, match=rf"^{tree / root}: .*{message}"):
        open_scenes(source, data_root=tree / root, image_size=SIZE)


def test_arguments_that_make_no_sense_are_refused(tree: Path) -> None:
    with pytest.raises(
        ValueError, match="unknown source 'mnist'; expected one of synthetic, sun360"
    ):
        open_scenes("mnist")
    with pytest.raises(ValueError, match="unknown split 'dev'; expected one of train, val, test"):
        open_scenes("synthetic", split="dev")
    with pytest.raises(ValueError, match="image_size"):
        open_scenes("synthetic", image_size=(0, 4))
    with pytest.raises(ValueError, match="synthetic scenes read no files"):
        open_scenes("synthetic", data_root=tree)
    with pytest.raises(ValueError, match="only sun360 scenes have a list file"):
        open_scenes("imagefolder", data_root=tree, list_file="list.txt")
    with pytest.raises(ValueError, match="needs data_root or AVE_SUN360_ROOT"):
        open_scenes("sun360", list_file="list.txt")


def test_a_broken_image_is_named_when_it_is_loaded(tree: Path) -> None:
    scenes = open_scenes("imagefolder", split="val", data_root=tree, image_size=SIZE)
    data = (tree / "val/cat/0000.jpg").read_bytes()
    (tree / "val/cat/0000.jpg").write_bytes(data[: len(data) // 2])
    (tree / "val/cat/0001.jpg").write_bytes(b"")
    (tree / "val/cat/0002.jpg").unlink()
    (tree / "val/dog/0000.jpg").unlink()
    (tree / "val/dog/0000.jpg").symlink_to("0000.jpg")
    for index, name, message in (
        (0, "cat/0000.jpg", "truncated"),
        (1, "cat/0001.jpg", "empty"),
        (2, "cat/0002.jpg", "No such file"),
        (3, "dog/0000.jpg", "symbolic links"),
    ):
        with pytest.raises(SceneError, match=rf"^{tree}/val/{name}: .*{message}") as caught:
            scenes.load(index)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert scenes.load(4).shape == (*SIZE, 3)


@pytest.mark.parametrize("name", ["valid", "validation", "Val", "VALIDATION"])
def test_splits_have_all_their_customary_names(tmp_path: Path, name: str) -> None:
    make_tree(tmp_path, {"Training/a": 20, f"{name}/a": 3, "testing/a": 2})
    sizes = [
        len(open_scenes("imagefolder", split=split, data_root=tmp_path, image_size=SIZE))
        for split in ("train", "val", "test")
    ]
    assert sizes == [20, 3, 2]


def test_two_folders_of_one_split_are_refused(tree: Path) -> None:
    (tree / "validation").mkdir()
    with pytest.raises(SceneError, match="val and validation are both the split 'val'"):
        open_scenes("imagefolder", data_root=tree, image_size=SIZE)


@pytest.mark.parametrize("link", ["val", "val/bird", "train/bird"])
def test_a_link_to_nowhere_is_no_missing_split_or_class(tree: Path, link: str) -> None:
    if link == "val":
        shutil.rmtree(tree / "val")
    (tree / link).symlink_to("/mnt/unplugged")
    with pytest.raises(SceneError, match=rf"^{tree / link}: a link to '/mnt/unplugged'"):
        open_scenes("imagefolder", split=link.split("/")[0], data_root=tree, image_size=SIZE)


@pytest.mark.parametrize(
    ("name", "message"),
    [("Dog", "is 'Dog' its class 'dog'"), ("images", "val_annotations"), ("x", "of its own")],
)
def test_classes_that_train_does_not_have_are_refused(tree: Path, name: str, message: str) -> None:
    make_tree(tree, {f"val/{name}": 1})
    with pytest.raises(SceneError, match=rf"^{tree}/val: classes .* not have: {name}; .*{message}"):
        open_scenes("imagefolder", split="val", data_root=tree, image_size=SIZE)
    assert len(open_scenes("imagefolder", split="train", data_root=tree, image_size=SIZE)) == 30


def test_folders_of_classes_need_no_splits(tmp_path: Path) -> None:
    make_tree(tmp_path, {"cat": 20, "train": 10})  # a train is a vehicle here
    train, val, test = (
        open_scenes("imagefolder", split=split, data_root=tmp_path, image_size=SIZE)
        for split in ("train", "val", "test")
    )
    assert train.class_names == ("cat", "train")
    assert [np.bincount(scenes.labels).tolist() for scenes in (train, val)] == [[18, 9], [2, 1]]
    assert digests(test) == digests(val)


@pytest.mark.parametrize(("folder", "sizes"), [("", [9, 1, 1]), ("train", [9, 1, 1])])
def test_images_need_no_classes(tmp_path: Path, folder: str, sizes: list[int]) -> None:
    make_tree(tmp_path, {folder: 10})
    splits = [
        open_scenes("imagefolder", split=split, data_root=tmp_path, image_size=SIZE)
        for split in ("train", "val", "test")
    ]
    assert [len(scenes) for scenes in splits] == sizes
    assert {scenes.class_names for scenes in splits} == {("scene",)}


def test_splits_need_no_classes(tmp_path: Path) -> None:
    make_tree(tmp_path, {"train": 10, "val": 3})
    val = open_scenes("imagefolder", split="val", data_root=tmp_path, image_size=SIZE)
    assert (len(val), val.class_names) == (3, ("scene",))


def test_a_test_split_without_classes_does_no_harm_to_the_others(tmp_path: Path) -> None:
    make_tree(tmp_path, {"train/n01": 3, "val/n01": 1, "test": 4})  # as ImageNet is published
    assert len(open_scenes("imagenet", split="val", data_root=tmp_path, image_size=SIZE)) == 1
    with pytest.raises(SceneError, match=rf"^{tmp_path}/test: expected a folder per class"):
        open_scenes("imagenet", split="test", data_root=tmp_path, image_size=SIZE)


@pytest.mark.parametrize("folder", ["dev/cat", "", "train"])
def test_what_may_have_been_meant_is_warned_of(tmp_path: Path, folder: str) -> None:
    make_tree(tmp_path, {"train/cat": 20, folder: 1})
    unused = tmp_path / ("dev" if folder == "dev/cat" else f"{folder or '.'}/0000.jpg")
    with pytest.warns(UserWarning, match=rf"not used: {unused}; the splits here are train"):
        open_scenes("imagefolder", data_root=tmp_path, image_size=SIZE)


def test_images_deeper_than_classes_are_no_classes_without_images(tmp_path: Path) -> None:
    make_tree(tmp_path, {"train/n01/images": 2})
    with pytest.raises(SceneError, match=r"no images .*such as .*train/n01/images, are not read"):
        open_scenes("imagenet", data_root=tmp_path, image_size=SIZE)


def test_a_folder_too_high_is_told_where_to_go(tree: Path) -> None:
    with pytest.raises(SceneError, match=rf"found data; did you mean {tree}\?"):
        open_scenes("imagefolder", data_root=tree.parent, image_size=SIZE)


def test_a_misspelt_folder_is_told_what_is_near(tree: Path) -> None:
    with pytest.raises(SceneError, match=r"no such folder \(did you mean 'data'\?\)"):
        open_scenes("imagefolder", data_root=tree.parent / "dat", image_size=SIZE)


def test_a_list_made_by_find_is_the_same_list(sun360: Path, tmp_path: Path) -> None:
    names = [f"{place}/{n:04d}.jpg" for place in ("indoor/church", "outdoor/beach") for n in (1, 2)]
    (tmp_path / "list.txt").write_text("\n".join(f"./{name}" for name in names))
    scenes = open_scenes(
        "sun360", data_root=sun360, image_size=SIZE, list_file=tmp_path / "list.txt"
    )
    assert scenes.class_names == ("indoor/church", "outdoor/beach")
    (tmp_path / "list.txt").write_text(f"{names[0]}\n.//{names[0]}\n")
    with pytest.raises(SceneError, match="line 2 repeats line 1"):
        open_scenes("sun360", data_root=sun360, image_size=SIZE, list_file=tmp_path / "list.txt")
    (tmp_path / "list.txt").write_text("inside/church/0000.jpg\n")
    with pytest.raises(SceneError, match=r"line 1: 'inside/church/0000\.jpg' is not like"):
        open_scenes("sun360", data_root=sun360, image_size=SIZE, list_file=tmp_path / "list.txt")


def test_unusual_names_work(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café ☕") for form in ("NFC", "NFD"))
    undecodable = os.fsdecode(b"bad\xff name.jpg")
    make_tree(tmp_path, {f"train/{composed}": 10, "train/z z": 10, f"val/{decomposed}": 1})
    (tmp_path / "train" / "z z" / undecodable).write_bytes(b"")
    (tmp_path / "val" / decomposed / "ä ö (1).JPG").write_bytes(encoded(noise(99)))
    val = open_scenes("imagefolder", split="val", data_root=tmp_path, image_size=SIZE)
    assert val.class_names == (composed, "z z")
    assert val.labels.tolist() == [0, 0]
    assert np.abs(val.load(1).astype(int) - noise(99)).mean() < 4
    train = open_scenes("imagefolder", data_root=tmp_path, image_size=SIZE)
    assert np.bincount(train.labels).tolist() == [10, 11]
    with pytest.raises(SceneError) as caught:
        train.load(len(train) - 1)
    assert r"bad\udcff name.jpg: is empty" in str(caught.value)
    str(caught.value).encode("utf-8")


def test_hidden_files_and_other_things_are_passed_over(tree: Path) -> None:
    for name in (".DS_Store", "._0000.jpg", "Thumbs.db", "notes.txt"):
        (tree / "val" / "cat" / name).write_bytes(b"x")
    (tree / "val" / "cat" / "deeper.jpg").mkdir()
    (tree / "val" / ".cache").mkdir()
    (tree / "README.md").write_text("x")
    scenes = open_scenes("imagefolder", split="val", data_root=tree, image_size=SIZE)
    assert (len(scenes), scenes.class_names) == (5, ("cat", "dog"))


def test_links_are_followed_and_loops_are_named(tree: Path) -> None:
    (tree / "test").symlink_to("val")
    (tree / "val" / "cat" / "up").symlink_to(tree)
    assert len(open_scenes("imagefolder", split="test", data_root=tree, image_size=SIZE)) == 5
    (tree / "train" / "up").symlink_to("..")
    with pytest.raises(SceneError, match=rf"^{tree}/train/up: a class without images"):
        open_scenes("imagefolder", data_root=tree, image_size=SIZE)
    (tree / "train" / "up").unlink()
    (tree / "train" / "self").symlink_to("self")
    with pytest.raises(SceneError, match=rf"^{tree}/train/self: .*symbolic links"):
        open_scenes("imagefolder", data_root=tree, image_size=SIZE)


def test_an_unreadable_folder_is_named() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        root = make_tree(Path(name), {"train/cat": 2, "train/dog": 1})
        root.chmod(0o755)
        (root / "train" / "dog").chmod(0)
        try:
            with unprivileged(), pytest.raises(SceneError, match=r"dog: .*Permission denied"):
                open_scenes("imagefolder", data_root=root, image_size=SIZE)
        finally:
            (root / "train" / "dog").chmod(0o755)


def test_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="found nothing"):
        open_scenes("imagefolder", data_root=tmp_path, image_size=SIZE)
    (tmp_path / "train").mkdir()
    with pytest.raises(SceneError, match=rf"^{tmp_path}/train: no images"):
        open_scenes("imagefolder", data_root=tmp_path, image_size=SIZE)
    (tmp_path / "train" / "cat").mkdir()
    with pytest.raises(SceneError, match=rf"^{tmp_path}/train: no images \(\.bmp"):
        open_scenes("imagefolder", data_root=tmp_path, image_size=SIZE)


def test_pickled_and_copied_scenes_are_the_same(tree: Path) -> None:
    scenes = open_scenes("imagefolder", split="val", data_root=tree, image_size=SIZE)
    for other in (pickle.loads(pickle.dumps(scenes)), copy.deepcopy(scenes)):
        assert np.array_equal(other.labels, scenes.labels)
        assert np.array_equal(other.load(4), scenes.load(4))


@given(
    st.lists(st.tuples(st.text(min_size=1), st.integers(0, 3)), unique_by=lambda t: t[0]),
    st.integers(1, 2),
    st.randoms(use_true_random=False),
)
def test_parts_do_not_depend_on_order_and_are_a_tenth_each(items, held_out_parts, random) -> None:
    def parts_of(files):
        labels = np.array([label for _, label in files], np.int64)
        return assign_parts([name for name, _ in files], labels, held_out_parts)

    parts = parts_of(items)
    for label in range(4):
        counts = np.bincount(parts[[own == label for _, own in items]], minlength=3)
        total = counts.sum()
        size = max(1, round(total / 10))
        assert counts[1] == (size if total > size else 0)
        assert counts[2] == (size if held_out_parts == 2 and total > 2 * size else 0)
    # Names that differ only in how accents are stored have one hash, and keep their order.
    if len({unicodedata.normalize("NFC", name) for name, _ in items}) == len(items):
        shuffled = random.sample(items, len(items))
        assert dict(zip(shuffled, parts_of(shuffled), strict=True)) == dict(
            zip(items, parts, strict=True)
        )


def test_held_out_files_never_change() -> None:
    names = [f"cat/{number:04d}.jpg" for number in range(40)]
    held_out = np.flatnonzero(assign_parts(names, np.zeros(40, np.int64), 1))
    assert held_out.tolist() == [7, 18, 22, 32]


def test_importing_scenes_is_light() -> None:
    code = (
        "import sys, ave_env.scenes, ave_env.scenes.pack, ave_env.scenes.check\n"
        "print([m for m in ('cv2', 'h5py', 'torch', 'timm', 'PIL') if m in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"


def test_opening_real_data_warns_of_nothing(sun360: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_scenes("sun360", data_root=sun360, image_size=SIZE).load(0)

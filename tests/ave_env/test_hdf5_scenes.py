"""Scenes from HDF5 are those of the folder they were packed from, in every process."""

import copy
import multiprocessing
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from scene_trees import encoded, make_tree, noise

from ave_env.scenes import SceneError, open_scenes
from ave_env.scenes.check import check
from ave_env.scenes.files.splits import SplitChoice
from ave_env.scenes.pack import pack
from ave_env.scenes.packed import guarded
from ave_env.scenes.packed.hdf5 import Hdf5Scenes
from ave_env.scenes.packed.schema import BYTES

SIZE = (24, 32)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    tree = make_tree(tmp_path / "data", {"train/cat": 20, "train/dog": 12, "test/cat": 2})
    pack(tree, tmp_path / "data.h5", progress=False)
    return tmp_path / "data.h5"


def write_by_hand(path: Path, **attributes) -> None:
    """A file of another author: the required parts of the schema and nothing else."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"format_version": 1, "class_names": np.array([b"a", b"b"])} | attributes)
        group = file.create_group("train")
        images = group.create_dataset("images", (30,), h5py.vlen_dtype(np.uint8))
        for row in range(30):
            images[row] = np.frombuffer(encoded(noise(row)), np.uint8)
        group["labels"] = np.arange(30) % 2


def first_pixels(scenes, queue) -> None:
    queue.put([scenes.load(index)[0, 0].tolist() for index in range(len(scenes))])


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_packed_split_equals_that_of_the_folder(packed: Path, split: str) -> None:
    folder = open_scenes(
        "imagefolder", split=split, data_root=packed.with_suffix(""), image_size=SIZE
    )
    file = open_scenes("imagefolder", split=split, data_root=packed, image_size=SIZE)
    assert file.class_names == folder.class_names == ("cat", "dog")
    assert (file.name, file.split, file.seamless) == ("imagefolder", split, False)
    assert np.array_equal(file.labels, folder.labels)
    assert file.labels.dtype == np.int64
    assert len(file) == {"train": 29, "val": 3, "test": 2}[split]
    for index in range(len(file)):
        image = file.load(index)
        assert np.array_equal(image, folder.load(index))
        assert image.flags.c_contiguous
    for index in (-1, len(file)):
        with pytest.raises(IndexError, match=str(index)):
            file.load(index)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("open_before", [False, True])
def test_processes_open_the_file_for_themselves(
    packed: Path, method: str, open_before: bool
) -> None:
    scenes = open_scenes("imagefolder", split="train", data_root=packed, image_size=SIZE)
    if open_before:
        scenes.load(0)
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    processes = [context.Process(target=first_pixels, args=(scenes, queue)) for _ in range(2)]
    for process in processes:
        process.start()
    expected = [scenes.load(index)[0, 0].tolist() for index in range(len(scenes))]
    assert [queue.get(timeout=60) for _ in processes] == [expected, expected]
    for process in processes:
        process.join(timeout=60)
        assert process.exitcode == 0


def test_copies_and_pickles_read_on_after_use(packed: Path) -> None:
    scenes = open_scenes("imagefolder", split="train", data_root=packed, image_size=SIZE)
    scenes.load(0)
    for other in (copy.deepcopy(scenes), pickle.loads(pickle.dumps(scenes))):
        scenes.close()
        assert np.array_equal(other.load(3), scenes.load(3))


def test_a_file_with_only_the_required_parts_is_read(tmp_path: Path) -> None:
    write_by_hand(tmp_path / "a.h5")
    splits = {
        split: Hdf5Scenes(tmp_path / "a.h5", split, image_size=SIZE) for split in ("train", "val")
    }
    assert [len(scenes) for scenes in splits.values()] == [26, 4]
    assert splits["train"].name == "imagefolder"
    assert splits["train"].load(0).shape == (*SIZE, 3)


def test_the_source_of_a_file_is_not_mistaken(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"data\.h5: it holds imagefolder scenes, not sun360"):
        open_scenes("sun360", data_root=packed, image_size=SIZE)
    write_by_hand(tmp_path / "s.h5", source="sun360")
    scenes = open_scenes("imagefolder", data_root=tmp_path / "s.h5", image_size=SIZE)
    assert (scenes.name, scenes.seamless) == ("sun360", True)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"format_version": 2}, "format version 2 is newer than 1.*upgrade"),
        ({"layout": "view_grid"}, "unknown layout 'view_grid'; expected 'images'"),
        ({"format_version": 0}, "there is no format version 0; expected 1"),
        ({"format_version": -1}, "there is no format version -1; expected 1"),
        ({"format_version": 1.5}, "format_version: expected an integer, found 1.5"),
        ({"format_version": "1"}, "format_version: expected an integer, found the string '1'"),
        ({"class_names": ["a"]}, "/train/labels: values from 0 to 1; expected 0 to 0, as there"),
        ({"class_names": "ab"}, "class_names: expected a list of strings, found the string 'ab'"),
        ({"class_names": ["a", "b", "a"]}, "class_names: given more than once: 'a'"),
        ({"class_names": [1, 2]}, r"class_names: expected a list of strings, found \[1 2\]"),
        ({"class_names": [["a", "b"]]}, r"expected a list of strings, found strings of shape"),
        ({"class_names": h5py.Empty("S1")}, "class_names: expected a list of strings"),
        ({"seamless": "False"}, "seamless: expected True or False, found the string 'False'"),
        ({"seamless": 2}, "seamless: expected True or False, found 2"),
        ({"seamless": 0.0}, "seamless: expected True or False, found 0.0"),
        ({"image_size": [24.0, 32.0]}, "image_size: expected 2 integers, found"),
        ({"image_size": [24]}, "image_size: expected 2 integers, found"),
        ({"image_size": [-1, 0]}, "image_size: expected height and width, or 0 and 0, found -1, 0"),
        ({"source": 3}, "source: expected one string, found 3"),
        ({"source": ["sun360", "x"]}, "source: expected one string, found strings of shape"),
    ],
)
def test_other_versions_and_layouts_are_named(
    tmp_path: Path, attributes: dict, message: str
) -> None:
    write_by_hand(tmp_path / "a.h5", **attributes)
    with pytest.raises(SceneError, match=rf"^{tmp_path}/a\.h5.*{message}"):
        Hdf5Scenes(tmp_path / "a.h5", "train", image_size=SIZE)


def test_another_schema_is_described(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["X_train"] = np.zeros(3)
    with pytest.raises(SceneError, match=r"a\.h5: not a file of packed scenes.*found X_train"):
        open_scenes("imagefolder", data_root=tmp_path / "a.h5", image_size=SIZE)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((3, 4, 4, 3), np.uint8), np.zeros(3, np.int64), "expected variable-length uint8"),
        (None, np.zeros(3, np.int64), "no dataset images"),
        (np.zeros(3, np.uint8), None, "no dataset labels"),
    ],
)
def test_wrong_datasets_are_described(tmp_path: Path, images, labels, message: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs.update({"format_version": 1, "class_names": ["a"]})
        group = file.create_group("val")
        for name, values in (("images", images), ("labels", labels)):
            if values is not None:
                group[name] = values
    with pytest.raises(SceneError, match=rf"a\.h5:/val: {message}"):
        Hdf5Scenes(tmp_path / "a.h5", "val", image_size=SIZE)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_file_cut_off_is_named(packed: Path, share: float) -> None:
    data = packed.read_bytes()
    packed.write_bytes(data[: int(share * len(data))])
    with pytest.raises(SceneError, match=rf"^{packed}: .*HDF5"):
        open_scenes("imagefolder", data_root=packed, image_size=SIZE)


def test_a_damaged_image_is_named(packed: Path) -> None:
    scenes = open_scenes("imagefolder", data_root=packed, image_size=SIZE)
    stored = scenes.read(4)
    data = packed.read_bytes()
    assert data.count(stored) == 1
    packed.write_bytes(data.replace(stored, stored[:-40] + b"\0" * 20 + stored[-20:]))
    scenes.close()
    with pytest.raises(SceneError, match=rf"^{packed}:/train/images\[\d+\]: damaged: the checksum"):
        scenes.load(4)
    assert scenes.load(5).shape == (*SIZE, 3)


def test_a_file_that_is_gone_is_named(packed: Path) -> None:
    scenes = open_scenes("imagefolder", data_root=packed, image_size=SIZE)
    packed.unlink()
    with pytest.raises(SceneError, match=rf"^{packed}:/train/images\[\d+\]: cannot be read"):
        scenes.load(0)


def test_a_list_file_is_refused_beside_a_file(packed: Path) -> None:
    with pytest.raises(ValueError, match="splits of an HDF5 file are in the file"):
        open_scenes("sun360", data_root=packed, list_file="list.txt")


def test_extents_lead_to_small_and_large_images(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", {"train/a": 40})
    rng = np.random.default_rng(0)
    for number in range(0, 40, 3):
        image = rng.integers(0, 256, (60 + number, 50, 3), np.uint8)
        (tree / "train" / "a" / f"{number:04d}.png").write_bytes(encoded(image, "PNG"))
    pack(tree, tmp_path / "a.h5", progress=False)
    content = (tmp_path / "a.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5") as file:
        images, extents = file["train/images"][()], file["train/extents"][()]
    assert len(images) == 54
    for image, (offset, length) in zip(images, extents.tolist(), strict=True):
        assert content[offset : offset + length] == image.tobytes()


@pytest.mark.parametrize("keep", [("extents", "crc32"), ("crc32",), ("extents",)])
def test_a_rearranged_file_reads_the_same(packed: Path, tmp_path: Path, keep) -> None:
    with h5py.File(packed) as old, h5py.File(tmp_path / "new.h5", "w") as new:
        new["padding"] = np.zeros(1000)
        new.attrs.update(old.attrs)
        for split in old:
            for name in ("images", "labels", "names", *keep):
                old.copy(f"{split}/{name}", new.require_group(split))
    for split in ("train", "val", "test"):
        before, after = (
            Hdf5Scenes(path, split, image_size=SIZE) for path in (packed, tmp_path / "new.h5")
        )
        assert [after.read(i) for i in range(len(after))] == [
            before.read(i) for i in range(len(before))
        ]


def test_columns_of_the_wrong_length_are_described(packed: Path) -> None:
    with h5py.File(packed, "r+") as file:
        del file["train/crc32"]
        file["train/crc32"] = np.zeros(3, np.uint32)
    with pytest.raises(SceneError, match=r"/train/crc32: expected shape \(32,\), found \(3,\)"):
        Hdf5Scenes(packed, "train", image_size=SIZE)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("labels", np.array([0.7, 1.7] * 15), "expected integers, found floating-point numbers"),
        ("labels", np.arange(30) % 2 == 0, "expected integers, found booleans"),
        ("labels", np.zeros((30, 1), int), r"expected shape \(30,\), found \(30, 1\)"),
        ("labels", np.full(30, 2**63, np.uint64), "values from 9223372036854775808 to"),
        ("labels", np.full(30, -1), "values from -1 to -1; expected 0 to 1, as there are 2"),
        ("names", np.arange(30), "expected strings, found integers"),
        ("names", [b"%d" % n for n in range(29)], r"expected shape \(30,\), found \(29,\)"),
        ("names", [b"same"] * 30, "given more than once: 'same'"),
        ("extents", np.zeros((30, 2)), "expected integers, found floating-point numbers"),
        ("extents", np.full((30, 2), -2), "values from -2 to -2; expected -1"),
        ("crc32", np.zeros(30), "expected integers, found floating-point numbers"),
        ("crc32", np.full(30, -1), "values from -1 to -1; expected 0 to 4294967295"),
    ],
)
def test_every_dataset_is_checked(tmp_path: Path, name: str, values, message: str) -> None:
    write_by_hand(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        group = file["train"]
        if name in group:
            del group[name]
        group[name] = values
    with pytest.raises(SceneError, match=rf"a\.h5:/train/{name}: {message}"):
        Hdf5Scenes(tmp_path / "a.h5", "val", image_size=SIZE)
    assert [name in str(error) for error in check(tmp_path / "a.h5", progress=False).broken] == [
        True
    ]


@pytest.mark.parametrize("flag", [1, np.bool_(True), np.uint8(1)])
def test_a_flag_is_a_boolean_or_0_or_1(tmp_path: Path, flag) -> None:
    write_by_hand(tmp_path / "a.h5", seamless=flag, image_size=np.int32([24, 32]))
    assert Hdf5Scenes(tmp_path / "a.h5", "train", image_size=SIZE).seamless is True


def test_a_split_that_is_no_group_is_named(tmp_path: Path) -> None:
    write_by_hand(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["val"] = h5py.SoftLink("/gone")
    with pytest.raises(SceneError, match=r"/val: expected a group .* found a link to nothing"):
        Hdf5Scenes(tmp_path / "a.h5", "train", image_size=SIZE)


def test_other_groups_are_not_silently_left_out(tmp_path: Path) -> None:
    write_by_hand(tmp_path / "a.h5", author="x")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file.create_group("valid")
        file["train/weights"] = np.zeros(3)
    with pytest.warns(UserWarning, match=r"a\.h5: no val; a tenth .* Not used: /valid"):
        Hdf5Scenes(tmp_path / "a.h5", "val", image_size=SIZE)
    assert check(tmp_path / "a.h5", progress=False).notes == [
        "no val split: a tenth of train is held out for it",
        "3 not used: /train/weights, /valid, attribute author",
    ]


def hole(path: Path, inside: int) -> None:
    """Zeros in the first heap from an offset on, over which HDF5 loops."""
    content = bytearray(path.read_bytes())
    begin = content.index(b"GCOL") + inside
    content[begin : begin + 64] = bytes(64)
    path.write_bytes(content)


@pytest.mark.parametrize("storage", [{"chunks": (5,)}, {"compression": "gzip"}])
def test_chunked_files_are_read_and_cannot_hang(
    tmp_path: Path, storage: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs.update({"format_version": 1, "class_names": np.array([b"a", b"b"])})
        group = file.create_group("train")
        images = group.create_dataset("images", (30,), BYTES, **storage)
        for row in range(30):
            images[row] = np.frombuffer(encoded(noise(row)), np.uint8)
        group["labels"] = np.arange(30) % 2
    scenes = Hdf5Scenes(tmp_path / "a.h5", SplitChoice("train", "all"), image_size=SIZE)
    for index in (0, 7, 29):
        assert scenes.read(index) == encoded(noise(index))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=first_pixels, args=(scenes, queue))
    process.start()
    assert queue.get(timeout=60) == [scenes.load(index)[0, 0].tolist() for index in range(30)]
    process.join(timeout=60)
    hole(tmp_path / "a.h5", 16)
    scenes.close()
    monkeypatch.setattr(guarded, "TIME_LIMIT", 1.0)
    with pytest.raises(SceneError, match=r"images\[0\]: cannot be read: damaged: HDF5 did"):
        scenes.read(0)
    scenes.close()


def test_attributes_cannot_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_by_hand(tmp_path / "a.h5", class_names=["a", "b"])  # of variable length
    hole(tmp_path / "a.h5", 16)
    monkeypatch.setattr(guarded, "TIME_LIMIT", 1.0)
    with pytest.raises(SceneError, match=r"attribute class_names: cannot be read: damaged: HDF5"):
        Hdf5Scenes(tmp_path / "a.h5", "train", image_size=SIZE)

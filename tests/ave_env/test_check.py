"""`check` finds everything that is broken in a data set, and says where."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scene_trees import encoded, make_tree, noise

from ave_env.scenes import SceneError
from ave_env.scenes.check import check, main
from ave_env.scenes.pack import pack


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "tree", {"train/cat": 5, "train/dog": 3, "val/cat": 2})


def test_a_sound_data_set_passes(tree: Path, tmp_path: Path, capsys) -> None:
    pack(tree, tmp_path / "a.h5", progress=False)
    for root in (tree, tmp_path / "a.h5"):
        report = check(root, progress=False)
        assert report.images == {"train": [5, 3], "val": [2, 0]}
        assert report.sizes == {(24, 32): 10}
        assert report.broken == []
        assert report.notes == ["no usable image in val of: dog"]
        assert main([str(root)]) == 0
        assert "nothing is broken" in capsys.readouterr().out


def test_every_broken_image_is_listed(tree: Path, capsys) -> None:
    data = (tree / "train/cat/0001.jpg").read_bytes()
    (tree / "train/cat/0001.jpg").write_bytes(data[: len(data) // 2])
    (tree / "train/dog/0000.jpg").write_bytes(b"")
    (tree / "val/cat/0000.jpg").write_text("not an image")
    (tree / "val/cat/0001.jpg").unlink()
    (tree / "val/cat/0001.jpg").symlink_to("0001.jpg")
    assert main([str(tree)]) == 1
    output = capsys.readouterr().out
    for name in (
        "train/cat/0001.jpg",
        "train/dog/0000.jpg",
        "val/cat/0000.jpg",
        "val/cat/0001.jpg",
    ):
        assert f"broken: {tree}/{name}: " in output
    assert "4 broken" in output


def test_images_in_two_splits_are_noted(tree: Path) -> None:
    (tree / "val/cat/copy.jpg").write_bytes((tree / "train/dog/0001.jpg").read_bytes())
    (tree / "val/cat/Thumbs.db").write_bytes(b"x")
    report = check(tree, progress=False)
    assert report.broken == []
    assert report.notes == [
        f"1 not used: {tree}/val/cat/Thumbs.db",
        "no usable image in val of: dog",
        f"images of val in another split: {tree}/val/cat/copy.jpg = {tree}/train/dog/0001.jpg",
    ]


def test_whatever_is_not_used_is_named(tmp_path: Path) -> None:
    make_tree(tmp_path, {"train/cat": 10, "valid/cat": 1, "train/cat/more": 1, "dev/cat": 1})
    (tmp_path / "train/cat/old.jpg").symlink_to("gone.jpg")  # an image, and broken
    (tmp_path / "train/cat/gone").symlink_to("nowhere")
    (tmp_path / "train/notes.txt").write_text("x")
    (tmp_path / "valid/.hidden").write_text("x")
    (tmp_path / "README").symlink_to("nowhere")
    report = check(tmp_path, progress=False)
    assert report.notes[0] == "val is read from valid/"
    assert report.notes[1].startswith("6 not used: ")
    unused = {"README", "dev", "train/cat/gone", "train/cat/more", "train/notes.txt"}
    named = [name.removeprefix(f"{tmp_path}/") for name in report.notes[1][12:].split(", ")]
    assert {*named[:-1], named[-1].split(" ")[0]} == unused
    assert [error.path for error in report.broken] == [f"{tmp_path}/train/cat/old.jpg"]


def test_what_is_held_out_and_what_looks_alike_is_noted(tmp_path: Path) -> None:
    notes = check(make_tree(tmp_path, {"train/Cat": 2, "train/cat": 2}), progress=False).notes
    assert notes == [
        "classes that differ by the case of letters alone: Cat, cat",
        "no val split: a tenth of train is held out for it",
    ]


@pytest.mark.parametrize("folder", ["Cat", "images"])
def test_classes_that_train_does_not_have_are_broken(tree: Path, folder: str, capsys) -> None:
    make_tree(tree, {f"val/{folder}": 1})
    assert main([str(tree)]) == 1
    assert f"broken: {tree}/val: classes that train does not have: {folder}" in (
        capsys.readouterr().out
    )


def test_panoramas_that_a_list_leaves_out_are_counted(tmp_path: Path) -> None:
    make_tree(tmp_path, {"indoor/a": 12, "outdoor/b": 2, "meta": 0, "extra": 0})
    names = [f"./indoor/a/{number:04d}.jpg" for number in range(11)]
    (tmp_path / "meta/sun360-dataset26-random.txt").write_text("\n".join(names))
    (note,) = check(tmp_path, progress=False).notes
    assert note.startswith(f"4 not used: {tmp_path}/extra, {tmp_path}/indoor/a/0011.jpg, ")


@pytest.mark.parametrize("progressive", [False, True])
def test_zeros_in_the_place_of_data_are_found(tmp_path: Path, progressive: bool, capsys) -> None:
    tree = make_tree(tmp_path / "tree", {"train/cat": 1})
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    data = bytearray(encoded(image, progressive=progressive))
    (tree / "train/cat/good.jpg").write_bytes(data)
    third, half = len(data) // 3, len(data) // 2
    data[third:half] = bytes(half - third)
    (tree / "train/cat/hole.jpg").write_bytes(data)
    assert main([str(tree)]) == 1
    assert f"broken: {tree}/train/cat/hole.jpg: damaged JPEG: " in capsys.readouterr().out
    with pytest.raises(SceneError, match=rf"1 broken images.*\n  {tree}/train/cat/hole\.jpg: "):
        pack(tree, tmp_path / "a.h5", progress=False)


def test_a_damaged_file_is_found(tree: Path, tmp_path: Path) -> None:
    image = (tree / "train/dog/0002.jpg").read_bytes()
    pack(tree, tmp_path / "a.h5", progress=False)
    data = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(data.replace(image, image[:-2] + b"xx"))
    (error,) = check(tmp_path / "a.h5", progress=False).broken
    assert str(error).startswith(f"{tmp_path}/a.h5:/train/images[7]: damaged")


def test_one_bad_split_does_not_hide_the_other(tree: Path) -> None:
    (tree / "val" / "empty").mkdir()
    (tree / "train/cat/0000.jpg").write_bytes(b"")
    broken = [str(error) for error in check(tree, progress=False).broken]
    assert any(f"{tree}/val: classes that train does not have: empty" in error for error in broken)


def test_a_train_split_too_small_to_hold_anything_out_passes(tmp_path: Path) -> None:
    assert check(make_tree(tmp_path, {"train/only": 1}), progress=False).broken == []


def test_missing_files_of_a_list_are_found(tmp_path: Path, capsys) -> None:
    tree = make_tree(tmp_path, {"indoor/a": 2})
    (tree / "list.txt").write_text("indoor/a/0000.jpg\nindoor/a/0001.jpg\nindoor/a/0002.jpg\n")
    assert main([str(tree), "--list-file", "list.txt"]) == 1
    assert "1 of 3 files are not in" in capsys.readouterr().out


def test_a_root_of_no_layout_fails(tmp_path: Path, capsys) -> None:
    assert main([str(tmp_path / "nowhere")]) == 1
    assert "nowhere: no such folder" in capsys.readouterr().err
    (tmp_path / "notes.txt").write_text("x")
    assert main([str(tmp_path / "notes.txt")]) == 1
    assert "notes.txt: not a readable HDF5 file" in capsys.readouterr().err


def test_the_command_shows_a_progress_bar(tree: Path) -> None:
    (tree / "val/cat/0000.jpg").write_bytes(encoded(noise(3))[:100])
    result = subprocess.run(
        [sys.executable, "-m", "ave_env.scenes.check", str(tree)], capture_output=True, text=True
    )
    assert result.returncode == 1
    assert "8/8" in result.stderr
    assert "1 broken" in result.stdout

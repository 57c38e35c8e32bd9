"""`pack` writes whole files or none, loses no work, and says what is wrong."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from scene_trees import encoded, make_tree, noise, quadrants

import ave_env.scenes.packed.hdf5_writer
from ave_env.scenes import SceneError, open_scenes
from ave_env.scenes.files.decoding import decode, image_kind
from ave_env.scenes.pack import Storage, main, pack
from ave_env.scenes.packed.packing import Preparation
from ave_env.scenes.packed.spool import Entry, Spool

COMMAND = [sys.executable, "-m", "ave_env.scenes.pack"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "tree", {"train/cat": 5, "train/dog": 3, "val/cat": 2})


def contents(path: Path) -> dict:
    with h5py.File(path) as file:
        return {
            split: [
                [image.tobytes() for image in group["images"]],
                group["labels"][()].tolist(),
                group["names"].asstr()[()].tolist(),
            ]
            for split, group in file.items()
        }


def record_prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes which files are decoded from now on."""
    prepared: list[str] = []
    prepare = Preparation.prepare

    def spy(self, path):
        prepared.append(path)
        return prepare(self, path)

    monkeypatch.setattr(Preparation, "prepare", spy)
    return prepared


def test_images_are_stored_byte_for_byte(tree: Path, tmp_path: Path) -> None:
    assert pack(tree, tmp_path / "a.h5", progress=False) == {"train": 8, "val": 2}
    stored = contents(tmp_path / "a.h5")
    for split, (images, _, names) in stored.items():
        assert images == [(tree / split / name).read_bytes() for name in names]
    assert stored["train"][1:] == [
        [0] * 5 + [1] * 3,
        [f"cat/{n:04d}.jpg" for n in range(5)] + [f"dog/{n:04d}.jpg" for n in range(3)],
    ]
    with h5py.File(tmp_path / "a.h5") as file:
        assert dict(file.attrs).keys() == {
            "format_version", "layout", "source", "class_names", "image_size", "seamless"
        }  # fmt: skip
        assert file.attrs["source"] == b"imagefolder"
        assert file.attrs["class_names"].tolist() == [b"cat", b"dog"]
        assert file.attrs["image_size"].tolist() == [24, 32]
    assert sorted(os.listdir(tmp_path)) == ["a.h5", "tree"]


@pytest.mark.parametrize("count", [1, 2, 256, 257])
def test_images_of_equal_length_are_stored_as_such(tmp_path: Path, count: int) -> None:
    folder = make_tree(tmp_path / "tree", {"train/a": 0}) / "train" / "a"
    image = encoded(noise(0))
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(image)
    pack(tmp_path / "tree", tmp_path / "a.h5", progress=False)
    assert contents(tmp_path / "a.h5")["train"][0] == [image] * count


@pytest.mark.parametrize("image_format", ["jpeg", "png"])
def test_images_are_stored_at_the_size_asked_for(tmp_path: Path, image_format: str) -> None:
    folder = make_tree(tmp_path / "tree", {"indoor/hall": 0}) / "indoor" / "hall"
    for number in range(10):
        data = encoded(quadrants(64, 128 + number), "PNG")
        (folder / f"pano_{number}.png").write_bytes(data)
    same = encoded(quadrants(16, 32))
    (folder / "pano_x.jpg").write_bytes(same)
    pack(
        tmp_path / "tree",
        tmp_path / "a.h5",
        storage=Storage((16, 32), image_format),
        progress=False,
    )
    splits = contents(tmp_path / "a.h5")
    stored = {
        name: image
        for images, _, names in splits.values()
        for name, image in zip(names, images, strict=True)
    }
    assert stored.pop("indoor/hall/pano_x.jpg") == same
    for image in stored.values():
        assert image_kind(image) == image_format
        corners = decode(image, "x")[[4, 4, 12, 12], [8, 24, 8, 24]].astype(int)
        assert np.abs(corners - quadrants()[[8, 8, 24, 24], [16, 48, 16, 48]]).max() < 12
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["image_size"].tolist() == [16, 32]
        assert file.attrs["source"] == b"sun360"
        assert file.attrs["seamless"]


def test_other_formats_become_png_without_loss(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", {"train/a": 0})
    (tree / "train" / "a" / "0.bmp").write_bytes(encoded(noise(0), "BMP"))
    pack(tree, tmp_path / "a.h5", progress=False)
    (image,) = contents(tmp_path / "a.h5")["train"][0]
    assert image_kind(image) == "png"
    assert np.array_equal(decode(image, "x"), noise(0))


def test_sun360_keeps_the_splits_of_its_list(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", {"indoor/a": 15, "outdoor/b": 15})
    names = [f"outdoor/b/{n:04d}.jpg" for n in range(15)] + [
        f"indoor/a/{n:04d}.jpg" for n in range(5)
    ]
    (tree / "list.txt").write_text("\n".join(names))
    assert main([str(tree), str(tmp_path / "a.h5"), "--list-file", "list.txt"]) == 0
    stored = contents(tmp_path / "a.h5")
    assert [stored["val"][2], stored["train"][2]] == [names[:2], names[2:]]
    scenes = open_scenes("sun360", split="test", data_root=tmp_path / "a.h5", image_size=(8, 16))
    assert len(scenes) == 2


def test_names_that_are_no_utf8_survive(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", {"train/é è": 20})
    (tree / "train" / "é è" / "0000.jpg").rename(
        os.fsdecode(bytes(tree) + b"/train/\xc3\xa9 \xc3\xa8/\xff.jpg")
    )
    pack(tree, tmp_path / "a.h5", progress=False)
    for split in ("train", "val"):
        folder, file = (
            open_scenes("imagefolder", split=split, data_root=root, image_size=(24, 32))
            for root in (tree, tmp_path / "a.h5")
        )
        assert file.class_names == ("é è",)
        for index in range(len(folder)):
            assert file.read(index) == folder.read(index)


def test_nothing_is_overwritten(tree: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "a.h5").write_bytes(b"precious")
    assert main([str(tree), str(tmp_path / "a.h5")]) == 1
    assert "a.h5 exists; delete it or choose another name" in capsys.readouterr().err
    assert (tmp_path / "a.h5").read_bytes() == b"precious"
    assert sorted(os.listdir(tmp_path)) == ["a.h5", "tree"]


def test_broken_images_are_all_listed_and_nothing_is_written(
    tree: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (tree / "train/cat/0001.jpg").read_bytes()
    (tree / "train/cat/0001.jpg").write_bytes(whole[:200])
    (tree / "val/cat/0000.jpg").write_bytes(b"")
    assert main([str(tree), str(tmp_path / "a.h5")]) == 1
    error = capsys.readouterr().err
    assert "2 broken images" in error
    assert f"{tree}/train/cat/0001.jpg: " in error
    assert f"{tree}/val/cat/0000.jpg: is empty" in error
    assert not (tmp_path / "a.h5").exists()

    (tree / "train/cat/0001.jpg").write_bytes(whole)
    prepared = record_prepared(monkeypatch)
    assert main([str(tree), str(tmp_path / "a.h5"), "--skip-broken"]) == 0
    assert sorted(prepared) == [f"{tree}/train/cat/0001.jpg", f"{tree}/val/cat/0000.jpg"]
    assert f"left out: {tree}/val/cat/0000.jpg: is empty" in capsys.readouterr().err
    stored = contents(tmp_path / "a.h5")
    assert [len(stored[split][0]) for split in ("train", "val")] == [8, 1]
    assert sorted(os.listdir(tmp_path)) == ["a.h5", "tree"]


def wait_for_reader(fifo: Path) -> int:
    """Waits until somebody reads from a named pipe, and returns its other end."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < deadline, "pack never came to the pipe"
            time.sleep(0.01)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("options", [[], ["--image-size", "8", "8"]])
def test_a_stopped_run_leaves_no_output_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals, options: list[str]
) -> None:
    tree, out = make_tree(tmp_path / "tree", {"train/cat": 140}), tmp_path / "a.h5"
    arguments = [str(tree), str(out), "--workers", "1", *options]
    last = tree / "train" / "cat" / "9999.jpg"
    os.mkfifo(last)  # the run stands still when it comes here
    process = subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True)
    pipe = wait_for_reader(last)
    process.send_signal(how)
    if how == signal.SIGKILL:
        process.wait(timeout=60)
    os.close(pipe)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}.get(how, -how)
    assert ("run the same command again to continue" in error) == (how == signal.SIGINT)
    assert sorted(os.listdir(tmp_path)) == ["a.h5.partial", "tree"]

    with open(f"{out}.partial", "ab") as partial:
        partial.write(b"AVE1 torn")  # a record that a kill cut off
    last.unlink()
    last.write_bytes(encoded(noise(999)))
    prepared = record_prepared(monkeypatch)
    assert main(arguments) == 0
    assert str(last) in prepared
    assert len(prepared) <= 141 - 64
    assert sorted(os.listdir(tmp_path)) == ["a.h5", "tree"]
    assert main([str(tree), str(tmp_path / "once.h5"), *options]) == 0
    assert contents(out) == contents(tmp_path / "once.h5")


def console_script(path: Path, module: str) -> list[str]:
    """Writes what an installer makes of an entry point, and returns how to run it."""
    path.write_text(f"import sys\nfrom {module} import main\nsys.exit(main())\n")
    return [sys.executable, str(path)]


@pytest.mark.parametrize("name", ["pack", "check"])
def test_programs_go_by_the_name_they_were_called_by(tmp_path: Path, name: str) -> None:
    module = f"ave_env.scenes.{name}"
    for command, program in (
        ([sys.executable, "-m", module], f"python -m {module}"),
        (console_script(tmp_path / f"ave-{name}", module), f"ave-{name}"),
    ):
        shown = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
        assert shown.stdout.startswith(f"usage: {program} [-h]")
        assert name != "pack" or f"Example: {program} ~/sun360" in shown.stdout
        refused = subprocess.run([*command, "--workers", "0"], capture_output=True, text=True)
        assert refused.returncode == 2
        assert f"{program}: error: argument --workers: 0 is not positive" in refused.stderr


@pytest.mark.parametrize("name", ["pack", "check"])
def test_sigterm_ends_a_console_script_as_it_should(tmp_path: Path, name: str) -> None:
    tree, out = make_tree(tmp_path / "tree", {"train/cat": 40}), tmp_path / "a.h5"
    last = tree / "train" / "cat" / "9999.jpg"
    os.mkfifo(last)
    command = console_script(tmp_path / f"ave-{name}", f"ave_env.scenes.{name}")
    arguments = [str(tree), *([str(out)] if name == "pack" else []), "--workers", "1"]
    process = subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True)
    pipe = wait_for_reader(last)
    process.send_signal(signal.SIGTERM)
    os.close(pipe)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 143, error
    assert "Traceback" not in error
    assert not out.exists()
    assert Path(f"{out}.partial").exists() == (name == "pack")


def test_sigterm_is_handled_only_while_a_command_runs(tree: Path, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert main([str(tree), str(tmp_path / "a.h5")]) == 0
    assert signal.getsignal(signal.SIGTERM) is before
    with ThreadPoolExecutor(1) as executor:  # where Python does not let handlers be set
        assert executor.submit(main, [str(tree), str(tmp_path / "b.h5")]).result() == 0


@pytest.mark.parametrize(
    ("limit", "options"), [(6, []), (6, ["--image-size", "20", "20"]), (60, [])]
)
def test_a_disk_that_takes_no_more_leaves_no_output(
    tmp_path: Path, limit: int, options: list[str]
) -> None:
    # A limit on the size of files makes writing fail just as a full disk does: 6 kB while images
    # are read, 60 kB while HDF5 is written.
    tree, out = make_tree(tmp_path / "tree", {"train/cat": 100}), tmp_path / "a.h5"
    command = " ".join([*COMMAND, str(tree), str(out), *options])
    limited = subprocess.run(
        ["bash", "-c", f"ulimit -f {limit}; exec {command}"], capture_output=True, text=True
    )
    assert limited.returncode == 1, limited.stderr
    assert "File too large; work so far is kept in" in limited.stderr
    assert sorted(os.listdir(tmp_path)) == ["a.h5.partial", "tree"]
    assert main([str(tree), str(out), *options]) == 0
    assert sorted(os.listdir(tmp_path)) == ["a.h5", "tree"]
    assert len(contents(out)["train"][0]) == 100


def test_too_little_space_is_noticed_before_writing(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert main([str(tree), str(tmp_path / "a.h5")]) == 1
    assert "about 1 MB are needed, 0 MB are free" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["a.h5.partial", "tree"]


def test_what_was_written_is_compared(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = ave_env.scenes.packed.hdf5_writer.write_packed

    def write_and_damage(path, header, columns) -> None:
        write(path, header, columns)
        with h5py.File(path, "r+") as file:
            file["train"]["images"][3] = file["train"]["images"][2]

    monkeypatch.setattr(ave_env.scenes.packed.hdf5_writer, "write_packed", write_and_damage)
    with pytest.raises(SceneError, match="images of 'train' differ from those written"):
        pack(tree, tmp_path / "a.h5", progress=False)
    assert sorted(os.listdir(tmp_path)) == ["a.h5.partial", "tree"]


def test_changed_files_are_packed_anew(tree: Path, tmp_path: Path) -> None:
    (tree / "val/cat/0000.jpg").write_bytes(b"")
    with pytest.raises(SceneError, match="1 broken"):
        pack(tree, tmp_path / "a.h5", progress=False)
    for name in ("train/dog/0001.jpg", "val/cat/0000.jpg"):
        (tree / name).write_bytes(encoded(noise(77), quality=50))
    (tree / "train/dog/0002.jpg").unlink()
    pack(tree, tmp_path / "a.h5", progress=False)
    stored = contents(tmp_path / "a.h5")
    assert stored["train"][0][-1] == (tree / "train/dog/0001.jpg").read_bytes()
    assert len(stored["train"][0]) == 7


def test_other_options_do_not_mix(tree: Path, tmp_path: Path, capsys) -> None:
    (tree / "val/cat/0000.jpg").write_bytes(b"")
    out = str(tmp_path / "a.h5")
    assert main([str(tree), out]) == 1
    assert main([str(tree), out, "--image-size", "8", "8"]) == 1
    assert "a.h5.partial: left by a run with other options" in capsys.readouterr().err


def test_two_runs_do_not_write_the_same_file(tree: Path, tmp_path: Path, capsys) -> None:
    with Spool(str(tmp_path / "a.h5.partial"), "anything"):
        assert main([str(tree), str(tmp_path / "a.h5")]) == 1
    assert "another process is packing to the same file" in capsys.readouterr().err


def test_a_spool_keeps_what_came_before_damage(tmp_path: Path) -> None:
    path = str(tmp_path / "spool")
    with Spool(path, "test") as spool:
        for number in range(5):
            data = bytes([number]) * 50
            spool.append(b"key%d" % number, Entry((1, 2), 50, 0, None), data)
        copied = Entry((3, 4), 9, 7, None)
        spool.append(b"copied", copied, None)
    with Spool(path, "test") as spool:
        assert len(spool.entries) == 6
        assert spool.entries[b"copied"] == copied
        assert spool.read(spool.entries[b"key3"]) == b"\3" * 50
    content = bytearray(Path(path).read_bytes())
    content[content.index(b"\3" * 50) + 10] ^= 1
    Path(path).write_bytes(content)
    with Spool(path, "test") as spool:
        assert sorted(spool.entries) == [b"key0", b"key1", b"key2"]
        spool.append(b"more", copied, None)
    with Spool(path, "test") as spool:
        assert sorted(spool.entries) == [b"key0", b"key1", b"key2", b"more"]


def test_wrong_arguments_are_explained(tree: Path, tmp_path: Path, capsys) -> None:
    out = str(tmp_path / "a.h5")
    assert main([str(tree / "train"), out]) == 1
    assert f"did you mean its parent, {tree}?" in capsys.readouterr().err
    assert main([str(tree), str(tmp_path / "no" / "a.h5")]) == 1
    assert "no: no such folder to write into" in capsys.readouterr().err
    assert main([str(tree), out, "--source", "sun360"]) == 1
    assert (
        "expected {indoor,outdoor}/<class>/pano_*.jpg, found train, val" in capsys.readouterr().err
    )
    assert main([str(tree), out, "--list-file", "x"]) == 1
    assert "only sun360 scenes have a list file" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([str(tree), out, "--workers", "0"])
    assert sorted(os.listdir(tmp_path)) == ["tree"]


def test_images_that_need_care_are_packed_as_they_look(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", {"train/a": 0})
    exif = Image.Exif()
    exif[0x0112] = 3
    kinds = {
        "cmyk.jpg": encoded(Image.fromarray(quadrants()).convert("CMYK")),
        "exif.jpg": encoded(quadrants()[::-1, ::-1].copy(), exif=exif),
        "grey.png": encoded(quadrants()[..., 0], "PNG"),
        "alpha.png": encoded(np.dstack([quadrants(), quadrants()[..., :1]]), "PNG"),
    }
    for name, data in kinds.items():
        (tree / "train" / "a" / name).write_bytes(data)
    pack(tree, tmp_path / "same.h5", progress=False)
    pack(tree, tmp_path / "png.h5", storage=Storage((16, 32), "png"), progress=False)
    folder, same, smaller = (
        open_scenes("imagefolder", data_root=root, image_size=(16, 32))
        for root in (tree, tmp_path / "same.h5", tmp_path / "png.h5")
    )
    for index in range(len(folder)):
        assert np.array_equal(same.load(index), folder.load(index))
        assert np.array_equal(smaller.load(index), folder.load(index))


def test_help_and_pages_recommend_the_size_that_is_looked_at(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Pack photos at the size that will be looked at, e.g. --image-size 224 224" in shown
    root = Path(__file__).parents[2]
    for page in ("README.md", "docs/scenes.md"):
        commands = re.findall(r"python -m ave_env\.scenes\.pack .*", (root / page).read_text())
        assert any("--image-size" in command for command in commands), page

"""Images that cannot be read in the middle of a study: a sentence, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from studies import (  # noqa: F401
    NEW,
    TRAINING,
    contents,
    encoder,
    read_table,
    scenes,
    shorten_table,
    study,
)

from ave_env.scenes.pack import pack

ROOT = Path(__file__).parents[3]


def truncate(path: Path) -> bytes:
    """Cuts a file in two, and returns what it was."""
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return whole


def ave_study(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a study as a process of its own, in another folder than the project's."""
    folder.mkdir(exist_ok=True)
    known = os.environ.get("PYTHONPATH")
    return subprocess.run(
        [sys.executable, "-m", "agents.studies", *map(str, arguments)],
        cwd=folder,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), known))),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_study_of_features_goes_on_once_the_image_is_mended(
    study,  # noqa: F811
    scenes,  # noqa: F811
    tmp_path,
):
    folder = study("grid", "--parts", 2, 4, "--split-blocks", 0, 2, "--readouts", "own")
    whole = contents(folder)
    shorten_table(folder, "grid", 2)
    before = contents(folder)
    broken = scenes / "test" / "meadow" / "0005.jpg"  # not the first, which is tried beforehand
    image = truncate(broken)
    ended = ave_study(tmp_path / "elsewhere", "grid", "--resume", folder, "--no-progress")
    assert ended.returncode == 1
    said = ended.stderr.strip().splitlines()[-1]
    assert said.startswith(f"python -m agents.studies: error: {broken}: damaged or truncated")
    go_on = f"python -m agents.studies grid --resume {folder}"
    assert said.endswith(f"; put it right, and continue with: {go_on}")
    assert "Traceback" not in ended.stderr
    assert contents(folder) == before
    broken.write_bytes(image)
    study("grid", "--resume", folder)
    assert contents(folder) == whole


def test_a_study_that_trains_keeps_what_it_finished(
    study,  # noqa: F811
    scenes,  # noqa: F811
    tmp_path,
):
    import shutil

    second = tmp_path / "second"
    shutil.copytree(scenes / "test", second / "test")
    broken = second / "test" / "meadow" / "0005.jpg"
    image = truncate(broken)
    arguments = (*NEW, *TRAINING, "--seed", 0, "--parts", 1, 4, "--split-blocks", 0, 2)
    where = ("--second-data-root", second, "--output", tmp_path / "runs")
    options = ("--env", "AVE-ImageFolder-v0", "--data-root", scenes, "--no-progress")
    ended = ave_study(tmp_path / "elsewhere", "end_to_end", *options, *arguments, *where)
    assert ended.returncode == 1
    (folder,) = (tmp_path / "runs").glob("*")
    said = ended.stderr.strip().splitlines()[-1]
    assert f"error: {broken}: damaged or truncated" in said
    assert said.endswith(f"continue with: python -m agents.studies end_to_end --resume {folder}")
    assert "Traceback" not in ended.stderr
    # The first encoder is trained and measured on the first test set.
    assert {row["test_set"] for row in read_table(folder, "end_to_end")} == {"first"}
    trained = folder / "encoders" / "classic-seed-0" / "model.safetensors"
    weights, changed = trained.read_bytes(), trained.stat().st_mtime_ns
    assert not (folder / "report.html").exists()
    broken.write_bytes(image)
    study("end_to_end", "--resume", folder)
    assert trained.stat().st_mtime_ns == changed, "what was trained is not trained again"
    unbroken = study("end_to_end", *arguments, "--second-data-root", second, encoder=None)
    assert contents(folder) == contents(unbroken)
    assert (unbroken / "encoders" / "classic-seed-0" / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_is_left_where_nothing_was_finished(study, scenes, tmp_path, workers):  # noqa: F811
    broken = scenes / "train" / "meadow" / "0005.jpg"
    truncate(broken)
    cases = {
        "curves": ("--parts", 4),  # whose probe meets it
        "transfer": (*TRAINING, "--epoch-size", 24, "--num-workers", workers),
    }
    for name, arguments in cases.items():
        with pytest.raises(SystemExit, match=f"error: {broken}: damaged or truncated"):
            study(name, *arguments)
        assert not list((tmp_path / "runs").glob("*")), name


@pytest.mark.parametrize("damage", ["truncated", "overwritten"])
def test_a_packed_file_that_breaks_between_two_points(damage, study, scenes, tmp_path):  # noqa: F811
    packed = tmp_path / "scenes.h5"
    pack(scenes, packed, progress=False)
    study_of = ("grid", "--parts", 2, 4, "--split-blocks", 0, 2, "--readouts", "own")
    folder = study(*study_of, data_root=packed)
    whole = contents(folder)
    shorten_table(folder, "grid", 2)
    before, file = contents(folder), packed.read_bytes()
    if damage == "truncated":
        packed.write_bytes(file[: len(file) // 2])
    else:
        image = (scenes / "test" / "meadow" / "0005.jpg").read_bytes()
        middle = file.index(image) + len(image) // 2
        packed.write_bytes(file[:middle] + bytes(50) + file[middle + 50 :])
    ended = ave_study(tmp_path / "elsewhere", "grid", "--resume", folder, "--no-progress")
    assert ended.returncode == 1
    said = ended.stderr.strip().splitlines()[-1]
    assert said.startswith(f"python -m agents.studies: error: {packed}"), said
    assert "Traceback" not in ended.stderr
    assert contents(folder) == before
    packed.write_bytes(file)
    study("grid", "--resume", folder)
    assert contents(folder) == whole

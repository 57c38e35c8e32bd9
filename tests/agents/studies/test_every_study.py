"""What all studies have in common: help, resuming, and sentences for what cannot be done."""

from __future__ import annotations

import re
import sys

import pytest
from helpers import tiny_encoder
from scene_trees import make_tree
from studies import (  # noqa: F401
    CLASSES,
    TRAINING,
    contents,
    encoder,
    read_table,
    scenes,
    shorten_table,
    study,
)

from agents.studies import command
from agents.studies.registry import STUDIES
from encoders.storage import save_encoder

# With what each runs in seconds, and how many rows of its table come before the last point.
QUICK = {
    "grid": (("--parts", 1, 2, 16, "--split-blocks", 0, 2), 6),
    "sequential": (("--parts", 4, "--split-blocks", 0, 3), 4),
    "drift": (("--parts", 2, 4, "--split-blocks", 0, 2), 2),
    "projection": (("--parts", 4, "--perplexity", 5), 30),
    "classes": (("--parts", 4, "--maps", 2), 2),
    "spectrum": (("--parts", 4, "--split-blocks", 0, 2), 8),
    "end_to_end": ((*TRAINING, "--seed", 0, "--parts", 1, 4), 8),
    "transfer": ((*TRAINING, "--seed", 0, 1), 6),
    "emergent": ((*TRAINING, "--num-glimpses", 2, "--glimpse-size", 1), 6),
    "curves": (
        (
            "--parts",
            4,
        ),
        4,
    ),
}


def test_every_study_has_a_case():
    assert list(QUICK) == STUDIES.names()


def test_help_lists_every_study(monkeypatch, capsys):
    for typed in ([], ["--help"]):
        monkeypatch.setattr(sys, "argv", ["ave-study", *typed])
        command.main()
        said = capsys.readouterr().out
        for name in STUDIES:
            assert f"  {name}" in said
            assert STUDIES.resolve(name).summary in said
        assert all(len(line) <= 100 for line in said.splitlines())


@pytest.mark.parametrize("name", list(QUICK))
def test_every_study_has_help_of_its_own(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ave-study", name, "--help"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 0
    assert f"usage: ave-study {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", list(QUICK))
def test_a_study_that_was_stopped_goes_on_to_the_same_files(name, study):  # noqa: F811
    arguments, rows = QUICK[name]
    folder = study(name, *arguments)
    whole = contents(folder)
    assert {f"{name}.csv", f"{name}.png", f"{name}.svg"} <= set(whole)
    page = (folder / "report.html").read_text()
    assert "://" not in page  # neither in text nor, for it cannot be, in pictures
    assert len(read_table(folder, name)) > rows
    shorten_table(folder, name, rows)
    assert study(name, "--resume", folder) is None
    again = contents(folder)
    assert [file for file in whole if again.get(file) != whole[file]] == []
    assert set(again) == set(whole)
    with pytest.raises(SystemExit, match="a run is resumed with its own options"):
        study(name, "--resume", folder, "--batch-size", 3)


def test_other_weights_are_no_way_to_go_on(study, encoder):  # noqa: F811
    folder = study("grid", *QUICK["grid"][0])
    save_encoder(tiny_encoder(seed=9, num_classes=3, class_names=CLASSES), encoder)
    with pytest.raises(SystemExit, match=r"encoder .* was \w+, and is \w+; start a new run"):
        study("grid", "--resume", folder)


def broken(tmp_path):
    root = make_tree(
        tmp_path / "broken", {f"{s}/{c}": 6 for s in ("train", "test") for c in CLASSES}
    )
    for path in sorted(root.rglob("*.jpg")):
        path.write_bytes(b"no image")
    return {"data_root": root}


def missing(tmp_path):
    return {"data_root": tmp_path / "nowhere"}


def one_class(tmp_path):
    images = {f"{split}/only": 20 for split in ("train", "test")}
    return {"data_root": make_tree(tmp_path / "one", images)}


def few_images(tmp_path):
    images = {f"{split}/{name}": 2 for split in ("train", "test") for name in CLASSES}
    return {"data_root": make_tree(tmp_path / "few", images)}


def one_patch(tmp_path):
    small = tiny_encoder(image_size=(8, 8), num_classes=3, class_names=CLASSES)
    return {"encoder": save_encoder(small, tmp_path / "small")}


CANNOT = {
    broken: r"no image|cannot be read|not an image|damaged|cannot",
    missing: r"nowhere",
    one_class: r"one class \('only'\); this study needs at least two",
    few_images: r"6 scenes for images in \d+ parts; expected at least as many",
    one_patch: r"1x1 patches,? (which )?cannot be divided",
}


# Studies that ask for no classes.
UNLABELLED = ("spectrum",)

CASES = [
    pytest.param(name, what, id=f"{name}-{what.__name__}")
    for name in QUICK
    for what in CANNOT
    if not (name in UNLABELLED and what is one_class)
]


@pytest.mark.parametrize(("name", "what"), CASES)
def test_what_cannot_be_done_is_a_sentence(name, what, study, tmp_path, capsys):  # noqa: F811
    with pytest.raises(SystemExit) as ended:
        study(name, **what(tmp_path))
    message = str(ended.value)
    assert "Traceback" not in message
    assert message.count("\n") <= 1, message
    assert re.search(CANNOT[what], message), message
    assert not list((tmp_path / "runs").glob("*")), "nothing half-written"


def test_a_seed_beside_an_agent_that_draws_nothing_is_refused(study):  # noqa: F811
    looking = ("sequential", "--orders", "fixed", "--parts", 4, "--split-blocks", 2)
    with pytest.raises(SystemExit, match="--seed 3 does nothing: nothing here is random"):
        study(*looking, "--agent", "raster", "--seed", 3)
    one, other = (
        read_table(study(*looking, "--agent", "random", "--seed", seed), "sequential")
        for seed in (3, 4)
    )
    assert [row for row in one if row["order"] == "fixed"] == [
        row for row in other if row["order"] == "fixed"
    ]
    assert one != other

"""What `train_encoder.py` says, and what it starts from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import tiny_encoder
from scene_trees import make_tree
from tiny import CLASS_NAMES

from agents.commands import train_agent, train_encoder
from agents.reports.provenance import describe_run
from encoders.storage import load_encoder, save_encoder, weights_hash
from encoders.training.validation import tabulate

FEW = ("--num-workers", "0", "--no-progress", "--device", "cpu", "--smoke")


@pytest.fixture
def scenes(tmp_path):
    return make_tree(tmp_path / "data", {f"train/{name}": 8 for name in CLASS_NAMES})


@pytest.fixture
def run(tmp_path, monkeypatch, scenes):
    """Trains on a few small images; returns the run folder."""

    def trained(*arguments, data_root=scenes):
        where = ["--env", "AVE-ImageFolder-v0", "--data-root", str(data_root)]
        where += ["--output", str(tmp_path / "runs"), *FEW]
        if "--resume" in arguments:
            where = []
        known = set((tmp_path / "runs").glob("*"))
        monkeypatch.setattr(sys, "argv", ["train_encoder.py", *where, *map(str, arguments)])
        train_encoder.main()
        new = set((tmp_path / "runs").glob("*")) - known
        return new.pop() if new else None

    return trained


def test_encoders_are_called_after_their_run_unless_given_a_name(run):
    sizes = ("--image-size", 32, 32, "--patch-size", 8)
    first, second, third = run(*sizes), run(*sizes), run(*sizes, "--name", "mine")
    assert [load_encoder(folder).config.name for folder in (first, second, third)] == [
        "encoder-AVE-ImageFolder-v0-1",
        "encoder-AVE-ImageFolder-v0-2",
        "mine",
    ]
    assert third.name == "encoder-AVE-ImageFolder-v0-mine-1"


@pytest.mark.parametrize(
    ("text", "place", "most"),
    [
        ("evit:keep_rate=0.5,blocks=0+1", "both", 0),
        ("tome:r=1", "aggregator", 12),
        ("avit:gate_scale=2.0,gate_center=1.0", "extractor", 0),
    ],
)
def test_an_encoder_is_trained_with_a_reduction_and_carries_it(run, text, place, most):
    sizes = ("--image-size", 32, 32, "--patch-size", 8)
    how = ("--reduction", text, "--reduction-in", place, "--max-tokens", most)
    folder = run(*sizes, *how, "--reduction-full", 0.5, "--curriculum", 0)
    options = load_encoder(folder).resolve_options({})
    assert (options["reduction"], options["reduction_in"]) == (text, place)
    assert options.get("max_tokens", 0) == most
    again = run("--init-from", folder, *sizes[:3], "--max-tokens", 9)  # from trained weights
    options = load_encoder(again).resolve_options({})
    assert (options["reduction"], options["max_tokens"]) == (text, 9)
    off = run("--init-from", folder, *sizes[:3], "--reduction", "none")
    assert "reduction_in" not in load_encoder(off).resolve_options({})


def test_a_memory_that_holds_no_glimpse_is_refused(run, capsys):
    with pytest.raises(SystemExit):
        run("--max-tokens", 3)
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "max_tokens=3 is less than the 4 patches of one glimpse; expected at least 4" in said


def test_a_run_starts_from_other_weights(run, tmp_path, capsys):
    source = tiny_encoder(class_names=tuple("abcde"), image_size=(32, 64))
    start = save_encoder(source, tmp_path / "start")
    folder = run("--init-from", start, "--image-size", 32, 32, "--learning-rate", 0, "--seed", 5)
    printed = capsys.readouterr().out
    for words in (
        "starting from",
        "position tables are fitted from 32x64 to 32x32 pixels",
        "the class head for 5 classes is new; the one for 5 classes is left out",
    ):
        assert words in printed
    record = json.loads((folder / "run.json").read_text())["started_from"]
    assert record["hash"] == weights_hash(source)
    assert len(record["changes"]) == 2
    trained = load_encoder(folder)
    assert trained.config.class_names == tuple(sorted(CLASS_NAMES))
    resized = source.resized((32, 32)).state_dict()
    for name, tensor in trained.state_dict().items():
        assert torch.equal(tensor, resized[name]) != name.startswith("backbone.vit.head"), name

    weights = load_encoder(folder)  # the same classes now: the head stays
    again = run("--init-from", folder, "--image-size", 32, 32, "--learning-rate", 0)
    assert weights_hash(load_encoder(again)) == weights_hash(weights)
    assert "class head" not in capsys.readouterr().out
    for file in start.iterdir():
        file.unlink()
    assert run("--resume", folder) is None, "resuming needs nothing but the run"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--init-from", "{start}", "--width", 64], ["width=64, the weights have 24", "leave"]),
        (["--init-from", "{start}", "--decoder-depth", 3], ["decoder_depth=3, the weights have 2"]),
        (["--init-from", "{start}", "--encoder", "tore-nano"], ["mean the same"]),
        (["--init-from", "nowhere"], ["no encoder 'nowhere'"]),
        (["--init-from", "{start}", "--image-size", 36, 36], ["36", "multiple"]),
        (["--name", "a/b"], ["name='a/b'"]),
    ],
)
def test_what_does_not_fit_is_a_sentence(run, tmp_path, capsys, arguments, words):
    start = save_encoder(tiny_encoder(), tmp_path / "start")
    with pytest.raises(SystemExit) as ended:
        run(*(str(word).format(start=start) for word in arguments))
    said = f"{ended.value} {capsys.readouterr().err}"
    for word in words:
        assert word in said
    assert "Traceback" not in said
    assert not list((tmp_path / "runs").glob("*"))


def test_runs_of_other_commands_are_refused_by_name(run, tmp_path):
    record = describe_run(train_agent.Options(), made_by=train_agent.COMMAND)
    (tmp_path / "run.json").write_text(json.dumps(record, default=str))
    with pytest.raises(SystemExit, match=r"made by train_agent\.py .*, and train_encoder\.py"):
        run("--resume", tmp_path)
    record.pop("made_by")
    (tmp_path / "run.json").write_text(json.dumps(record, default=str))
    with pytest.raises(SystemExit, match=r"made by train_agent\.py .*, and train_encoder\.py"):
        run("--resume", tmp_path)


def test_a_changed_option_of_a_resumed_run_is_named_alone(run):
    folder = run("--image-size", 32, 32, "--patch-size", 8)
    with pytest.raises(SystemExit) as ended:
        run("--resume", folder, "--learning-rate", 3e-4)
    message = str(ended.value)
    assert "(training.learning_rate: was 0.0012, now 0.0003)" in message
    assert "batch_size" not in message


def test_validations_are_a_table():
    names = [
        f"{what}_k{split}"
        for what in ("accuracy_8_random", "rmse_8_random", "accuracy_full")
        for split in (0, 6, 12)
    ]
    history = [
        {"step": 10.0 ** (3 + row), **dict.fromkeys(names, 0.125 * (1 + row))} for row in (0, 1)
    ]
    title, heading, first, second = tabulate(history).splitlines()
    assert {len(line) for line in (title, heading, first, second)} == {len(title)}
    assert len(title) <= 100
    assert heading.split() == ["step", *["|", "K=0", "K=6", "K=12"] * 3]
    assert first.split()[:5] == ["1000", "|", "12.5", "12.5", "12.5"]
    assert second.split()[5:9] == ["|", "0.2", "0.2", "0.2"]
    assert tabulate(history, heading=False) == f"{first}\n{second}"


DINO = ("--objective", "dino", "--image-size", 32, 32)


def test_self_distillation_from_the_command_line(run, capsys):
    folder = run(*DINO, "--patch-size", 8)
    printed = capsys.readouterr().out
    assert "kNN %" in printed
    config = json.loads((folder / "config.json").read_text())
    assert (config["objective"], config["num_classes"], config["decoder"]) == ("dino", 0, None)
    options = json.loads((folder / "run.json").read_text())["configuration"]
    assert options["training"]["learning_rate"] == 5e-4
    assert options["dino"]["head_outputs"] == 64
    history = json.loads((folder / "history.json").read_text())
    assert [row["step"] for row in history] == [4, 8]
    assert run("--resume", folder) is None  # finished: shows the last line again
    assert "step 8 of 8" in capsys.readouterr().out

    named = run("--init-from", folder, "--image-size", 32, 32)  # a head is trained on top
    config = json.loads((named / "config.json").read_text())
    assert "objective" not in config
    assert config["num_classes"] == len(CLASS_NAMES)
    assert f"the class head for {len(CLASS_NAMES)} classes is new" in capsys.readouterr().out


def test_self_distillation_of_an_encoder_with_heads(run, tmp_path, capsys):
    start = save_encoder(tiny_encoder(image_size=(32, 32)), tmp_path / "start")
    folder = run(*DINO, "--init-from", start, "--learning-rate", 0)
    assert "the class head and the decoder are left out: only features" in capsys.readouterr().out
    trained, source = load_encoder(folder).state_dict(), tiny_encoder(image_size=(32, 32))
    again = run(*DINO, "--init-from", folder, "--dino.head-from", folder)
    assert "left out" not in capsys.readouterr().out
    assert trained.keys() < source.state_dict().keys()
    for file in folder.iterdir():
        file.unlink()
    assert run("--resume", again) is None, "resuming needs nothing but the run"


def test_self_distillation_without_classes_says_what_is_missing(run, tmp_path, capsys):
    scenes = make_tree(tmp_path / "bare", {"train": 8, "val": 4})
    folder = run(*DINO, "--patch-size", 8, data_root=scenes)
    assert "no nearest-neighbour accuracy" in capsys.readouterr().out
    assert "knn_top1" not in json.loads((folder / "history.json").read_text())[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*DINO, "--label-smoothing", 0.1), "--label-smoothing does nothing: self-distillation"),
        ((*DINO, "--decoder-width", 8), "--decoder-width does nothing"),
        (("--dino.local-crops", 1), "--dino.local-crops does nothing: it belongs"),
        ((*DINO, "--reduction", "tome:r=1", "--patch-size", 8), "reduces tokens"),
        ((*DINO, "--dino.head-from", "nowhere"), "nowhere: no projection head"),
        ((*DINO, "--dino.parts", 4, 7), "7 is none of 1, 2, 3"),
        ((*DINO, "--dino.local-size", 12, 12), "multiples of the patch size 16"),
    ],
)
def test_idle_and_impossible_options_of_self_distillation(run, tmp_path, capsys, arguments, words):
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    said = " ".join(f"{ended.value} {capsys.readouterr().err}".replace("│", " ").split())
    assert words in said
    assert "Traceback" not in said
    assert not list((tmp_path / "runs").glob("*"))


def test_a_killed_self_distillation_ends_as_one_that_was_left_alone(run, scenes, tmp_path):
    sizes = (*DINO, "--patch-size", 8, "--epochs", 12)
    whole = run(*sizes)
    where = ["--env", "AVE-ImageFolder-v0", "--data-root", scenes, "--output", tmp_path / "killed"]
    process = subprocess.Popen(
        [sys.executable, "train_encoder.py", *map(str, (*where, *FEW, *sizes))],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    while process.poll() is None and not list(tmp_path.glob("killed/*/history.json")):
        time.sleep(0.005)
    process.kill()
    process.wait(100)
    (folder,) = (tmp_path / "killed").iterdir()
    state = torch.load(folder / "training_state.pt", weights_only=True)
    assert 0 < state["step"] < 48, "killed too late to say anything"
    run("--resume", folder)
    ends = [torch.load(each / "training_state.pt", weights_only=True) for each in (whole, folder)]
    assert_same(*ends)
    assert weights_hash(load_encoder(folder)) == weights_hash(load_encoder(whole))


def assert_same(first, second, name="state"):
    """Holds two training states to each other, to the last bit."""
    assert type(first) is type(second), name
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), name
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), name
        for key, value in first.items():
            assert_same(value, second[key], f"{name}.{key}")
    elif isinstance(first, list):
        assert len(first) == len(second), name
        for number, pair in enumerate(zip(first, second, strict=True)):
            assert_same(*pair, f"{name}.{number}")
    else:
        assert first == second, name

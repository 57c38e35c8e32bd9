"""Every family of encoders goes through the commands: trained, evaluated, explored with."""

from __future__ import annotations

import json
import sys

import pytest

from agents.commands import eval_agent, train_agent, train_encoder
from encoders.storage import load_encoder

FEW = ("--num-workers", "0", "--no-progress", "--device", "cpu", "--smoke")
ENCODE = ("--image-size", "64", "128", "--max-glimpses", "4", "--cache-bytes", "0")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a command in a folder of runs; returns the new run folder."""

    def ran(command, *arguments):
        known = set((tmp_path / "runs").glob("*"))
        words = [command.COMMAND, *map(str, arguments), "--output", str(tmp_path / "runs")]
        monkeypatch.setattr(sys, "argv", words)
        command.main()
        new = set((tmp_path / "runs").glob("*")) - known
        return new.pop() if new else None

    return ran


@pytest.mark.parametrize(
    ("family", "sizes"),
    [
        ("convmixer", ("kernel_size=3", "recycle=true")),
        ("alternet", ("window=2", "unseen=zero")),
        ("riformer", ("layers=[1,1,1,1]", "widths=[8,8,16,16]", "norm=channel")),
    ],
)
def test_a_family_is_trained_evaluated_and_explored_with(run, family, sizes):
    encoder = run(train_encoder, *FEW, *ENCODE, "--family", family, "--sizes", *sizes)
    trained = load_encoder(encoder)
    assert trained.family == family
    assert json.loads((encoder / "history.json").read_text())[-1]["rmse_4_random"] > 0
    again = run(train_encoder, *FEW, *ENCODE, "--init-from", encoder, "--learning-rate", 0)
    for name, tensor in load_encoder(again).named_parameters():
        assert tensor.equal(trained.get_parameter(name)), name
    agent = run(train_agent, "--smoke", "--encoder", encoder, "--device", "cpu", "--no-progress")
    table = run(
        eval_agent,
        *("--encoder", encoder, "--agents", "random", agent, "--scenes", 6),
        *("--device", "cpu", "--smoke"),
    )
    summary = json.loads((table / "summary.json").read_text())
    assert family in json.dumps(summary) or trained.config.name in json.dumps(summary)


def test_a_student_imitates_by_the_command(run):
    sizes = ("layers=[1,1]", "widths=[8,12]")
    teacher = run(
        train_encoder, *FEW, *ENCODE, "--family", "riformer", "--sizes", *sizes, "mixer=pool"
    )
    student = run(
        train_encoder,
        *FEW,
        *ENCODE,
        "--family",
        "riformer",
        "--sizes",
        *sizes,
        "--teacher",
        teacher,
    )
    assert load_encoder(student).config.body["mixer"] == "affine"
    assert json.loads((student / "run.json").read_text())["configuration"]["training"][
        "teacher"
    ] == str(teacher)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--family", "convmixr"], "did you mean 'convmixer'"),
        (["--sizes", "width=8"], "give --family as well"),
        (["--family", "convmixer", "--width", "64"], "--sizes width=64"),
        (["--family", "convmixer", "--sizes", "kernel=3"], "expected width, depth, kernel_size"),
        (["--family", "convmixer", "--sizes", "width=x"], "width='x'; expected an integer"),
        (["--family", "convmixer", "--reduction", "tome:r=2"], "has no tokens to reduce"),
        (["--family", "alternet", "--split-block", "2"], "are trained without one"),
        (["--family", "alternet", "--init-from", "tore-nano"], "of the family 'tore'"),
        (["--init-from", "convmixer", "--reduction", "tome:r=2"], "has no tokens to reduce"),
    ],
)
def test_what_does_not_fit_a_family_is_a_sentence(run, capsys, tmp_path, arguments, words):
    with pytest.raises(SystemExit) as ended:
        run(train_encoder, *FEW, *arguments)
    said = " ".join(f"{ended.value} {capsys.readouterr().err}".replace("│", " ").split())
    assert words in said
    assert not list((tmp_path / "runs").glob("*"))

"""What can be resumed, and what a folder that cannot is."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from panoramas import save_panorama_encoder
from safetensors.numpy import load_file
from scene_trees import unprivileged
from tiny import raises_naming

from agents.commands import run_folder, train_agent, train_encoder
from agents.commands.errors import explain, one_line_errors
from agents.commands.resuming import saved_options
from agents.commands.train_agent import Options
from agents.learning.record import read_agent
from encoders.storage import load_encoder, weights_hash

SIZES = ["--num-glimpses", 4, "--n-envs", 8, "--eval-freq", 1000, "--eval-scenes", 4]
FAST = ["--agents", "raster", "--episodes", 0, "--no-progress", "--ppo.policy-width", 8]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return save_panorama_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def run(monkeypatch):
    def call(*arguments) -> None:
        monkeypatch.setattr(sys, "argv", ["train_agent.py", *map(str, arguments)])
        train_agent.main()

    return call


def refused(run, *arguments) -> str:
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert "\n" not in str(stop.value)
    return str(stop.value)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def policy(folder: Path) -> dict:
    return load_file(folder / "policy.safetensors")


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


def test_a_finished_run_is_left_as_it_is_and_a_warm_start_goes_on_from_it(
    tmp_path, encoder, run, capsys
):
    run("--encoder", encoder, *SIZES, *FAST, "-n", 64, "--output", tmp_path / "runs")
    assert "images of 64x128 pixels, as the encoder" in capsys.readouterr().out
    (folder,) = (tmp_path / "runs").iterdir()
    before = contents(folder)
    for more in ([], ["-n", 40], ["-n", 64], ["--agents", "random"]):
        message = refused(run, "--resume", folder, *more)
        assert "has learnt from 64 environment steps already" in message
        assert f"eval_agent.py --agents {folder}" in message
    message = refused(run, "--resume", folder, "--ppo.learning-rate", 0.1, "-n", 128)
    assert "(ppo.learning_rate: was 0.0025, now 0.1)" in message
    assert contents(folder) == before

    # Killed while it compared: the comparison is made, and nothing learnt.
    times = json.loads((folder / run_folder.TIMES_FILE).read_text())
    times[-1] |= {"finished": None, "seconds": None}
    times[-1].pop("complete")
    (folder / run_folder.TIMES_FILE).write_text(json.dumps(times))
    (folder / "summary.json").unlink()
    run("--resume", folder)
    assert (folder / "summary.json").is_file()
    assert (folder / "policy.safetensors").read_bytes() == before[folder / "policy.safetensors"]

    warm = ["--init-from", folder, "--encoder", encoder, *SIZES, *FAST]
    run(*warm, "-n", 1, "--seed", 5, "--ppo.learning-rate", 0, "--output", tmp_path / "warm")
    (begun,) = (tmp_path / "warm").iterdir()
    assert same(policy(begun), policy(folder))  # nothing learnt at this rate
    noted = read_agent(begun)["init_from"]
    assert (noted["agent"], noted["timesteps"]) == (str(folder), 64)
    record = json.loads((begun / "run.json").read_text())["configuration"]
    assert record["init_from"] == str(folder)
    run("--resume", begun, "-n", 64)
    assert read_agent(begun)["init_from"] == noted
    assert "policy_width=8" in refused(run, *warm[:-1], 16)
    assert "fits only where" in refused(run, "--init-from", "guided", *warm[2:-2])
    assert "did you mean 'ppo'" in refused(run, "--init-from", "ppi")
    assert "--init-from does nothing" in refused(run, "--policy", "ame", "--init-from", folder)


def test_a_sweep_is_one_run_per_seed_and_one_table(tmp_path, encoder, run, capsys, monkeypatch):
    common = ["--encoder", encoder, *SIZES, *FAST, "-n", 32]
    learn, seeds = train_agent._work, []

    def interrupted(options):
        seeds.append(options.seed)
        work = learn(options)
        # The first is only asked whether all is well; the run with the second seed is interrupted.
        return (lambda folder: False) if seeds == [2, 2, 3] else work

    monkeypatch.setattr(train_agent, "_work", interrupted)
    run(*common, "--seed", 2, 3, "--output", tmp_path / "runs")
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name == "ppo-AVE-Synthetic-v0-sweep-1"
    assert f"--resume {folder}" in capsys.readouterr().out
    first = contents(folder / "seed-2")
    run("--resume", folder)
    assert contents(folder / "seed-2") == first
    shown = capsys.readouterr().out
    assert "2 seeds" in shown
    assert "tiny" in shown
    header, *rows = (folder / "per_step.csv").read_text().splitlines()
    assert {"environment", "encoder", "split_block", "seed"} <= set(header.split(","))
    assert len(rows) > 10
    assert (folder / "table.csv").is_file()
    assert "has learnt from 32 environment steps already" in refused(run, "--resume", folder)
    for seed in (2, 3):
        record = json.loads((folder / f"seed-{seed}" / "run.json").read_text())
        assert record["configuration"]["seed"] == seed
    run(*common, "--seed", 3, "--output", tmp_path / "alone")
    (alone,) = (tmp_path / "alone").iterdir()
    assert same(policy(alone), policy(folder / "seed-3"))
    run("--resume", folder, "-n", 64)
    assert [read_agent(folder / f"seed-{seed}")["timesteps"] for seed in (2, 3)] == [64, 64]


def test_a_finished_fine_tuning_has_nothing_to_resume(tmp_path, encoder, run):
    tuning = ["--finetuning.epoch-size", 16, "--finetuning.batch-size", 8, "--finetuning.epochs", 1]
    arguments = ["--encoder", encoder, "--policy", "random", "--num-glimpses", 3, *tuning]
    arguments += ["--finetuning.validation-size", 8, *FAST[:-2], "--eval-scenes", 4]
    run(*arguments, "--output", tmp_path)
    (folder,) = tmp_path.iterdir()
    before = contents(folder)
    assert "nothing to resume" in refused(run, "--resume", folder)
    assert contents(folder) == before
    assert weights_hash(load_encoder(folder)) != weights_hash(load_encoder(encoder))


def record(folder: Path, configuration: dict, made_by: str | None = None) -> Path:
    folder.mkdir(parents=True)
    noted = {"configuration": configuration} | ({"made_by": made_by} if made_by else {})
    (folder / "run.json").write_text(json.dumps(noted))
    return folder


@pytest.mark.parametrize("module", [train_agent, train_encoder])
@pytest.mark.parametrize("noted", [True, False])
def test_every_run_folder_says_which_command_made_it(module, noted, tmp_path):
    kinds = {
        "train_agent": ({"policy": "ppo", "ppo": {}}, "continue it with: python train_agent.py"),
        "train_encoder": ({"shape": {}, "training": {}}, "continue it with: python train_encoder"),
        "eval_agent": ({"split": "test", "scenes": None, "list_file": None}, "nothing to continue"),
    }
    for maker, (configuration, advice) in kinds.items():
        if maker == module.COMMAND:
            continue
        folder = record(tmp_path / maker, configuration, maker if noted else None)
        with raises_naming(ValueError, [str(folder), f"made by {maker}.py", advice]):
            saved_options(folder, module.Options(), module.COMMAND)


def test_a_folder_that_is_no_run_says_what_it_is(tmp_path, encoder):
    inner = record(tmp_path / "runs" / "ppo-1", {}, "train_agent")
    (inner / "best").mkdir()
    (inner / "best" / "agent.json").write_text('{"agent": "ppo"}')
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for path, words in {
        tmp_path / "nowhere": ["there is no such folder"],
        tmp_path / "file": ["it is a file"],
        tmp_path / "empty": ["expected a folder that train_agent.py"],
        encoder: ["holds an encoder", "--encoder"],
        inner / "best": ["holds a trained agent", "--init-from", str(inner)],
        tmp_path / "runs": ["holds 1 of them", str(inner)],
    }.items():
        with raises_naming(ValueError, [str(path), "not a run folder", *words]):
            saved_options(path, Options(), "train_agent")


def test_options_of_another_release_are_told_from_mistakes(tmp_path):
    folder = record(tmp_path / "old", {"policy": "ppo", "finetuning": {"seed": 3}}, "train_agent")
    with raises_naming(ValueError, ["unknown option 'seed'", "release that began it"]):
        saved_options(folder, Options(), "train_agent")


def test_a_place_that_cannot_be_written_is_named_with_what_to_do(tmp_path, run):
    (tmp_path / "file").touch()
    for output, words in (
        (tmp_path / "file", "there is a file of that name"),
        (tmp_path / "file" / "runs", "a part of that path is a file"),
    ):
        message = refused(run, "--smoke", "--output", output)
        assert f"{output}: {words}" in message
        assert "Errno" not in message
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with (
        unprivileged(),
        pytest.raises(SystemExit, match=r"closed.*: no permission"),
        one_line_errors(),
    ):
        run_folder.create_run_folder(closed, "run")


def test_errors_of_the_system_keep_a_message_of_their_own():
    assert explain(FileNotFoundError("no agent.json")) == "no agent.json"
    with (
        pytest.raises(SystemExit, match=r"--scenes=0 is too few of my_num_scenes=1"),
        one_line_errors({"num_scenes": "--scenes"}),
    ):
        raise ValueError("num_scenes=0 is too few of my_num_scenes=1")

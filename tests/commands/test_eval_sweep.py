"""Sweeps of eval_agent.py: every combination once, one table, going on when interrupted."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from panoramas import save_panorama_encoder
from tiny import raises_naming

from agents import Agent
from agents.commands import eval_agent
from agents.commands.eval_options import Options


class InterruptedAgent(Agent):
    """Takes the first place that shows something new; the user gives up in episodes of three."""

    name = "interrupted"
    given_up = False

    def choose(self, observation, deterministic):
        if observation["progress"].max() == pytest.approx(1 / 3) and not type(self).given_up:
            type(self).given_up = True
            raise KeyboardInterrupt
        return self.sensor.reveals(observation["visited"]).argmax(axis=1)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return save_panorama_encoder(tmp_path_factory.mktemp("encoder"), width=32)


@pytest.fixture
def run(monkeypatch, tmp_path):
    def call(*arguments):
        command = ["eval_agent.py", "--output", str(tmp_path / "runs"), *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        eval_agent.main()

    return call


def quick(encoder):
    return (
        *("--encoder", encoder, "--image-size", 64, 128, "--scenes", 5, "--num-envs", 5),
        *("--episodes", 0, "--no-progress"),
    )


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_sweep_goes_on_where_it_was_interrupted(run, tmp_path, encoder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "swept", sys.modules[__name__])
    agents = ("--agents", "random", "swept:InterruptedAgent", "--seed", 0, 1)
    swept = ("--split-block", 1, 2, "--num-glimpses", 2, 3)
    with pytest.raises(SystemExit, match=r"--resume .*sweep-1"):
        run(*agents, *swept, *quick(encoder))
    sweep = tmp_path / "runs" / "sweep-1"
    first = sweep / "01-split_block-1-num_glimpses-2"
    assert (first / "report.html").is_file()
    assert not (sweep / "table.csv").exists()
    before = (first / "times.json").read_bytes()

    run("--resume", sweep)
    assert (first / "times.json").read_bytes() == before
    runs = sorted(path.name for path in sweep.iterdir() if path.is_dir())
    assert runs == [
        "01-split_block-1-num_glimpses-2",
        "02-split_block-1-num_glimpses-3",
        "03-split_block-2-num_glimpses-2",
        "04-split_block-2-num_glimpses-3",
    ]
    rows = read(sweep / "table.csv")
    found = {(row["split_block"], row["num_glimpses"], row["agent"], row["seeds"]) for row in rows}
    assert found == {
        (k, t, *agent)
        for k in "12"
        for t in "23"
        for agent in (("random", "0 1"), ("interrupted", "0"))
    }
    steps = read(sweep / "per_step.csv")
    assert {row["run"] for row in steps} == set(runs)
    assert {row["environment"] for row in steps} == {"AVE-Synthetic-v0"}
    # A run of a sweep is what it is alone.
    run(*agents, "--split-block", 2, "--num-glimpses", 3, *quick(encoder))
    alone = tmp_path / "runs" / "eval-AVE-Synthetic-v0-1"
    for name in ("per_scene.csv.gz", "per_step.csv", "summary.json"):
        assert (alone / name).read_bytes() == (sweep / runs[3] / name).read_bytes(), name
    assert json.loads((alone / "run.json").read_text())["configuration"]["split_block"] == 2

    printed = capsys.readouterr().out
    heading = next(line for line in printed.splitlines() if " agent " in line)
    assert heading.split()[:3] == ["K", "T", "agent"]
    with pytest.raises(SystemExit, match="with its own options"):
        run("--resume", sweep, "--scenes", 6)
    with pytest.raises(SystemExit, match="single comparison"):
        run("--resume", alone)


def test_every_mistake_shows_before_anything_is_explored(run, tmp_path, encoder):
    with pytest.raises(SystemExit, match=r"error: .*split.block.*9"):
        run("--agents", "raster", "--split-block", 1, 9, *quick(encoder))
    with pytest.raises(SystemExit, match="no such/encoder"):
        run("--agents", "raster", "--encoder", "tore-nano", "no such/encoder")
    assert not (tmp_path / "runs").exists()


def test_options_that_contradict_each_other_are_refused(tmp_path):
    with raises_naming(ValueError, ["num_glimpses=2 2", "only once"]):
        Options(num_glimpses=(2, 2))
    with raises_naming(ValueError, ["reduction=evit evit", "only once"]):
        Options(reduction=("evit", "evit"))
    with raises_naming(ValueError, ["tom", "did you mean 'tome'"]):
        Options(reduction=("none", "tom"))
    with raises_naming(ValueError, [str(tmp_path), "2 environments", "AVE_IMAGENET_ROOT"]):
        Options(env=("AVE-ImageNet-v0", "AVE-ImageFolder-v0"), data_root=tmp_path)


def test_runs_are_called_by_what_differs():
    options = Options(encoder=("timm/a/b", "./folder/c d/"), split_block=(1,))
    assert [name for name, _ in options.runs()] == ["01-encoder-b", "02-encoder-c_d"]
    assert [run.split_block for _, run in options.runs()] == [1, 1]
    assert not Options(encoder=("a",), split_block=(1,)).is_sweep


def test_no_reduction_is_compared_once_wherever_the_others_are():
    options = Options(
        reduction=("none", "tome:r=2"), reduction_in=("aggregator", "both"), max_tokens=(0, 8)
    )
    found = [
        (name, run.reduction, run.reduction_in, run.max_tokens) for name, run in options.runs()
    ]
    expected = [
        ("01-reduction-none-max_tokens-0", "none", None, 0),
        ("02-reduction-none-max_tokens-8", "none", None, 8),
    ]
    for place in ("aggregator", "both"):
        for most in (0, 8):
            number = f"{len(expected) + 1:02d}"
            name = f"{number}-reduction-tome_r_2-reduction_in-{place}-max_tokens-{most}"
            expected.append((name, "tome:r=2", place, most))
    assert found == expected


def test_reductions_are_columns_of_the_table(run, tmp_path, encoder, capsys):
    swept = ("--reduction", "none", "tome:r=1", "--max-tokens", 0, 8)
    few = ("--agents", "raster", "--num-glimpses", 3, "--split-block", 0, *quick(encoder))
    run(*few, *swept)
    sweep = tmp_path / "runs" / "sweep-1"
    rows = [row for row in read(sweep / "table.csv") if row["t"] == "3"]
    found = {(row["reduction"], row["max_tokens"]): float(row["gflops_total"]) for row in rows}
    assert set(found) == {("", ""), ("tome:r=1", ""), ("", "8"), ("tome:r=1", "8")}
    assert found["tome:r=1", ""] < found["", ""]
    heading = next(line for line in capsys.readouterr().out.splitlines() if " agent " in line)
    assert heading.split()[:4] == ["max_tokens", "reduction", "reduction_in", "agent"]
    for arguments, words in (
        (("--reduction", "none", "tome:r=99"), "r=99 is beyond half of the 32 patches"),
        (("--max-tokens", 0, 3), "max_tokens=3 is less than the 4 patches of one glimpse"),
        (("--reduction-in", "aggregator", "both"), "without a reduction; give one"),
    ):
        with pytest.raises(SystemExit, match=words):
            run(*few, *arguments)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["sweep-1"]


def test_environments_and_encoders_are_columns_of_the_table(tmp_path, encoder):
    root = Path(__file__).parents[2]
    command = [sys.executable, str(root / "eval_agent.py"), "--agents", "raster", "--smoke"]
    command += ["--env", "AVE-Synthetic-v0", "AVE-SUN360-v0", "--episodes", "0", "--no-progress"]
    command += ["--encoder", "tore-nano", str(encoder), "--scenes", "3"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    heading = next(line for line in done.stdout.splitlines() if " agent " in line)
    assert heading.split()[:2] == ["environment", "encoder"]
    rows = read(tmp_path / "runs" / "sweep-1" / "table.csv")
    assert len({(row["environment"], row["encoder"], row["weights_hash"]) for row in rows}) == 4

"""The command that compares agents: what it writes, what it refuses, what it prints."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from panoramas import save_panorama_encoder
from PIL import Image

from agents.commands import eval_agent, eval_options
from agents.learning.ppo.config import PpoConfig
from agents.learning.ppo.learner import PpoLearner
from agents.learning.windows.agent import OBSERVABLES
from ave_env import ActiveExplorationVectorEnv

FILES = {
    "run.json",
    "times.json",
    "summary.json",
    "per_step.csv",
    "per_scene.csv.gz",
    "report.html",
}
FILES |= {"curves.png", "gaze", "episodes"}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return save_panorama_encoder(tmp_path_factory.mktemp("encoder"), width=32)


@pytest.fixture
def run(monkeypatch, tmp_path, encoder):
    def call(*arguments):
        command = ["eval_agent.py", "--output", str(tmp_path), "--encoder", str(encoder)]
        command += ["--image-size", "64", "128", "--scenes", "7", "--num-envs", "4"]
        command += ["--episodes", "0", "--no-progress", *arguments]
        monkeypatch.setattr(sys, "argv", command)
        eval_agent.main()

    return call


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


def test_asking_for_help_imports_nothing_that_takes_long():
    code = (
        "import sys, eval_agent\n"
        "sys.argv[1:] = ['--help']\n"
        "try:\n    eval_agent.main()\n"
        "except SystemExit as stop:\n    assert stop.code == 0, stop.code\n"
        "heavy = {'torch', 'cv2', 'matplotlib', 'stable_baselines3', 'timm'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--split-block" in done.stdout


def test_animations_are_written_where_they_are_asked_for(encoder, tmp_path, monkeypatch):
    command = ["eval_agent.py", "--output", str(tmp_path), "--encoder", str(encoder)]
    command += ["--image-size", "64", "128", "--scenes", "6", "--agents", "raster", "--no-progress"]
    reports = []
    for more in ([], ["--episodes", "2"]):
        monkeypatch.setattr(sys, "argv", [*command, *more])
        eval_agent.main()
    for number, asked in ((1, False), (2, True)):
        folder = tmp_path / f"eval-AVE-Synthetic-v0-{number}"
        page = (folder / "report.html").read_text()
        reports.append(json.loads(re.search(r'json">(.*?)</script>', page, re.S)[1]))
        films = {path.name for path in folder.rglob("*.gif")}
        assert films == ({"raster-scene-0.gif", "raster-scene-1000.gif"} if asked else set())
        # The page says where animations are, or how to get some.
        assert ("--episodes N" in reports[-1]["animations"]) is not asked
        assert ("folder episodes" in reports[-1]["animations"]) is asked
    # The report shows episodes glimpse by glimpse either way.
    for report, count in zip(reports, (eval_options.STILL_EPISODES, 2), strict=True):
        assert len(report["scenes"]) == count
        for moments in report["agents"][0]["episodes"].values():
            assert [len(moment["boxes"]) for moment in moments] == list(range(9))


def test_a_run_writes_its_folder_and_prints_the_table(run, tmp_path, capsys):
    run("--agents", "random", "ame", "oracle", "--seed", "1", "2", "--episodes", "1")
    folder = tmp_path / "eval-AVE-Synthetic-v0-1"
    assert {path.name for path in folder.iterdir()} == FILES
    assert {path.name for path in (folder / "episodes").iterdir()} == {
        f"{agent}-scene-0.{kind}"
        for agent in ("random", "ame", "oracle")
        for kind in ("gif", "mp4")
    }
    with Image.open(folder / "episodes" / "ame-scene-0.gif") as animation:
        assert animation.n_frames == 9
    summary = summary_of(folder)
    assert summary["scenes"]["name"] == "synthetic"
    assert summary["scenes"]["num_scenes"] == 7
    assert summary["agents"]["random"]["seeds"] == [1, 2]
    with (folder / "per_step.csv").open() as file:
        assert {row["agent"] for row in csv.DictReader(file)} == {"random", "ame", "oracle"}
    run_record = json.loads((folder / "run.json").read_text())
    assert run_record["configuration"]["agents"] == ["random", "ame", "oracle"]
    printed = capsys.readouterr().out
    for word in ("random", "ame", "oracle", "upper bound", "GFLOPs per", str(folder)):
        assert word in printed


def test_run_folders_are_never_overwritten_and_hold_the_same_bytes(run, tmp_path):
    for _ in range(2):
        run("--agents", "random", "--seed", "3", "--episodes", "1")
    first, second = sorted(tmp_path.iterdir())
    assert (first.name, second.name) == ("eval-AVE-Synthetic-v0-1", "eval-AVE-Synthetic-v0-2")
    files = {path.relative_to(first) for path in first.rglob("*") if path.is_file()}
    assert files == {path.relative_to(second) for path in second.rglob("*") if path.is_file()}
    for name in files - {Path("times.json")}:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_options_reach_the_environment(run, tmp_path):
    run(
        *("--agents", "raster", "--task", "reconstruction", "--split", "val"),
        *("--split-block", "2", "--glimpse-size", "3", "--num-glimpses", "3"),
        *("--wrap-azimuth", "True", "--scene-seed", "5", "--precision", "float32"),
        *("--threads", "1"),
    )
    folder = tmp_path / "eval-AVE-Synthetic-v0-1"
    assert json.loads((folder / "run.json").read_text())["machine"]["threads"] == 1
    summary = summary_of(folder)
    assert summary["main_metric"] == "rmse"
    assert summary["split_block"] == 2
    assert summary["scenes"]["split"] == "val"
    kwargs = summary["environment"]["kwargs"]
    assert kwargs["glimpse_size"] == kwargs["num_glimpses"] == 3
    assert kwargs["wrap_azimuth"] is True
    assert kwargs["seed"] == 5
    # Three glimpses of nine patches each, in order, on a grid of 4 x 8.
    assert summary["agents"]["raster"]["final"]["coverage"]["mean"] == pytest.approx(24 / 32)


def test_sun360_without_its_files_is_called_synthetic(run, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("AVE_SUN360_ROOT", raising=False)
    with pytest.warns(UserWarning, match="NO SUN360 DATA"):
        run("--agents", "raster", "--env", "AVE-SUN360-v0")
    summary = summary_of(tmp_path / "eval-AVE-SUN360-v0-synthetic-1")
    assert summary["scenes"]["name"] == "synthetic"
    assert summary["environment"]["kwargs"]["scenes"] == "synthetic"
    assert "scenes of synthetic" in capsys.readouterr().out


def test_classes_the_head_was_not_trained_for_get_no_accuracy(run, tmp_path, capsys):
    root = tmp_path / "photos"
    for number in range(4):
        path = root / "test" / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (64, 128, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    with pytest.warns(UserWarning, match="head"):
        run("--agents", "raster", "--env", "AVE-ImageFolder-v0", "--data-root", str(root))
    final = summary_of(tmp_path / "eval-AVE-ImageFolder-v0-1")["agents"]["raster"]["final"]
    assert "accuracy" not in final
    assert "untrained head" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--agents", "nonsense"], ["nonsense", "checkerboard"]),
        (["--agents", "raster", "--encoder", "no/such/encoder"], ["no/such/encoder"]),
        (["--agents", "raster", "--env", "AVE-Nowhere-v0"], ["AVE-Nowhere"]),
        (["--agents", "raster", "--split-block", "9"], ["9"]),
        (["--agents", "raster", "--scenes", "0"], ["--scenes=0"]),
        (["--agents", "raster", "--stop-confidence", "2"], ["--stop-confidence=2"]),
        (
            ["--agents", "raster", "--env", "AVE-ImageFolder-v0", "--data-root", "no/such/folder"],
            ["no/such/folder"],
        ),
    ],
)
def test_mistakes_end_in_one_line_that_names_them(run, tmp_path, arguments, words):
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    message = str(stop.value)
    assert message.startswith("eval_agent.py: error: ")
    assert "\n" not in message
    for word in words:
        assert word in message
    assert not list(tmp_path.iterdir())


def test_stopping_early_is_shown_with_what_it_saves(run, tmp_path, capsys):
    run("--agents", "raster", "oracle", "--stop-confidence", "0.0625")
    printed = capsys.readouterr().out
    stopping = summary_of(tmp_path / "eval-AVE-Synthetic-v0-1")["agents"]["raster"]["stopping"]
    (asked,) = [one for one in stopping if one["confidence"] == 0.0625]
    assert f"{asked['glimpses']:.2f}" in printed
    assert f"{asked['saved_by_stopping']:.0%}" in printed
    with pytest.raises(SystemExit, match="'classification'"):
        run("--agents", "raster", "--stop-confidence", "0.5", "--task", "reconstruction")


def test_smoke_explores_a_few_scenes(run, tmp_path):
    short = eval_options.defaults_of(["--smoke"])
    assert (short.scenes, short.episodes) == (16, 1)
    run("--agents", "raster", "--smoke", "--scenes", "9")  # what is given wins
    assert summary_of(tmp_path / "eval-AVE-Synthetic-v0-1")["scenes"]["num_scenes"] == 9


def test_settings_not_given_are_those_a_trained_agent_was_trained_with(run, tmp_path, encoder):
    env = ActiveExplorationVectorEnv(
        2,
        encoder=str(encoder),
        image_size=(64, 128),
        glimpse_size=3,
        num_glimpses=2,
        split_block=2,
        observe=OBSERVABLES,
        autoreset_mode="SAME_STEP",
    )
    PpoLearner(env, PpoConfig(batch_size=4)).save(tmp_path / "trained")
    run("--agents", "raster", str(tmp_path / "trained"))
    summary = summary_of(tmp_path / "eval-AVE-Synthetic-v0-1")
    assert summary["agents"].keys() == {"raster", "ppo"}
    assert summary["agents"]["ppo"]["gflops_of_policy"] > 0
    assert summary["split_block"] == 2
    assert summary["environment"]["kwargs"]["glimpse_size"] == 3
    assert summary["environment"]["kwargs"]["num_glimpses"] == 2
    with pytest.raises(SystemExit, match="split_block=2"):
        run("--agents", str(tmp_path / "trained"), "--split-block", "1")

"""Where the options of a training run come from, and which ones win."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import raises_naming

from agents.commands import eval_agent, train_agent, train_encoder
from agents.commands.options import EnvironmentOptions, read_pairs, write_pairs
from agents.commands.train_agent import Options
from agents.commands.yaml_options import (
    DEFAULTS_FOLDER,
    environment_defaults,
    read_yaml,
    with_values,
)
from ave_env.configuration import Configuration
from ave_env.registration import ENVIRONMENTS
from encoders.reduction.plan import OPTIONS as REDUCING

ROOT = Path(__file__).parents[2]


@pytest.fixture
def parse(monkeypatch):
    """What a command line comes to, without training."""

    def call(*arguments) -> Options:
        seen = []
        monkeypatch.setattr(train_agent, "train", seen.append)
        monkeypatch.setattr(sys, "argv", ["train_agent.py", *map(str, arguments)])
        train_agent.main()
        return seen[0]

    return call


def test_every_environment_has_defaults_that_fit():
    assert {path.stem for path in DEFAULTS_FOLDER.glob("*.yml")} == set(ENVIRONMENTS)
    for env_id in ENVIRONMENTS:
        values, source = environment_defaults(env_id)
        options = with_values(Options(), values, str(source))
        assert options != dataclasses.replace(options, seed=1)
        for name in ("env", "resume", "smoke", "output"):
            assert name not in values


def test_the_command_line_wins_over_the_environments_defaults(parse):
    imagenet = parse("--env", "AVE-ImageNet-v0")
    assert imagenet.ppo.gamma == 0.95
    assert imagenet.total_timesteps == 2_000_000
    changed = parse("--env=AVE-ImageNet-v0", "-n", 5, "--ppo.gamma", 0.5)
    assert (changed.total_timesteps, changed.ppo.gamma) == (5, 0.5)
    assert changed.ppo.batch_size == imagenet.ppo.batch_size
    assert parse().ppo.gamma == Options().ppo.gamma


def test_a_file_of_ones_own_takes_the_place_of_the_environments(parse, tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text("n_envs: 16\nimage_size: [64, 128]\nppo: {learning_rate: 1e-4}\noutput: here\n")
    options = parse("--env", "AVE-ImageNet-v0", "--conf-file", path, "--seed", 4)
    assert (options.n_envs, options.image_size, options.seed) == (16, (64, 128), 4)
    assert options.ppo.learning_rate == 1e-4
    assert options.ppo.gamma == Options().ppo.gamma
    assert options.output == Path("here")


def test_a_short_run_is_as_short_as_was_asked_for(parse, tmp_path):
    short = parse("--smoke")
    assert (short.n_envs, short.total_timesteps, short.finetuning.epochs) == (32, 512, 1)
    assert parse("--smoke", "--n-envs", 256).n_envs == 256
    tuned = parse("--smoke", "--policy", "ame", "--finetuning.epochs", 3).finetuning
    assert (tuned.epochs, tuned.epoch_size) == (3, 64)
    assert parse("--smoke", "--env", "AVE-ImageNet-v0").total_timesteps == 512
    path = tmp_path / "mine.yml"
    path.write_text("smoke: true\nn_envs: 16\n")
    assert parse("--conf-file", path).n_envs == 16
    assert parse("--conf-file", path).eval_scenes == 32
    assert parse("--conf-file", path, "--smoke").n_envs == 32


def test_seeds_are_one_or_several(parse):
    assert parse("--seed", 3).seed == 3
    assert parse("--seed", 3, 1).seed == (3, 1)
    with pytest.raises(ValueError, match="each only once"):
        Options(seed=(1, 1))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--policy", "ame", "--ppo.gamma", 0.9], ["--ppo.gamma does nothing", "--policy ame"]),
        (["--policy", "ame", "-n", 5], ["-n does nothing"]),
        (["--policy", "ame", "--n-envs=256"], ["--n-envs does nothing"]),
        (["--policy", "ame", "--init-from", "ppo"], ["--init-from does nothing", "--encoder"]),
        (["--finetuning.epochs", 2], ["--finetuning.epochs does nothing", "--policy ppo"]),
        (["--wandb-entity", "me"], ["--wandb-entity does nothing", "--track"]),
        (["--ppo.batch-size", 300, "--n-envs", 32], ["256 steps", "--n-envs 32 x 8"]),
    ],
)
def test_what_would_do_nothing_is_refused(parse, arguments, words):
    with pytest.raises(SystemExit) as stop:
        parse(*arguments)
    assert "\n" not in str(stop.value)
    for word in words:
        assert word in str(stop.value)


@pytest.mark.parametrize("name", ["seed", "glimpse-size", "progress", "max-glimpses"])
def test_what_the_environment_or_the_command_decides_is_no_option_of_fine_tuning(parse, name):
    with pytest.raises(SystemExit) as stop:
        parse("--policy", "random", f"--finetuning.{name}", 3)
    assert stop.value.code == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("n_env: 3", ["n_env", "did you mean 'n_envs'"]),
        ("ppo: {gama: 3}", ["gama", "did you mean 'gamma'"]),
        ("n_envs: many", ["n_envs='many'", "int"]),
        ("n_envs: true", ["n_envs=True", "int"]),
        ("task: painting", ["task='painting'"]),
        ("image_size: [1, 2, 3]", ["image_size=[1, 2, 3]"]),
        ("- 1", ["expected a mapping"]),
        ("a: [", ["cannot be read as YAML"]),
    ],
)
def test_mistakes_in_files_are_named(tmp_path, text, words):
    path = tmp_path / "mine.yml"
    path.write_text(text)
    with raises_naming(ValueError, [str(path), *words]):
        with_values(Options(), read_yaml(path), str(path))


def test_a_file_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train_agent.py", "--conf-file", "/nowhere.yml"])
    with pytest.raises(SystemExit, match=r"train_agent\.py: error: /nowhere\.yml"):
        train_agent.main()


def test_a_resumed_run_keeps_its_options_and_may_only_go_on_longer(parse, tmp_path):
    options = dataclasses.replace(
        Options(), n_envs=16, image_size=(64, 128), smoke=True, total_timesteps=512
    )
    record = {"configuration": dataclasses.asdict(options)}
    (tmp_path / "run.json").write_text(json.dumps(record, default=str))
    resumed = parse("--resume", tmp_path)
    assert resumed == dataclasses.replace(options, resume=tmp_path)
    longer = parse("--resume", tmp_path, "-n", 640, "--no-progress", "--threads", 2)
    assert (longer.total_timesteps, longer.progress, longer.threads) == (640, False, 2)
    with pytest.raises(SystemExit) as stop:
        parse("--resume", tmp_path, "--n-envs", 32, "--ppo.gamma", 0.5, "-n", 640)
    assert "(n_envs: was 16, now 32; ppo.gamma: was 0.9, now 0.5)" in str(stop.value)


@pytest.mark.parametrize("module", [train_agent, train_encoder])
def test_a_run_of_another_command_is_not_resumed(module, monkeypatch, tmp_path):
    record = {"made_by": "eval_agent", "configuration": {"agents": ["random"]}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    monkeypatch.setattr(sys, "argv", [f"{module.COMMAND}.py", "--resume", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        module.main()
    expected = f"made by eval_agent.py (ave-eval), and {module.COMMAND}.py"
    assert expected in str(stop.value)
    assert "\n" not in str(stop.value)


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"configuration": [1]}', "null"])
def test_what_is_no_record_of_a_run_is_one_line(monkeypatch, tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    monkeypatch.setattr(sys, "argv", ["train_encoder.py", "--resume", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"run\.json: ") as stop:
        train_encoder.main()
    assert "\n" not in str(stop.value)


def test_options_of_a_part_are_pairs_of_names_and_yaml(parse, tmp_path):
    words = ["scale=2", "rate=1e-3", "name=a=b", "sizes=[1, 2]", "empty=", "on=true"]
    options = parse("--sensor-options", *words)
    values = {"scale": 2, "rate": 1e-3, "name": "a=b", "sizes": [1, 2], "empty": None, "on": True}
    assert options.sensor_options == values
    assert options.settings()["sensor_options"] == values
    assert read_pairs(write_pairs(values)) == values
    assert options.settings()["encoder_options"] is None  # as the environment has them
    path = tmp_path / "mine.yml"
    path.write_text("sensor_options: {scale: 2}\nsensor: my.package:Sensor\n")
    options = parse("--conf-file", path)
    assert (options.sensor, options.sensor_options) == ("my.package:Sensor", {"scale": 2})
    for words in (["scale"], ["=2"], ["scale=1", "scale=2"], ["scale=["]):
        with pytest.raises(ValueError, match=r"scale|=2"):
            read_pairs(words)


def test_what_two_commands_ask_about_an_environment_is_declared_once():
    shared = {field.name: field.type for field in dataclasses.fields(EnvironmentOptions)}
    own = shared.keys() - {"env", *REDUCING}  # those are options of the encoder's family
    reduced = {"reduction": "tome:r=2", "max_tokens": 24}
    swept = {name: (value,) for name, value in reduced.items()}
    for command, given in ((train_agent, reduced), (eval_agent, swept)):
        options = command.Options(**given)
        assert isinstance(options, EnvironmentOptions)
        assert own <= options.settings().keys()
        reducing = options.settings()["encoder_options"]
        assert reducing.items() >= given.items()  # several of a command that sweeps
    keywords = {field.name for field in dataclasses.fields(Configuration)}
    assert own <= keywords


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["train_agent.py", "--total-timestep", "5"], "--total-timesteps"),
        (["train_agent.py", "--ppo.gama", "5"], "--ppo.gamma"),
        (["eval_agent.py", "--stop-confidenc", "0.5"], "--stop-confidence"),
    ],
)
def test_an_unknown_option_is_answered_with_the_nearest_one(arguments, suggestion):
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert suggestion in done.stderr + done.stdout


def test_tracking_without_its_library_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['wandb'] = None\n"
        "import train_agent\n"
        f"sys.argv[1:] = ['--track', '--output', {str(tmp_path)!r}]\n"
        "train_agent.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "active-visual-exploration[track]" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())  # nothing was begun

"""Compares glimpse policies in the same scenes, one table, one picture: `ave-eval`."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Annotated, Any

import tyro

from agents.commands import run_folder
from agents.commands.encoder_sizes import with_encoder_sizes
from agents.commands.errors import one_line_errors, program_name
from agents.commands.options import (
    AGENT_LIST,
    DEFAULT_ENV,
    EnvironmentOptions,
    import_from_current_folder,
    is_left_open,
)
from agents.evaluation.config import EvaluationConfig
from agents.reports.provenance import RUN_FILE, describe_run
from ave_env.choices import Split
from encoders.registry import check_encoder_name
from encoders.support.files import write_json
from encoders.support.threads import set_threads
from encoders.support.validation import NotNegative

COMMAND = "eval_agent"


@dataclasses.dataclass(frozen=True)
class Options(EnvironmentOptions):
    """Lets glimpse policies explore every scene of a split once, and compares them.

    Prints a table (agents x glimpses, with 95 % intervals over scenes, and GFLOPs per episode). The
    run folder receives `report.html`, `summary.json`, `per_step.csv`, `per_scene.csv.gz`,
    `curves.png`, maps of where agents look and a few episodes as animations. What is left out of
    the options of the environment is as it was when the first of the trained agents was trained,
    else as the environment has it. What is named as package.module:name is looked for in the
    current folder too.

    Attributes:
        agents: Names or run folders of those who explore.
        split: "train", "val" or "test".
        scene_seed: Seed of procedural scenes; another one makes scenes never seen before.
        scenes: Most scenes, spread evenly over the split; None = the whole split.
        num_envs: Most scenes explored at a time.
        seed: Seeds of agents that use chance, e.g. `--seed 0 1 2`.
        stop_confidence: Also show what it costs and saves to end an episode once the most probable
            class is this probable, e.g. 0.9.
        allow_other_encoder: Let trained agents act with another encoder, or other options of it
            (TORE's K), than they were trained with, where their weights fit; tables say so.
        episodes: Episodes to draw per agent.
        output: Folder of run folders.
        progress: Show progress bars.
        smoke: A few scenes, to see that everything runs.
    """

    agents: Annotated[tuple[str, ...], AGENT_LIST] = ("random", "checkerboard", "ame")
    split: Split = "test"
    scene_seed: NotNegative = 0
    scenes: int | None = None
    num_envs: Annotated[int, tyro.conf.arg(aliases=["--n-envs"])] = 256
    seed: Annotated[tuple[int, ...], tyro.conf.arg(aliases=["--seeds"])] = (0,)
    stop_confidence: float | None = None
    allow_other_encoder: bool = False
    episodes: int = 4
    output: Path = Path("runs")
    progress: bool = True
    smoke: bool = False

    def settings(self) -> dict[str, Any]:
        """Keyword arguments of the environment; None leaves the id's own value."""
        return super().settings() | {"split": self.split, "seed": self.scene_seed}


# What an agent was trained with is not taken where what it belongs to is chosen anew.
_BELONGS_TO = {
    "data_root": "env",
    "list_file": "env",
    "seamless": "env",
    "sensor_options": "sensor",
}


def main() -> None:
    """Parses the command line and compares."""
    import_from_current_folder()
    options = tyro.cli(Options, prog=program_name())
    if options.smoke:
        options = dataclasses.replace(
            options, scenes=min(options.scenes or 16, 16), episodes=min(options.episodes, 1)
        )
    with one_line_errors({"num_scenes": "--scenes", "num_envs": "--num-envs", "seeds": "--seed"}):
        if options.encoder is not None:
            check_encoder_name(options.encoder)
        compare(with_encoder_sizes(complete(options)))


def compare(options: Options) -> Path:
    """Walks, writes the run folder, prints the table; returns the folder."""
    began = time.time()
    set_threads(options.threads)
    config = EvaluationConfig(
        num_scenes=options.scenes,
        num_envs=options.num_envs,
        seeds=options.seed,
        episodes=options.episodes,
        stop_confidence=options.stop_confidence,
        allow_other_encoder=options.allow_other_encoder,
        progress=options.progress,
    )
    from agents.evaluation.comparison import evaluate_agents
    from agents.reports.files import write_results
    from agents.reports.tables import print_comparison

    options.output.mkdir(parents=True, exist_ok=True)  # should that fail, then before the walk
    assert options.env is not None  # complete()
    comparison = evaluate_agents(options.agents, options.env, options.settings(), config)
    label = run_folder.label_of(options.env, options.data_root)
    folder = run_folder.create_run_folder(options.output, f"eval-{label}")
    with run_folder.noting_times(folder, began):
        write_json(folder / RUN_FILE, describe_run(options, made_by=COMMAND))
        write_results(comparison, folder)
    print_comparison(comparison)
    print(f"run folder: {folder}")
    return folder


def complete(options: Options) -> Options:
    """Takes what was left open from the first trained agent."""
    from agents.learning.record import read_agent, trained_options
    from agents.registry import trained_folder

    folder = next(filter(None, map(trained_folder, options.agents)), None)
    trained: dict[str, Any] = {}
    if folder is not None:
        description = read_agent(folder)
        encoder_options = trained_options(description)
        trained = {
            **description["environment"],
            "split_block": encoder_options.pop("split_block", None),
            "encoder_options": encoder_options,
        }
        trained["env"] = trained.pop("id", DEFAULT_ENV)
        for name, owner in _BELONGS_TO.items():
            if getattr(options, owner) not in (None, trained.get(owner)):
                trained.pop(name, None)
    names = {field.name for field in dataclasses.fields(EnvironmentOptions)}
    left_open = {
        name: value
        for name, value in {"env": DEFAULT_ENV, **trained}.items()
        if name in names and is_left_open(getattr(options, name)) and value is not None
    }
    return dataclasses.replace(options, **left_open)

#!/usr/bin/env python3
"""Compares glimpse policies in the same scenes: one table, one picture."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from agents.commands import run_folder
from agents.commands.errors import one_line_errors
from agents.evaluation.config import EvaluationConfig


@dataclasses.dataclass(frozen=True)
class Options:
    """Lets glimpse policies explore every scene of a split once, and compares them.

    Prints a table (agents x glimpses, with 95 % intervals over scenes, and GFLOPs per episode). The
    run folder receives `report.html`, `summary.json`, `per_step.csv`, `per_scene.csv.gz`,
    `curves.png`, maps of where agents look and a few episodes as animations.

    Attributes:
        agents: random, checkerboard, raster, center_out, ame, ame_normalised, oracle, ppo (trained
            on the synthetic panoramas with tore-nano), or run folders of trained agents.
        env: Environment id. This, task, data_root, encoder, split_block and the five after it,
            where None, are those that the first trained agent was trained with, else
            AVE-Synthetic-v0, classification and the environment's or encoder's own.
        split: "train", "val" or "test".
        data_root: Folder or HDF5 file of the scenes; None = the environment variable of the id.
        list_file: List of image paths that decides the splits of SUN360.
        scene_seed: Seed of procedural scenes; another one makes scenes never seen before.
        scenes: Most scenes, spread evenly over the split; None = the whole split.
        task: What is asked of the belief.
        encoder: Name or folder of the encoder.
        split_block: TORE's K.
        image_size: Height and width in pixels.
        patch_size: Side of a patch in pixels.
        glimpse_size: Side of a glimpse in patches.
        num_glimpses: Glimpses in an episode.
        wrap_azimuth: Whether a glimpse that leaves the right edge goes on at the left one.
        overlap: Whether patches seen again are encoded again ("keep") or not ("dedup").
        num_envs: Most scenes explored at a time.
        seed: Seeds of agents that use chance, e.g. `--seed 0 1 2`.
        device: Of the encoder: "auto", "cpu" or "cuda".
        precision: Of the encoder's matrix products; "auto" takes bfloat16 where it is native.
        stop_confidence: Also show what it costs and saves to end an episode once the most probable
            class is this probable, e.g. 0.9.
        episodes: Episodes to draw per agent.
        output: Folder of run folders.
        progress: Show progress bars.
        smoke: A few scenes, to see that everything runs.
    """

    agents: tuple[str, ...] = ("random", "checkerboard", "ame")
    env: str | None = None
    split: Literal["train", "val", "test"] = "test"
    data_root: Path | None = None
    list_file: Path | None = None
    scene_seed: int = 0
    scenes: int | None = None
    task: Literal["classification", "reconstruction"] | None = None
    encoder: str | None = None
    split_block: int | None = None
    image_size: tuple[int, int] | None = None
    patch_size: int | None = None
    glimpse_size: int | None = None
    num_glimpses: int | None = None
    wrap_azimuth: bool | None = None
    overlap: Literal["dedup", "keep"] = "dedup"
    num_envs: Annotated[int, tyro.conf.arg(aliases=["--n-envs"])] = 256
    seed: Annotated[tuple[int, ...], tyro.conf.arg(aliases=["--seeds"])] = (0,)
    device: str = "auto"
    precision: Literal["float32", "bfloat16", "auto"] = "auto"
    stop_confidence: float | None = None
    episodes: int = 4
    output: Path = Path("runs")
    progress: bool = True
    smoke: bool = False


_DEFAULT_ENV = "AVE-Synthetic-v0"
# Keyword arguments of the environment that have options of the same name.
_ENVIRONMENT = (
    "split",
    "data_root",
    "list_file",
    "task",
    "encoder",
    "split_block",
    "image_size",
    "patch_size",
    "glimpse_size",
    "num_glimpses",
    "wrap_azimuth",
    "overlap",
    "device",
    "precision",
)


def main() -> None:
    """Parses the command line and compares."""
    options = tyro.cli(Options)
    if options.smoke:
        options = dataclasses.replace(
            options, scenes=min(options.scenes or 16, 16), episodes=min(options.episodes, 1)
        )
    with one_line_errors("eval_agent.py"):
        compare(complete(options))


def compare(options: Options) -> Path:
    """Walks, writes the run folder, prints the table; returns the folder."""
    config = EvaluationConfig(
        num_scenes=options.scenes,
        num_envs=options.num_envs,
        seeds=options.seed,
        episodes=options.episodes,
        stop_confidence=options.stop_confidence,
        progress=options.progress,
    )
    from agents.evaluation.comparison import evaluate_agents
    from agents.reports.files import write_results
    from agents.reports.tables import print_comparison

    options.output.mkdir(parents=True, exist_ok=True)  # should that fail, then before the walk
    assert options.env is not None  # complete()
    comparison = evaluate_agents(options.agents, options.env, environment(options), config)
    folder = run_folder.create_run_folder(options.output, f"eval-{options.env}")
    run_folder.write_json(folder / run_folder.RUN_FILE, run_folder.describe_run(options))
    write_results(comparison, folder)
    print_comparison(comparison)
    print(f"run folder: {folder}")
    return folder


def environment(options: Options) -> dict[str, Any]:
    """Keyword arguments of the environment; None leaves the id's own value."""
    settings = {name: getattr(options, name) for name in _ENVIRONMENT}
    return settings | {"seed": options.scene_seed}


def complete(options: Options) -> Options:
    """Takes what was left open from the first trained agent."""
    from agents.learning.record import read_agent, trained_options
    from agents.registry import trained_folder

    folder = next(filter(None, map(trained_folder, options.agents)), None)
    trained: dict[str, Any] = {}
    if folder is not None:
        description = read_agent(folder)
        trained = {**description["environment"], **trained_options(description)}
        trained["env"] = trained.pop("id", _DEFAULT_ENV)
        if options.env not in (None, trained["env"]):
            trained.pop("data_root", None)  # of other scenes
    names = {"env", *_ENVIRONMENT}
    left_open = {
        name: value
        for name, value in {"env": _DEFAULT_ENV, **trained}.items()
        if name in names and getattr(options, name) is None and value is not None
    }
    return dataclasses.replace(options, **left_open)


if __name__ == "__main__":
    main()

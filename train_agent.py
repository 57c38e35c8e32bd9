#!/usr/bin/env python3
"""Trains a glimpse policy, and shows how it compares with others."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from agents import run_folder
from agents.evaluation_config import EvaluationConfig
from agents.ppo_config import PpoConfig
from encoders.training_config import TrainingConfig


@dataclasses.dataclass(frozen=True)
class Options:
    """Trains a glimpse policy and compares it with others on the test split.

    `--policy ppo` learns where to look and leaves the encoder as it is. The other policies have
    nothing to learn: the encoder is fine-tuned on the glimpses they take. The run folder receives
    the agent or the encoder, TensorBoard events, run.json and the comparison: tables, curves,
    animations. Ctrl-C saves; `--resume RUN` continues.

    Attributes:
        policy: Who chooses the glimpses.
        env: Environment id.
        data_root: Folder or HDF5 file of the scenes; None = the environment variable of the id.
        task: What is asked of the belief.
        encoder: Name or folder of the encoder.
        split_block: TORE's K; None = the encoder's default.
        image_size: Height and width of a scene in pixels; None = the id's own.
        patch_size: Side of a patch in pixels; None = the id's own.
        glimpse_size: Side of a glimpse in patches; None = the id's own.
        num_glimpses: Glimpses in an episode; None = the id's own.
        wrap_azimuth: Glimpses go on at the left edge of a panorama; None = the id's own.
        seed: Of everything random.
        total_timesteps: Environment steps to learn from (PPO).
        n_envs: Rows of the vector environment (PPO).
        device: Of the encoder: "auto", "cpu" or "cuda".
        precision: Of the encoder's matrix products; "auto" = bfloat16 where it is native.
        eval_freq: Environment steps between two scores on validation scenes (PPO).
        agents: Agents to compare with at the end.
        eval_scenes: Most scenes of that comparison; None = the whole test split.
        episodes: Episodes to draw per agent.
        output: Folder of run folders.
        resume: Continue this run folder; its own options count, but for --total-timesteps.
        smoke: A very short run, to see that everything works.
        progress: Show progress bars.
        tensorboard_log: Folder of TensorBoard events; None = the run folder.
        ppo: Hyper-parameters of PPO.
        finetuning: Hyper-parameters of fine-tuning the encoder.
    """

    policy: Literal[
        "ppo", "ame", "ame_normalised", "random", "checkerboard", "raster", "center_out"
    ] = "ppo"
    env: str = "AVE-Synthetic-v0"
    data_root: str | None = None
    task: Literal["classification", "reconstruction"] = "classification"
    encoder: str = "tore-nano"
    split_block: int | None = None
    image_size: tuple[int, int] | None = None
    patch_size: int | None = None
    glimpse_size: int | None = None
    num_glimpses: int | None = None
    wrap_azimuth: bool | None = None
    seed: int = 0
    total_timesteps: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 200_000
    n_envs: int = 256
    device: str = "auto"
    precision: Literal["float32", "auto"] = "auto"
    eval_freq: int = 50_000
    agents: tuple[str, ...] = ("random", "checkerboard", "ame")
    eval_scenes: int | None = None
    episodes: int = 2
    output: Path = Path("runs")
    resume: Path | None = None
    smoke: bool = False
    progress: bool = True
    tensorboard_log: Path | None = None
    ppo: PpoConfig = PpoConfig()
    finetuning: TrainingConfig = TrainingConfig(
        epochs=2, learning_rate=2e-4, curriculum=0.0, num_workers=0
    )


_ENVIRONMENT = (
    "data_root",
    "task",
    "encoder",
    "split_block",
    "image_size",
    "patch_size",
    "glimpse_size",
    "num_glimpses",
    "wrap_azimuth",
    "device",
    "precision",
)
_SMOKE: dict[str, Any] = {
    "total_timesteps": 512,
    "n_envs": 32,
    "eval_freq": 256,
    "eval_scenes": 32,
    "episodes": 1,
}
_SMOKE_FINETUNING: dict[str, Any] = {
    "epochs": 1,
    "epoch_size": 64,
    "batch_size": 32,
    "validation_size": 32,
}


def main() -> None:
    """Parses the command line, trains and compares."""
    options = tyro.cli(Options)
    if options.smoke:
        tiny = dataclasses.replace(options.finetuning, **_SMOKE_FINETUNING)
        options = dataclasses.replace(options, **_SMOKE, finetuning=tiny)
    from gymnasium.error import Error as GymnasiumError

    try:
        if options.resume is not None:
            options = _saved_options(options)
        train(options)
    except (ValueError, TypeError, OSError, GymnasiumError) as error:
        sys.exit(f"train_agent.py: error: {error}")


def train(options: Options) -> None:
    """Trains in a run folder, and compares when nobody interrupted."""
    from agents.training import finetune_encoder, learn_policy

    resume = options.resume is not None
    folder = options.resume or run_folder.create_run_folder(
        options.output, f"{options.policy}-{options.env}"
    )
    if not resume:
        record = run_folder.describe_run(options)
        run_folder.write_json(folder / run_folder.RUN_FILE, record)
    print(f"run folder: {folder}")
    settings = {name: getattr(options, name) for name in _ENVIRONMENT}
    log = options.tensorboard_log
    if options.policy == "ppo":
        finished = learn_policy(
            folder,
            options.env,
            settings,
            options.ppo,
            seed=options.seed,
            total_timesteps=options.total_timesteps,
            num_envs=options.n_envs,
            eval_freq=options.eval_freq,
            eval_scenes=options.eval_scenes or 512,
            resume=resume,
            progress=options.progress,
            tensorboard_log=log,
        )
        agents = [*options.agents, str(folder)]
    else:
        config = dataclasses.replace(
            options.finetuning, seed=options.seed, progress=options.progress
        )
        finished = finetune_encoder(
            folder,
            options.policy,
            options.env,
            settings,
            config,
            resume=resume,
            tensorboard_log=log,
        )
        settings["encoder"] = str(folder)
        agents = list(dict.fromkeys([*options.agents, options.policy]))
    if finished:
        compare(options, folder, settings, agents)
    else:
        print(f"interrupted and saved; continue with: python train_agent.py --resume {folder}")


def compare(options: Options, folder: Path, settings: dict[str, Any], agents: list[str]) -> None:
    """Lets all agents explore the test split, writes the results and prints the table."""
    from agents.comparison import evaluate_agents
    from agents.results import write_results
    from agents.tables import print_comparison

    config = EvaluationConfig(
        num_scenes=options.eval_scenes,
        seeds=(options.seed,),
        episodes=options.episodes,
        progress=options.progress,
    )
    comparison = evaluate_agents(agents, options.env, settings, config)
    write_results(comparison, folder)
    print_comparison(comparison)
    print(f"run folder: {folder}")


def _saved_options(options: Options) -> Options:
    """The options of the run folder to resume, for the number of steps asked for now."""
    folder = options.resume
    assert folder is not None
    path = folder / run_folder.RUN_FILE
    if not path.is_file():
        raise ValueError(f"{folder}: no {run_folder.RUN_FILE}, not a run folder")
    saved = json.loads(path.read_text("utf-8"))["configuration"]
    saved["ppo"] = PpoConfig(**saved["ppo"])
    saved["finetuning"] = TrainingConfig(**saved["finetuning"])
    saved["agents"] = tuple(saved["agents"])
    if saved["image_size"] is not None:
        saved["image_size"] = tuple(saved["image_size"])
    for name in ("output", "tensorboard_log"):
        saved[name] = None if saved[name] is None else Path(saved[name])
    steps = max(saved["total_timesteps"], options.total_timesteps)
    return Options(**{**saved, "resume": folder, "total_timesteps": steps})


if __name__ == "__main__":
    main()

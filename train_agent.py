#!/usr/bin/env python3
"""Trains a glimpse policy, and shows how it compares with others."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from agents.commands import run_folder
from agents.commands.errors import interrupt_when_terminated, one_line_errors
from agents.commands.yaml_options import environment_defaults, read_yaml, with_values
from agents.evaluation.config import EvaluationConfig
from agents.learning.ppo.config import PpoConfig
from encoders.support.ranges import check_ranges
from encoders.training.config import TrainingConfig


@dataclasses.dataclass(frozen=True)
class Options:
    """Trains a glimpse policy and compares it with others on the test split.

    `--policy ppo` learns where to look and leaves the encoder as it is. The other policies have
    nothing to learn: the encoder is fine-tuned on the glimpses they take. The run folder receives
    the agent or the encoder, TensorBoard events, run.json and the comparison: report.html, tables,
    curves, animations. Ctrl-C saves; `--resume RUN` continues. The defaults shown are those of the
    environment named with `--env`.

    Attributes:
        policy: Who chooses the glimpses.
        env: Environment id.
        conf_file: YAML file of options; None = the one that the package has for the environment.
            The command line wins.
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
        resume: Continue this run folder with its own options, or up to more --total-timesteps.
        smoke: A very short run, to see that everything works.
        progress: Show progress bars.
        tensorboard_log: Folder of TensorBoard events; None = the run folder.
        track: Send what TensorBoard shows to Weights & Biases as well.
        wandb_project_name: Its project.
        wandb_entity: Its user or team; None = the account's own.
        ppo: Hyper-parameters of PPO.
        finetuning: Hyper-parameters of fine-tuning the encoder.
    """

    policy: Literal[
        "ppo", "ame", "ame_normalised", "random", "checkerboard", "raster", "center_out"
    ] = "ppo"
    env: str = "AVE-Synthetic-v0"
    conf_file: Path | None = None
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
    track: bool = False
    wandb_project_name: str = "active-visual-exploration"
    wandb_entity: str | None = None
    ppo: PpoConfig = PpoConfig()
    finetuning: TrainingConfig = TrainingConfig(
        epochs=2, learning_rate=2e-4, curriculum=0.0, num_workers=0
    )

    def __post_init__(self) -> None:
        lowest = dict.fromkeys(("total_timesteps", "n_envs", "eval_freq", "eval_scenes"), 1)
        lowest |= {"seed": 0, "episodes": 0}
        check_ranges(self, {name: (least, math.inf) for name, least in lowest.items()})


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


# What a resumed run may do in another way than before.
_CHANGEABLE = {
    "total_timesteps",
    "device",
    "agents",
    "episodes",
    "resume",
    "progress",
    "track",
    "wandb_project_name",
    "wandb_entity",
}


def main() -> None:
    """Parses the command line, trains and compares."""
    with one_line_errors("train_agent.py"):
        defaults = _defaults(sys.argv[1:])
    options = tyro.cli(Options, default=defaults)
    if options.smoke and options.resume is None:
        tiny = dataclasses.replace(options.finetuning, **_SMOKE_FINETUNING)
        options = dataclasses.replace(options, **_SMOKE, finetuning=tiny)
    interrupt_when_terminated()
    with one_line_errors("train_agent.py"):
        if options.resume is not None:
            _check_resumed(options, defaults)
        train(options)


def train(options: Options) -> None:
    """Trains in a run folder, and compares when nobody interrupted."""
    if options.track:
        from agents.commands.tracking import require_tracking

        require_tracking()
    resume = options.resume is not None
    folder = options.resume or run_folder.create_run_folder(
        options.output, f"{options.policy}-{options.env}"
    )
    if not resume:
        record = run_folder.describe_run(options)
        run_folder.write_json(folder / run_folder.RUN_FILE, record)
    print(f"run folder: {folder}", flush=True)
    settings = {name: getattr(options, name) for name in _ENVIRONMENT}
    try:
        with _tracking(options, folder):
            finished = _learn(options, folder, settings)
    except BaseException:
        if not resume:
            run_folder.discard_unused(folder)
        raise
    if not finished:
        print(f"interrupted and saved; continue with: python train_agent.py --resume {folder}")
        return
    if options.policy == "ppo":
        agents = [*options.agents, str(folder)]
    else:
        settings["encoder"] = str(folder)
        agents = list(dict.fromkeys([*options.agents, options.policy]))
    compare(options, folder, settings, agents)


def _learn(options: Options, folder: Path, settings: dict[str, Any]) -> bool:
    """Trains the policy or the encoder; False when somebody interrupted."""
    from agents.learning.run import finetune_encoder, learn_policy

    resume = options.resume is not None
    if options.policy == "ppo":
        return learn_policy(
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
            tensorboard_log=options.tensorboard_log,
        )
    return finetune_encoder(
        folder,
        options.policy,
        options.env,
        settings,
        dataclasses.replace(options.finetuning, seed=options.seed, progress=options.progress),
        resume=resume,
        tensorboard_log=options.tensorboard_log,
    )


def _tracking(options: Options, folder: Path) -> contextlib.AbstractContextManager[None]:
    """Weights & Biases where it was asked for."""
    if not options.track:
        return contextlib.nullcontext()
    from agents.commands.tracking import tracked

    record = json.loads((folder / run_folder.RUN_FILE).read_text("utf-8"))
    return tracked(folder, record, project=options.wandb_project_name, entity=options.wandb_entity)


def compare(options: Options, folder: Path, settings: dict[str, Any], agents: list[str]) -> None:
    """Lets all agents explore the test split, writes the results and prints the table."""
    from agents.evaluation.comparison import evaluate_agents
    from agents.reports.files import write_results
    from agents.reports.tables import print_comparison

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


def _defaults(arguments: list[str]) -> Options:
    """What the options are that the command line leaves out.

    Those of the run to resume, or of a YAML file, which depends on the environment.

    Raises:
        ValueError: A file that cannot be used.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--env", default=Options.env)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--conf-file", "--conf_file", type=Path)
    try:
        given, _ = parser.parse_known_args(arguments)
    except argparse.ArgumentError:
        return Options()  # the real parser says what is wrong
    if given.resume is not None:
        path = given.resume / run_folder.RUN_FILE
        if not path.is_file():
            raise ValueError(f"{given.resume}: no {run_folder.RUN_FILE}, not a run folder")
        saved = json.loads(path.read_text("utf-8"))["configuration"]
        return with_values(Options(), {**saved, "resume": given.resume}, str(path))
    if given.conf_file is not None:
        return with_values(Options(), read_yaml(given.conf_file), str(given.conf_file))
    values, source = environment_defaults(given.env)
    return with_values(Options(), values, str(source))


def _check_resumed(options: Options, saved: Options) -> None:
    """Refuses to continue a run as another one than it was."""
    for field in dataclasses.fields(options):
        before, now = getattr(saved, field.name), getattr(options, field.name)
        if field.name not in _CHANGEABLE and before != now:
            raise ValueError(
                f"{options.resume}: {field.name} is {before} in this run and cannot become {now} "
                "when it is resumed; start a new one"
            )


if __name__ == "__main__":
    main()

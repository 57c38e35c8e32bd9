"""Trains a glimpse policy, and shows how it compares with others: `ave-train`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from agents.commands import run_folder
from agents.commands.errors import (
    called_as,
    interrupt_when_terminated,
    one_line_errors,
    program_name,
)
from agents.commands.options import (
    AGENT_LIST,
    DEFAULT_ENV,
    ENCODER,
    POLICY,
    TASK,
    EnvironmentOptions,
    Pairs,
    check_name,
    import_from_current_folder,
)
from agents.commands.resuming import given_options, refuse_changes, saved_options
from agents.commands.yaml_options import environment_defaults, read_yaml, with_values
from agents.evaluation.config import EvaluationConfig
from agents.learning.ppo.config import PpoConfig
from agents.registry import AGENTS, LEARNERS
from agents.reports.provenance import RUN_FILE, describe_run
from encoders.registry import check_encoder_name
from encoders.support.files import write_json
from encoders.support.validation import NotNegative, Positive
from encoders.training.config import TrainingConfig

if TYPE_CHECKING:
    from agents.learning.learner import Learner

COMMAND = "train_agent"


@dataclasses.dataclass(frozen=True)
class Options(EnvironmentOptions):
    """Trains a glimpse policy and compares it with others on the test split.

    `--policy ppo`, or another learner, learns where to look and leaves the encoder as it is. The
    other policies have nothing to learn: the encoder is fine-tuned on the glimpses they take. The
    run folder receives the agent or the encoder, TensorBoard events, run.json and the comparison:
    report.html, tables, curves, animations. Ctrl-C saves; `--resume RUN` continues. The defaults
    shown are those of the environment named with `--env`; None leaves an option of the environment
    as the id has it. What is named as package.module:name is looked for in the current folder too.

    Attributes:
        policy: Who chooses the glimpses.
        conf_file: YAML file of options; None = the one that the package has for the environment.
            The command line wins.
        seed: Of everything random.
        total_timesteps: Environment steps to learn from (learners).
        n_envs: Rows of the vector environment (learners).
        eval_freq: Environment steps between two scores on validation scenes (learners).
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
        learner_options: Hyper-parameters of another learner, e.g. `learning_rate=1e-3`.
        finetuning: Hyper-parameters of fine-tuning the encoder.
    """

    env: str = DEFAULT_ENV
    task: Annotated[str, TASK] = "classification"
    encoder: Annotated[str, ENCODER] = "tore-nano"
    policy: Annotated[str, POLICY] = "ppo"
    conf_file: Path | None = None
    seed: NotNegative = 0
    total_timesteps: Annotated[Positive, tyro.conf.arg(aliases=["-n"])] = 200_000
    n_envs: Positive = 256
    eval_freq: Positive = 50_000
    agents: Annotated[tuple[str, ...], AGENT_LIST] = ("random", "checkerboard", "ame")
    eval_scenes: Positive | None = None
    episodes: NotNegative = 2
    output: Path = Path("runs")
    resume: Path | None = None
    smoke: bool = False
    progress: bool = True
    tensorboard_log: Path | None = None
    track: bool = False
    wandb_project_name: str = "active-visual-exploration"
    wandb_entity: str | None = None
    ppo: PpoConfig = PpoConfig()
    learner_options: Pairs = dataclasses.field(default_factory=dict)
    finetuning: TrainingConfig = TrainingConfig(
        epochs=2, learning_rate=2e-4, curriculum=0.0, num_workers=0
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
_MAY_CHANGE_WHEN_RESUMED = {
    "total_timesteps",
    "device",
    "agents",
    "episodes",
    "progress",
    "track",
    "wandb_project_name",
    "wandb_entity",
}


def main() -> None:
    """Parses the command line, trains and compares."""
    import_from_current_folder()
    with one_line_errors():
        defaults = _defaults(sys.argv[1:])
    options = tyro.cli(Options, default=defaults, prog=program_name())
    if options.smoke and options.resume is None:
        tiny = dataclasses.replace(options.finetuning, **_SMOKE_FINETUNING)
        options = dataclasses.replace(options, **_SMOKE, finetuning=tiny)
    interrupt_when_terminated()
    with one_line_errors():
        if options.resume is not None:
            refuse_changes(options, defaults, _MAY_CHANGE_WHEN_RESUMED)
        check_encoder_name(options.encoder)
        train(options)


def train(options: Options) -> None:
    """Trains in a run folder, and compares when nobody interrupted.

    Raises:
        ValueError: Options that nothing is known by, or that do not fit each other.
    """
    if options.track:
        from agents.commands.tracking import require_tracking

        require_tracking()
    work = _work(options)
    resume = options.resume is not None
    label = run_folder.label_of(options.env, options.data_root)
    folder = options.resume or run_folder.create_run_folder(
        options.output, f"{options.policy.rpartition(':')[2]}-{label}"
    )
    if not resume:
        write_json(folder / RUN_FILE, describe_run(options, made_by=COMMAND))
    print(f"run folder: {folder}", flush=True)
    try:
        with run_folder.noting_times(folder):
            with _tracking(options, folder):
                finished = work(folder)
            if finished:
                compare(options, folder)
            else:
                print(f"interrupted and saved; continue with: {called_as()} --resume {folder}")
    except BaseException:
        if not resume:
            run_folder.discard_unused(folder)
        raise


def _work(options: Options) -> Callable[[Path], bool]:
    """What is to be done in the run folder; it returns False when somebody interrupted.

    Every name is looked up here, so that none is found wrong after hours of training.
    """
    from agents.learning.run import finetune_encoder, learn_policy
    from agents.registry import agent_class

    for name in options.agents:
        agent_class(name)
    resume = options.resume is not None
    if (learner := _learner(options.policy)) is not None:
        return functools.partial(
            learn_policy,
            env_id=options.env,
            settings=options.settings(),
            config=_hyper_parameters(learner, options),
            learner=options.policy,
            seed=options.seed,
            total_timesteps=options.total_timesteps,
            num_envs=options.n_envs,
            eval_freq=options.eval_freq,
            eval_scenes=options.eval_scenes or 512,
            resume=resume,
            progress=options.progress,
            tensorboard_log=options.tensorboard_log,
        )
    if agent_class(options.policy).privileged:
        raise ValueError(
            f"policy={options.policy!r} is told the answer, and an encoder trained on its glimpses "
            "would find it in where they are; choose another policy"
        )
    return functools.partial(
        finetune_encoder,
        policy=options.policy,
        env_id=options.env,
        settings=options.settings(),
        config=dataclasses.replace(
            options.finetuning, seed=options.seed, progress=options.progress
        ),
        resume=resume,
        tensorboard_log=options.tensorboard_log,
    )


def _learner(policy: str) -> type[Learner] | None:
    """The learner that a name stands for; None for an agent that has nothing to learn."""
    from agents.learning.learner import Learner

    check_name("policy", policy, LEARNERS, AGENTS)
    if policy in AGENTS:
        return None
    part: Any = LEARNERS.resolve(policy)
    return part if isinstance(part, type) and issubclass(part, Learner) else None


def _hyper_parameters(learner: type[Learner], options: Options) -> Any:
    """The learner's own hyper-parameters, a `config_class`."""
    if learner.config_class is PpoConfig and not options.learner_options:
        return options.ppo
    return with_values(learner.config_class(), options.learner_options, "--learner-options")


def _tracking(options: Options, folder: Path) -> contextlib.AbstractContextManager[None]:
    """Weights & Biases where it was asked for."""
    if not options.track:
        return contextlib.nullcontext()
    from agents.commands.tracking import tracked

    record = json.loads((folder / RUN_FILE).read_text("utf-8"))
    return tracked(folder, record, project=options.wandb_project_name, entity=options.wandb_entity)


def compare(options: Options, folder: Path) -> None:
    """Lets all agents explore the test split, writes the results and prints the table.

    Args:
        options: Whose `agents` meet what was trained.
        folder: Run folder of a trained agent, or of an encoder that was trained on the glimpses of
            `options.policy`: that encoder is then everybody's.
    """
    from agents.evaluation.comparison import evaluate_agents
    from agents.registry import trained_folder
    from agents.reports.files import write_results
    from agents.reports.tables import print_comparison

    settings = options.settings()
    if trained_folder(folder) is not None:
        agents = [*options.agents, str(folder)]
    else:
        settings["encoder"] = str(folder)
        agents = list(dict.fromkeys([*options.agents, options.policy]))
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
    given = given_options(arguments, "env", "resume", "conf-file")
    if given is None:
        return Options()
    if given.resume is not None:
        return saved_options(Path(given.resume), Options(), COMMAND)
    if given.conf_file is not None:
        return with_values(Options(), read_yaml(Path(given.conf_file)), given.conf_file)
    values, source = environment_defaults(given.env or Options.env)
    return with_values(Options(), values, str(source))

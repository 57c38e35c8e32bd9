"""Options of `train_agent.py`: where they come from, and which go together; imports no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from agents.commands.options import (
    AGENT_LIST,
    DEFAULT_ENV,
    ENCODER,
    POLICY,
    TASK,
    EnvironmentOptions,
    Pairs,
    check_name,
)
from agents.commands.resuming import given_options, saved_options
from agents.commands.yaml_options import environment_defaults, read_yaml, with_values
from agents.learning.finetuning_config import FineTuningConfig
from agents.learning.guided.config import GuidedConfig
from agents.learning.ppo.config import PpoConfig
from agents.registry import AGENTS, LEARNERS
from ave_env.registration import configure
from encoders.support.validation import NotNegative, Positive

if TYPE_CHECKING:
    from agents.learning.learner import Learner

COMMAND = "train_agent"
STILL_EPISODES = 2  # in the report, where nobody said how many


@dataclasses.dataclass(frozen=True)
class Options(EnvironmentOptions):
    """Trains a glimpse policy and compares it with others on the test split.

    `--policy ppo`, which begins guided by a teacher that sees the whole scene, `--policy
    guided`, which is nothing but that, or another learner learns where to look and leaves the
    encoder as it is. The other policies have nothing to learn: the encoder is fine-tuned on the
    glimpses they take. The run folder receives the agent or the encoder, TensorBoard events,
    run.json and the comparison: report.html, tables, curves, with --episodes animations.
    Several seeds make a folder of such runs and one table. Ctrl-C saves; `--resume RUN`
    continues. The defaults shown are those of the environment named with `--env`; None leaves
    an option of the environment as the id or the encoder has it. What would do nothing is
    refused. What is named as package.module:name is looked for in the current folder too.

    Attributes:
        policy: Who chooses the glimpses.
        conf_file: YAML file of options; None = the one that the package has for the environment.
            The command line wins.
        seed: Of everything random; several, e.g. `--seed 0 1 2`, for a run with each.
        total_timesteps: Environment steps to learn from (learners).
        n_envs: Rows of the vector environment (learners).
        eval_freq: Environment steps between two scores on validation scenes (learners).
        agents: Agents to compare with at the end.
        eval_scenes: Most scenes of that comparison; None = the whole test split.
        episodes: Episodes per agent to show in the report and to write as animations too
            (`episodes/*.gif`); None = 2 in the report and no animations, 0 = none at all.
        output: Folder of run folders.
        init_from: Start from the weights of this trained agent: a run folder, a shipped agent, or
            user/name on the Hugging Face Hub (learners).
        resume: Continue this run folder with its own options, or up to more --total-timesteps.
        smoke: A very short run, to see that everything works; what is given beside it wins.
        progress: Show progress bars.
        tensorboard_log: Folder of TensorBoard events; None = the run folder.
        track: Send what TensorBoard shows to Weights & Biases as well.
        wandb_project_name: Its project.
        wandb_entity: Its user or team; None = the account's own.
        ppo: Hyper-parameters of PPO (--policy ppo).
        guided: Hyper-parameters of guided learning (--policy guided).
        learner_options: Hyper-parameters of any learner by name, e.g. `learning_rate=1e-3`.
        finetuning: Hyper-parameters of fine-tuning the encoder.

    Raises:
        TypeError: A value of another type.
        ValueError: A value out of range, a name that nothing is known by, or a seed given twice.
    """

    env: str = DEFAULT_ENV
    task: Annotated[str, TASK] = "classification"
    encoder: Annotated[str, ENCODER] = "tore-nano"
    policy: Annotated[str, POLICY] = "ppo"
    conf_file: Path | None = None
    seed: Annotated[
        NotNegative | tuple[NotNegative, ...], tyro.conf.arg(metavar="INT [INT ...]")
    ] = 0
    total_timesteps: Annotated[Positive, tyro.conf.arg(aliases=["-n"])] = 60_000
    n_envs: Positive = 256
    eval_freq: Positive = 100_000
    agents: Annotated[tuple[str, ...], AGENT_LIST] = ("random", "checkerboard", "ame")
    eval_scenes: Positive | None = None
    episodes: NotNegative | None = None
    output: Path = Path("runs")
    init_from: str | None = None
    resume: Path | None = None
    smoke: bool = False
    progress: bool = True
    tensorboard_log: Path | None = None
    track: bool = False
    wandb_project_name: str = "active-visual-exploration"
    wandb_entity: str | None = None
    ppo: PpoConfig = PpoConfig()
    guided: GuidedConfig = GuidedConfig()
    learner_options: Pairs = dataclasses.field(default_factory=dict)
    finetuning: FineTuningConfig = FineTuningConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.seed, tuple) and len(set(self.seed)) != max(len(self.seed), 1):
            raise ValueError(f"seed={self.seed}; expected at least one, and each only once")


# Fields with hyper-parameters of one learner each.
_OWN_OPTIONS = ("ppo", "guided")

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


def defaults_of(arguments: list[str]) -> Options:
    """What the options are that the command line leaves out.

    Those of the run to resume, or of a YAML file, which depends on the environment.

    Raises:
        ValueError: A file that cannot be used.
    """
    given = given_options(arguments, "env", "resume", "conf-file", flags=("smoke",))
    if given is None:
        return Options()
    if given.resume is not None:
        return saved_options(Path(given.resume), Options(), COMMAND)
    if given.conf_file is not None:
        values, source = read_yaml(Path(given.conf_file)), given.conf_file
    else:
        values, place = environment_defaults(given.env or Options.env)
        source = str(place)
    if given.smoke:  # what the command line says beside it wins, and what the file says does not
        return _tiny(with_values(Options(), values, source))
    return with_values(_tiny(Options()) if values.get("smoke") else Options(), values, source)


def _tiny(options: Options) -> Options:
    """The options of a very short run."""
    finetuning = dataclasses.replace(options.finetuning, **_SMOKE_FINETUNING)
    return dataclasses.replace(options, **_SMOKE, finetuning=finetuning)


def refuse_idle(options: Options, given: Mapping[str, str]) -> None:
    """Refuses options that were typed and would do nothing, beside the others.

    Args:
        options: What the command line comes to.
        given: What was typed, by field.

    Raises:
        ValueError: Names the first of them, and why it would do nothing.
    """
    learner = learner_named(options.policy)
    idle: dict[str, str] = {}
    if learner is None:
        why = (
            f"--policy {options.policy} learns nothing, and fine-tunes the encoder (--finetuning.*)"
        )
        names = (*_OWN_OPTIONS, "learner_options", "total_timesteps", "n_envs", "eval_freq")
        idle |= dict.fromkeys(names, why)
        idle["init_from"] = f"{why}; start from another encoder with --encoder"
    else:
        idle["finetuning"] = f"--policy {options.policy} leaves the encoder as it is"
        own = own_options(learner)
        place = f"--{own}.*" if own else "--learner-options"
        why = f"--policy {options.policy} has hyper-parameters of its own ({place})"
        idle |= {name: why for name in _OWN_OPTIONS if name != own}
    if not options.track:
        why = "nothing is sent to Weights & Biases without --track"
        idle |= {"wandb_project_name": why, "wandb_entity": why}
    if "ppo.batch_size" in given and learner is not None and learner.config_class is PpoConfig:
        _refuse_large_batches(options)
    for name, typed in given.items():
        if (reason := idle.get(name.partition(".")[0])) is not None:
            raise ValueError(f"{typed} does nothing: {reason}; leave it out")


def _refuse_large_batches(options: Options) -> None:
    """Refuses batches that are larger than what there is to learn from at a time."""
    num_glimpses = configure(options.env, **options.settings()).num_glimpses
    rollout = options.n_envs * num_glimpses
    if options.ppo.batch_size > rollout:
        raise ValueError(
            f"--ppo.batch-size {options.ppo.batch_size}: more than the {rollout} steps of a "
            f"rollout (--n-envs {options.n_envs} x {num_glimpses} glimpses); choose at most "
            f"{rollout}, or more rows"
        )


def own_options(learner: type[Learner]) -> str | None:
    """The field of `Options` that holds a learner's hyper-parameters; None where there is none."""
    for name in _OWN_OPTIONS:
        if learner.config_class is type(getattr(Options, name)):
            return name
    return None


def learner_named(policy: str) -> type[Learner] | None:
    """The learner that a name stands for; None for an agent that has nothing to learn."""
    from agents.learning.learner import Learner

    check_name("policy", policy, LEARNERS, AGENTS)
    if policy in AGENTS:
        return None
    part: Any = LEARNERS.resolve(policy)
    return part if isinstance(part, type) and issubclass(part, Learner) else None

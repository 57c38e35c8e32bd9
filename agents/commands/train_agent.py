"""Trains a glimpse policy, and shows how it compares with others: `ave-train`."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from agents.commands import run_folder, sweep
from agents.commands.encoder_sizes import with_encoder_sizes
from agents.commands.errors import (
    called_as,
    interrupt_when_terminated,
    one_line_errors,
    program_name,
)
from agents.commands.opponents import able
from agents.commands.options import import_from_current_folder, options_given
from agents.commands.resuming import refuse_changes
from agents.commands.train_options import (
    COMMAND,
    STILL_EPISODES,
    Options,
    defaults_of,
    learner_named,
    own_options,
    refuse_idle,
)
from agents.commands.yaml_options import with_values
from agents.evaluation.config import EvaluationConfig
from agents.learning.record import AGENT_FILE, read_agent
from agents.reports.provenance import RUN_FILE, describe_run
from encoders.registry import check_encoder_name
from encoders.support.files import write_json
from encoders.support.threads import set_threads

if TYPE_CHECKING:
    from agents.evaluation.comparison import Comparison
    from agents.learning.learner import Learner

_MAY_CHANGE_WHEN_RESUMED = {
    "total_timesteps",
    "device",
    "threads",
    "cache_bytes",
    "agents",
    "episodes",
    "progress",
    "track",
    "wandb_project_name",
    "wandb_entity",
}
# What parts of the program call otherwise than the options they come from.
_AS_TYPED = {"num_scenes": "--eval-scenes", "num_envs": "--n-envs", "seeds": "--seed"}


def main() -> None:
    """Parses the command line, trains and compares."""
    import_from_current_folder()
    with one_line_errors():
        defaults = defaults_of(sys.argv[1:])
    options = tyro.cli(Options, default=defaults, prog=program_name())
    interrupt_when_terminated()
    with one_line_errors(_AS_TYPED):
        if options.resume is not None:
            refuse_changes(options, defaults, _MAY_CHANGE_WHEN_RESUMED)
        refuse_idle(options, options_given(sys.argv[1:], n="total_timesteps"))
        check_encoder_name(options.encoder)
        if options.resume is None:
            options = with_encoder_sizes(options)
        train(options)


def train(options: Options) -> None:
    """Trains in a run folder, and compares when nobody interrupted; for several seeds in several.

    Raises:
        ValueError: Options that nothing is known by, or that do not fit each other.
    """
    set_threads(options.threads)
    if options.track:
        from agents.commands.tracking import require_tracking

        require_tracking()
    if options.resume is not None:
        _refuse_finished(options.resume, options)
    if isinstance(options.seed, int):
        work = _work(options)
        folder = options.resume or run_folder.create_run_folder(options.output, _stem(options))
        if (comparison := _train_in(folder, options, work)) is not None:
            from agents.reports.tables import print_comparison

            print_comparison(comparison)
            print(f"run folder: {folder}")
        return
    _work(dataclasses.replace(options, seed=options.seed[0]))  # every mistake shows at once
    name = f"{_stem(options)}-sweep"
    folder = options.resume or run_folder.create_run_folder(options.output, name)
    with run_folder.discarded_if_unused(folder, resumed=options.resume is not None):
        _train_sweep(folder, options)


def _train_sweep(folder: Path, options: Options) -> None:
    """Trains with one seed after the other, and shows what came out of all of them.

    What was finished before is left as it is.
    """
    assert isinstance(options.seed, tuple)
    if options.resume is None:
        write_json(folder / RUN_FILE, describe_run(options, made_by=COMMAND))
    print(f"sweep folder: {folder}", flush=True)
    runs = sweep.folders(folder, options.seed)
    sweep.discard_gathered(folder)
    for seed, run in zip(options.seed, runs, strict=True):
        if is_finished(run, options):
            continue
        begun = (run / RUN_FILE).is_file()
        log = options.tensorboard_log
        one = dataclasses.replace(
            options,
            seed=seed,
            resume=run if begun else None,
            tensorboard_log=None if log is None else log / run.name,
        )
        run.mkdir(exist_ok=True)
        if _train_in(run, one, _work(one), part_of=folder) is None:
            return
    sweep.gather(folder, runs)
    print(f"sweep folder: {folder}")


def _train_in(
    folder: Path, options: Options, work: Callable[[Path], bool], part_of: Path | None = None
) -> Comparison | None:
    """One run: trains in its folder, and compares.

    Args:
        folder: The run folder.
        options: Of the run, with one seed.
        work: What trains.
        part_of: The sweep that the run belongs to.

    Returns:
        None when somebody interrupted.
    """
    resume = options.resume is not None
    print(f"run folder: {folder}", flush=True)
    with run_folder.discarded_if_unused(folder, resumed=resume):
        if not resume:
            write_json(folder / RUN_FILE, describe_run(options, made_by=COMMAND))
        with run_folder.noting_times(folder) as noted:
            noted["complete"] = False
            with _tracking(options, folder, part_of):
                finished = work(folder)
            if not finished:
                continued = f"{called_as()} --resume {part_of or folder}"
                print(f"interrupted and saved; continue with: {continued}")
                return None
            comparison = compare(options, folder)
            noted["complete"] = True
    return comparison


def is_finished(folder: Path, options: Options) -> bool:
    """Whether a run has done all that is asked of it."""
    if not run_folder.is_complete(folder):
        return False
    if learner_named(options.policy) is None:
        return True
    return (folder / AGENT_FILE).is_file() and _reached(folder) >= options.total_timesteps


def _refuse_finished(folder: Path, options: Options) -> None:
    """Refuses to resume a run (or all runs of a sweep) of which no more is asked than it has done.

    Raises:
        ValueError: What it has done, and what can be done with it.
    """
    runs = sweep.folders(folder, options.seed)
    if not all(is_finished(run, options) or _is_asked_for_less(run, options) for run in runs):
        return
    if isinstance(options.seed, tuple) and not sweep.is_gathered(folder):
        return
    if learner_named(options.policy) is None:
        raise ValueError(
            f"{folder}: finished, and there is nothing to resume; use it with --encoder {runs[0]}"
        )
    agents = " ".join(map(str, runs))
    raise ValueError(
        f"{folder}: has learnt from {min(map(_reached, runs))} environment steps already, and "
        f"--total-timesteps {options.total_timesteps} asks for no more; pass a larger number, or "
        f"compare it with other agents: eval_agent.py --agents {agents}"
    )


def _is_asked_for_less(folder: Path, options: Options) -> bool:
    """Whether an interrupted run shall end where it has been already, before what it was begun for.

    One that was interrupted after its last step is asked for as much as before: the comparison.
    """
    if not (folder / AGENT_FILE).is_file():
        return False
    reached = _reached(folder)
    return reached > options.total_timesteps and reached < _begun_for(folder)


def _reached(folder: Path) -> int:
    """Environment steps that a run has learnt from; as many as it was begun for where not noted."""
    return int(read_agent(folder).get("timesteps", _begun_for(folder)))


def _begun_for(folder: Path) -> int:
    record = json.loads((folder / RUN_FILE).read_text("utf-8"))
    return int(record["configuration"]["total_timesteps"])


def _stem(options: Options) -> str:
    label = run_folder.label_of(options.env, options.data_root)
    return f"{options.policy.rpartition(':')[2]}-{label}"


def _work(options: Options) -> Callable[[Path], bool]:
    """What is to be done in the run folder; it returns False when somebody interrupted.

    Every name is looked up here, so that none is found wrong after hours of training.
    """
    from agents.hub import at_hand, fetch_agent
    from agents.learning.run import finetune_encoder, learn_policy
    from agents.registry import agent_class

    for name in options.agents:
        agent_class(at_hand(name))
    if options.agents != Options.agents:
        _opponents(options)
    assert isinstance(options.seed, int)  # a sweep asks for one run at a time
    resume = options.resume is not None
    if (learner := learner_named(options.policy)) is not None:
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
            init_from=None if options.init_from is None else fetch_agent(options.init_from),
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
        config=options.finetuning.training(
            seed=options.seed, precision=options.precision, progress=options.progress
        ),
        resume=resume,
        tensorboard_log=options.tensorboard_log,
    )


def _opponents(options: Options) -> tuple[str, ...]:
    """Who takes part in the comparison at the end beside what was trained."""
    asked_for = options.agents != Options.agents
    return able(options.agents, options.settings(), asked_for=asked_for)


def _hyper_parameters(learner: type[Learner], options: Options) -> Any:
    """The learner's own hyper-parameters, a `config_class`."""
    name = own_options(learner)
    own = learner.config_class() if name is None else getattr(options, name)
    return with_values(own, options.learner_options, "--learner-options")


def _tracking(
    options: Options, folder: Path, part_of: Path | None
) -> contextlib.AbstractContextManager[None]:
    """Weights & Biases where it was asked for."""
    if not options.track:
        return contextlib.nullcontext()
    from agents.commands.tracking import tracked

    record = json.loads((folder / RUN_FILE).read_text("utf-8"))
    name = folder.name if part_of is None else f"{part_of.name}-{folder.name}"
    return tracked(
        folder, record, name=name, project=options.wandb_project_name, entity=options.wandb_entity
    )


def compare(options: Options, folder: Path) -> Comparison:
    """Lets all agents explore the test split, and writes the results.

    Args:
        options: Whose `agents` meet what was trained.
        folder: Run folder of a trained agent, or of an encoder that was trained on the glimpses of
            `options.policy`: that encoder is then everybody's.
    """
    from agents.evaluation.comparison import evaluate_agents
    from agents.registry import trained_folder
    from agents.reports.files import write_results

    assert isinstance(options.seed, int)
    settings = options.settings()
    opponents = _opponents(options)
    if trained_folder(folder) is not None:
        agents = [*opponents, str(folder)]
    else:
        settings["encoder"] = str(folder)
        agents = list(dict.fromkeys([*opponents, options.policy]))
    config = EvaluationConfig(
        num_scenes=options.eval_scenes,
        seeds=(options.seed,),
        episodes=STILL_EPISODES if options.episodes is None else options.episodes,
        progress=options.progress,
    )
    comparison = evaluate_agents(agents, options.env, settings, config)
    write_results(comparison, folder, animations=options.episodes is not None)
    return comparison

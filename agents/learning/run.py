"""Training runs: a learner in an environment, and encoders on an agent's glimpses."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.evaluation.walk import evaluate
from agents.learning.checkpoints import Checkpoints
from agents.learning.finetuning import PolicyGlimpses
from agents.learning.history import Validation, ValidationHistory
from agents.learning.learner import Learner
from agents.learning.record import describe_environment
from agents.registry import LEARNERS
from ave_env.parts import Parts
from ave_env.registration import configure
from ave_env.vector import ActiveExplorationVectorEnv
from encoders.training.config import TrainingConfig
from encoders.training.trainer import EncoderTrainer

_MOST_VALIDATION_ROWS = 256


def learn_policy(
    folder: Path,
    env_id: str,
    settings: Mapping[str, Any],
    config: Any,
    *,
    learner: str = "ppo",
    seed: int = 0,
    total_timesteps: int,
    num_envs: int = 256,
    eval_freq: int = 100_000,
    eval_scenes: int = 512,
    init_from: Path | None = None,
    resume: bool = False,
    progress: bool = True,
    tensorboard_log: Path | None = None,
) -> bool:
    """Trains an agent on the train split and scores it on the validation split.

    Args:
        folder: Run folder; receives the agent, its best version in `best/`, the validations in
            `evaluations.npz`, and a training state.
        env_id: Environment id.
        settings: Keyword arguments of the environment but `split` and `observe`; None leaves the
            id's own value.
        config: Hyper-parameters, of the learner's own class.
        learner: Name of the learner, or its place as `package.module:name`.
        seed: Of everything random.
        total_timesteps: Environment steps of the whole run.
        num_envs: Rows.
        eval_freq: Environment steps between two validations.
        eval_scenes: Scenes of a validation.
        init_from: Folder of a trained agent whose weights the run begins with; None = random ones.
        resume: Continue from the folder's training state, if there is one yet.
        progress: Show a progress bar.
        tensorboard_log: Folder of TensorBoard events; None = inside the run folder.

    Returns:
        False when Ctrl-C ended it early; what was learnt is saved all the same.

    Raises:
        ValueError: Settings that do not fit each other, an encoder without a decoder, or one whose
            class head was not trained for the classes of the scenes; or an agent to begin with that
            does not fit.
    """
    kind = LEARNERS.resolve(learner)
    train, validation = _environments(kind, env_id, settings, num_envs, eval_scenes)
    log = tensorboard_log or folder / "tensorboard"
    student = kind(
        train,
        config,
        seed=seed,
        tensorboard_log=str(log),
        made_with=describe_environment(train.configuration, train.scenes.name, env_id),
    )
    history = ValidationHistory()
    resumed = False
    if resume:
        # A run that was killed before its first stretch has no state yet, and begins.
        with contextlib.suppress(FileNotFoundError):
            student.load_state(folder)
            history = ValidationHistory.load(folder, student.num_timesteps)
            resumed = True
    if init_from is not None and not resumed:
        student.init_from(init_from)

    def validate() -> Validation:
        agent = kind.load(folder, validation)
        return Validation.of(evaluate(agent, validation, num_scenes=eval_scenes, progress=False))

    if (plan := student.plan(total_timesteps)) is not None:
        print(plan, flush=True)
    checkpoints = Checkpoints(student, folder, validate, eval_freq, history)
    student.save(folder)
    try:
        student.learn(total_timesteps, checkpoints, progress)
        checkpoints.check()
    except KeyboardInterrupt:
        student.save(folder)
        student.save_state(folder)
        return False
    return True


def finetune_encoder(
    folder: Path,
    policy: str,
    env_id: str,
    settings: Mapping[str, Any],
    config: TrainingConfig,
    *,
    resume: bool = False,
    tensorboard_log: Path | None = None,
) -> bool:
    """Trains an encoder on the glimpses of a policy without parameters.

    Args:
        folder: Run folder; receives the encoder and a training state.
        policy: Name of the agent.
        env_id: Environment id.
        settings: As for `learn_policy`.
        config: Hyper-parameters; size and most number of glimpses are the environment's.
        resume: Continue from the folder's training state.
        tensorboard_log: Folder of TensorBoard events; None = the run folder.

    Returns:
        False when Ctrl-C ended it early; what was learnt is saved all the same.
    """
    train, validation = (
        configure(env_id, **{**settings, "split": split}) for split in ("train", "val")
    )
    parts = Parts.open(train, classify=True)
    encoder: Any = parts.encoder
    if encoder is None:
        raise ValueError("training needs an encoder; encoder is None")
    encoder.config = dataclasses.replace(encoder.config, name=f"{encoder.config.name}-{policy}")
    trainer = EncoderTrainer(
        encoder,
        parts.scenes,
        validation.open_scenes(),
        dataclasses.replace(
            config, glimpse_size=train.glimpse_size, max_glimpses=train.num_glimpses
        ),
        folder,
        glimpses=PolicyGlimpses(policy, train, parts),
        class_names=tuple(parts.scenes.class_names),
        device=train.device,
        tensorboard_folder=tensorboard_log,
    )
    if resume:
        trainer.resume()
    trainer.run()
    return trainer.step >= trainer.total_steps


def _environments(
    kind: type[Learner],
    env_id: str,
    settings: Mapping[str, Any],
    num_envs: int,
    eval_scenes: int,
) -> tuple[ActiveExplorationVectorEnv, ActiveExplorationVectorEnv]:
    """Where a learner learns and where it is judged; one encoder serves both."""
    observe = kind.agent_class.required
    train, validation = (
        configure(env_id, **{**settings, "split": split, "observe": observe})
        for split in ("train", "val")
    )
    parts = Parts.open(train, classify=True)
    if parts.encoder is None:
        raise ValueError("training needs an encoder; encoder is None")
    env = ActiveExplorationVectorEnv(
        num_envs, configuration=train, parts=parts, autoreset_mode="SAME_STEP"
    )
    if not env.scores_mean_something:
        raise ValueError(
            f"the class head of encoder {parts.encoder.config.name!r} was not trained for the "
            f"{len(env.scenes.class_names)} classes of the {env.scenes.name!r} scenes, so that its "
            "rewards would mean nothing; train it first (train_encoder.py, or --policy random), or "
            "pass --task reconstruction"
        )
    shared = dataclasses.replace(parts, scenes=validation.open_scenes())
    rows = min(eval_scenes, _MOST_VALIDATION_ROWS)
    judged = ActiveExplorationVectorEnv(
        rows, configuration=validation, parts=shared, autoreset_mode="DISABLED"
    )
    return env, judged

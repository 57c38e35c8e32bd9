"""Agents that look through a trained encoder, and one that learns to."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from agents.evaluation.comparison import evaluate_agents
from agents.evaluation.config import EvaluationConfig
from agents.learning.run import learn_policy
from agents.registry import LEARNERS, agent_class
from encoders.protocol import OUTPUTS
from encoders.support.files import write_json
from observation.settings import Settings


def agents_of(encoder: Any, agents: list[str]) -> list[str]:
    """The agents that see what they look at through an encoder."""
    own = {*OUTPUTS, "regions"}
    return [
        name
        for name in agents
        if all(part in encoder.outputs for part in agent_class(name).required if part in own)
    ]


def learn(settings: Settings, encoder: Path, seed: int, folder: Path) -> None:
    """Trains an agent that looks through an encoder, or goes on with one."""
    done = folder / "learning.json"
    if done.is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.thread_time()
    finished = learn_policy(
        folder,
        settings.env,
        {**settings.environment, "encoder": str(encoder)},
        LEARNERS.resolve(settings.learner).config_class(),
        learner=settings.learner,
        seed=seed,
        total_timesteps=settings.agent_steps,
        num_envs=settings.agent_rows,
        eval_freq=max(settings.agent_steps, 1),
        eval_scenes=min(settings.scenes, 256),
        resume=True,
        progress=False,
    )
    if not finished:
        raise KeyboardInterrupt
    write_json(done, {"seconds": time.thread_time() - begun})


def explore(
    settings: Settings, model: str, seed: int, encoder: Path, agents: dict[str, Path | str]
) -> list[dict[str, Any]]:
    """What agents reach with an encoder in the test scenes, glimpse by glimpse.

    Args:
        settings: Of the comparison.
        model: Its name.
        seed: Of its training; agents that use chance draw from it.
        encoder: Its folder.
        agents: By the name that results show: a name, or the folder of a trained agent.
    """
    comparison = evaluate_agents(
        {label: str(source) for label, source in agents.items()},
        settings.env,
        {**settings.environment, "encoder": str(encoder)},
        EvaluationConfig(num_scenes=settings.scenes, seeds=(seed,), episodes=0, progress=False),
    )
    found = []
    for result in comparison.results:
        accuracy = result.over_scenes["accuracy"]
        found.append(
            {
                "model": model,
                "seed": seed,
                "agent": result.label,
                "scenes": comparison.num_scenes,
                "accuracy": (100 * accuracy.mean).tolist(),
                "ci_lo": (100 * accuracy.low).tolist(),
                "ci_hi": (100 * accuracy.high).tolist(),
                "gflops": result.gflops().tolist(),
                "gflops_policy": result.gflops("policy").tolist(),
                "outputs": sorted({"logits", *_costly_outputs(result.label)}),
            }
        )
    return found


def _costly_outputs(label: str) -> set[str]:
    """Parts of the belief that an agent has the encoder compute, but the latent, which is free."""
    kind = LEARNERS.resolve(label).agent_class if label in LEARNERS else agent_class(label)
    return {*kind.required} & {*OUTPUTS, "regions"} - {"latent"}


def explore_missing(
    settings: Settings, model: str, seed: int, encoder: Any, agents: list[str], folder: Path
) -> None:
    """Points of one encoder that are not there yet, each a file."""
    place = folder / "encoders" / f"{model}-{seed}"

    def path(agent: str) -> Path:
        return folder / "points" / f"{model}-{seed}-{agent}.json"

    able = agents_of(encoder, [each for each in agents if each not in LEARNERS])
    sources: dict[str, Path | str] = {each: each for each in able if not path(each).is_file()}
    if settings.learner in agents and not path(settings.learner).is_file():
        trained = folder / "agents" / f"{model}-{seed}-{settings.learner}"
        learn(settings, place, seed, trained)
        sources[settings.learner] = trained
    if not sources:
        return
    training = json.loads((place / "training.json").read_text("utf-8"))
    keys = ("parameters", "weights_hash", "steps", "images", "seconds", "precision")
    for point in explore(settings, model, seed, place, sources):
        point |= {key: training[key] for key in keys}
        write_json(path(point["agent"]), point)
        print(
            f"{model}, seed {seed}, {point['agent']}: {point['accuracy'][-1]:.1f} % after "
            f"{settings.num_glimpses} glimpses",
            flush=True,
        )

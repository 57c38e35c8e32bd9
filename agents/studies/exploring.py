"""Glimpses that an agent takes of scenes, as patch ids."""

from __future__ import annotations

import numpy as np

from agents.evaluation.exploring import explore
from agents.registry import make_agent, required_observables
from agents.studies.options import StudyOptions
from agents.studies.subjects import SceneSet, Subject, batches
from ave_env.parts import Parts
from ave_env.registration import configure
from ave_env.sensors.base import FiniteSensor
from ave_env.vector import ActiveExplorationVectorEnv


class Explorer:
    """An agent in the scenes of a study.

    It acts in an environment with an encoder of its own of the same name.

    Args:
        options: Of the study.
        subject: Whose patches.
        scenes: What is explored.
        agent: A name, or the run folder of a trained agent.
        glimpse_size: Side of a glimpse in patches.
        num_glimpses: Glimpses in every scene.
        task: Of the environment.
        split_block: K of the encoder that it looks with; None = the default.

    Raises:
        ValueError: An agent that cannot act here, or that chooses with a sensor that does not say
            which patches a glimpse shows.
    """

    def __init__(
        self,
        options: StudyOptions,
        subject: Subject,
        scenes: SceneSet,
        *,
        agent: str,
        glimpse_size: int,
        num_glimpses: int,
        task: str = "classification",
        split_block: int | None = None,
    ) -> None:
        configuration = configure(
            options.env,
            scenes=scenes.scenes,
            encoder=subject.name,
            image_size=scenes.scenes.image_size,
            patch_size=subject.encoder.config.patch_size,
            glimpse_size=glimpse_size,
            num_glimpses=num_glimpses,
            task=task,
            split_block=split_block,
            observe=tuple(required_observables([agent])) or ("latent",),
            device=options.device,
            precision=options.precision,
        )
        self._env = ActiveExplorationVectorEnv(
            min(options.batch_size, len(scenes)),
            configuration=configuration,
            parts=Parts.open(configuration),
            autoreset_mode="DISABLED",
        )
        sensor = self._env.sensor
        if not isinstance(sensor, FiniteSensor):
            raise ValueError(f"the sensor {sensor.name!r} does not say what a glimpse shows")
        self._sensor = sensor
        self._agent = make_agent(agent, self._env, seed=options.seed)
        self._scenes, self._title, self._progress = scenes, f"{agent} explores", options.progress

    def uses_chance(self) -> bool:
        """Whether the agent draws random numbers: tried at a first glimpse, and forgotten again."""
        generator = self._agent.random.bit_generator
        before = generator.state
        glimpses = explore(self._agent, self._env, self._scenes.indices[: self._env.num_envs])
        for _ in range(2):  # what is known before any glimpse, and after the first
            next(glimpses)
        drew = bool(generator.state != before)
        generator.state = before
        return drew

    def patch_ids(self) -> np.ndarray:
        """Patch ids of every glimpse, int64 `[N, T, n]`; -1 where seen before."""
        rows_at_once, found = self._env.num_envs, []
        for rows in batches(self._scenes, rows_at_once, title=self._title, progress=self._progress):
            actions: list[np.ndarray] = []
            seen: list[np.ndarray] = []
            for _, observation, _ in explore(
                self._agent, self._env, self._scenes.indices[rows], taken=actions
            ):
                seen.append(observation["visited"].reshape(rows_at_once, -1).astype(bool))
            shown = [self._sensor.patch_ids(chosen) for chosen in actions]
            at = np.arange(rows_at_once)[:, None]
            ids = np.stack(
                [
                    np.where(before[at, each], -1, each)
                    for before, each in zip(seen, shown, strict=False)
                ],
                axis=1,
            )
            found.append(ids[: len(rows)].astype(np.int64))
        return np.concatenate(found)

"""Several agents in the same scenes, each charged for the parts of the belief it looks at."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from agents.base import Agent
from agents.evaluation.config import EvaluationConfig
from agents.evaluation.contestants import label_agents, place_of
from agents.evaluation.curves import area_weights
from agents.evaluation.record import describe_comparison, has_trained_head
from agents.evaluation.statistics import (
    Interval,
    bootstrap_intervals,
    mean_intervals,
    newcombe_interval,
)
from agents.evaluation.stopping import Stopping, stop_at_confidence
from agents.evaluation.walk import (
    EpisodeRecorder,
    Evaluation,
    balanced_rows,
    evaluate,
)
from agents.registry import AgentSource, make_agent, required_observables
from ave_env.configuration import Configuration
from ave_env.parts import Parts
from ave_env.registration import configure
from ave_env.rendering import Snapshot
from ave_env.scenes.cache import AUTOMATIC_BYTES, CachedScenes
from ave_env.tasks.metrics import Metric
from ave_env.vector import ActiveExplorationVectorEnv
from encoders.support.subsets import spread_evenly


@dataclasses.dataclass(frozen=True, eq=False)
class AgentResult:
    """What one agent did in all scenes, once per seed.

    Attributes:
        label: What tables and files call it.
        source: Its name, its place as module:name, or the run folder it came from.
        seeds: Its seeds; one where it does not use chance.
        privileged: Whether it is told the answer, and so bounds the others instead of competing.
        differences: In what it did not act as it was trained, in words.
        evaluations: One per seed.
        episodes: A few of the first seed's episodes by scene, one snapshot per t = 0..T.
        resamples: Bootstrap resamples of its intervals.
    """

    label: str
    source: str
    seeds: tuple[int, ...]
    privileged: bool
    differences: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]
    episodes: Mapping[int, list[Snapshot]]
    resamples: int

    def values(self, metric: str) -> np.ndarray:
        """A metric of every scene, averaged over seeds, float64 `[N, T+1]`."""
        return np.mean([one.metrics()[metric] for one in self.evaluations], axis=0)

    @functools.cached_property
    def over_scenes(self) -> dict[str, Interval]:
        """Each metric's mean at t = 0..T and its interval over scenes (averaged over seeds)."""
        first = self.evaluations[0]
        values = {metric: self.values(metric) for metric in first.metrics()}
        judgements = dict.fromkeys(first.proportions, len(self.seeds))
        return mean_intervals(values, judgements, self.resamples)

    def over_seeds(self, metric: str) -> np.ndarray | None:
        """Standard deviation over seeds of the mean over scenes, `[T+1]`; None for one seed."""
        if len(self.seeds) < 2:
            return None
        return np.std([one.metrics()[metric].mean(axis=0) for one in self.evaluations], 0, ddof=1)

    @functools.cached_property
    def aggregates(self) -> dict[str, np.ndarray]:
        """Metrics of all scenes together after t = 0..T glimpses, `[seeds, T+1]` by name.

        They are no means over scenes, and so have no interval.
        """
        seeds = [one.aggregates() for one in self.evaluations]
        return {name: np.stack([one[name] for one in seeds]) for name in seeds[0]}

    def stopping(self, confidence: float) -> tuple[Stopping, ...]:
        """What stopping at a confidence would have done, one per seed."""
        return tuple(stop_at_confidence(one, confidence) for one in self.evaluations)

    @property
    def gflops_to_compare(self) -> np.ndarray:
        """GFLOPs of encoder and policy after t = 0..T; of a privileged agent the encoder's alone.

        The search of an agent that is told the answer is no price that anyone would pay.
        """
        return self.gflops() + (0 if self.privileged else self.gflops("policy"))

    def gflops(self, kind: str = "flops") -> np.ndarray:
        """Billions of multiply-accumulates spent after t = 0..T, mean over scenes and seeds.

        Args:
            kind: "flops", "flops_without_recycling" or "policy" (choosing, beyond the encoder).
        """
        if kind == "policy":
            return self.evaluations[0].policy_flops_total / 1e9
        steps = np.mean([one.columns[kind].mean(axis=0) for one in self.evaluations], axis=0)
        return steps.cumsum() / 1e9


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Several agents in the same scenes.

    Attributes:
        results: One per agent.
        record: What was run, JSON-able and the same each time it is run.
        config: How it was run.
    """

    results: tuple[AgentResult, ...]
    record: Mapping[str, Any]
    config: EvaluationConfig

    @property
    def declared(self) -> tuple[Metric, ...]:
        """All that was measured, in the order of tables."""
        return self.results[0].evaluations[0].declared

    @property
    def main_metric(self) -> Metric | None:
        """What agents are ranked by; None where nothing meaningful can be said."""
        return self.results[0].evaluations[0].main_metric

    @property
    def num_glimpses(self) -> int:
        """T."""
        return self.results[0].evaluations[0].num_glimpses

    @property
    def num_scenes(self) -> int:
        """N."""
        return self.results[0].evaluations[0].num_scenes

    @property
    def table_steps(self) -> list[int]:
        """Numbers of glimpses that tables show: 1, 2, 4, 8, ... and T."""
        powers = (1 << exponent for exponent in range(self.num_glimpses.bit_length()))
        return sorted({*powers, self.num_glimpses})

    def ranked(self) -> list[AgentResult]:
        """Agents without privileges, best final mean of the main metric first.

        Raises:
            ValueError: There is no metric to rank by.
        """
        if self.main_metric is None:
            raise ValueError("there is no metric to rank agents by")
        honest = [result for result in self.results if not result.privileged]
        scores = {
            one.label: np.mean([each.final_score() for each in one.evaluations]) for one in honest
        }
        return sorted(honest, key=lambda result: -scores[result.label])

    @functools.cached_property
    def gflops_budget(self) -> float:
        """GFLOPs that all agents spend at least: where areas over GFLOPs end."""
        return min(float(result.gflops_to_compare[-1]) for result in self.results)

    @functools.cached_property
    def areas(self) -> dict[tuple[str, str], Interval]:
        """Mean height of the main metric's curve, by label and "glimpses" or "gflops".

        Over glimpses from 0 to T, over GFLOPs from 0 to `gflops_budget`. Empty without a metric.
        """
        if self.main_metric is None:
            return {}
        areas, judgements = {}, {}
        proportion = self.main_metric.name in self.results[0].evaluations[0].proportions
        glimpses = np.arange(self.num_glimpses + 1)
        for result in self.results:
            values = result.values(self.main_metric.name)
            for over, places, end in (
                ("glimpses", glimpses, self.num_glimpses),
                ("gflops", result.gflops_to_compare, self.gflops_budget),
            ):
                weights = area_weights(places, end)
                areas[result.label, over] = values @ weights
                if proportion:
                    judgements[result.label, over] = len(result.seeds) / (weights**2).sum()
        return mean_intervals(areas, judgements, self.config.resamples)

    @functools.cached_property
    def differences(self) -> dict[tuple[str, str], Interval]:
        """Paired over scenes: main metric of one label minus another's at t = 0..T.

        Newcombe's intervals of proportions, else the bootstrap of the differences. Every pair of
        agents is there once, in the order of `results`; empty without a metric.
        """
        metric = self.main_metric
        if metric is None:
            return {}
        values = {result.label: result.values(metric.name) for result in self.results}
        pairs = list(itertools.combinations(values, 2))
        if metric.name not in self.results[0].evaluations[0].proportions:
            return bootstrap_intervals(
                {(first, second): values[first] - values[second] for first, second in pairs},
                self.config.resamples,
            )
        judgements = {result.label: len(result.seeds) for result in self.results}
        intervals = {}
        for first, second in pairs:
            interval = newcombe_interval(
                values[first],
                values[second],
                per_scene=(judgements[first], judgements[second]),
            )
            # Before the first glimpse all know the same, which no other scenes could change.
            interval.low[0] = interval.high[0] = interval.mean[0]
            intervals[first, second] = interval
        return intervals


def evaluate_agents(
    agents: Mapping[str, AgentSource] | Iterable[AgentSource],
    env_id: str,
    settings: Mapping[str, Any] | None = None,
    config: EvaluationConfig | None = None,
) -> Comparison:
    """Lets agents explore the same scenes.

    Every agent gets an environment of its own that computes what this agent looks at and what the
    task is scored by, and nothing else; encoder and scenes are shared.

    Args:
        agents: Names, run folders, repositories of the hub (`user/name`), classes of agents, or
            agents that were made (which are copied, and draw from `config.seeds`); as a mapping,
            under the labels that results show.
        env_id: Environment id.
        settings: Keyword arguments of the environment but `observe`; None leaves the id's own.
        config: How they are compared.

    Returns:
        What `agents.reports.files.write_results` writes and
        `agents.reports.tables.print_comparison` prints.

    Raises:
        TypeError: Something that is no agent.
        ValueError: An unknown agent, or one that cannot act in this environment.
    """
    return prepare_comparison(agents, env_id, settings, config).run()


def prepare_comparison(
    agents: Mapping[str, AgentSource] | Iterable[AgentSource],
    env_id: str,
    settings: Mapping[str, Any] | None = None,
    config: EvaluationConfig | None = None,
    *,
    parts: Parts | None = None,
) -> PreparedComparison:
    """All of `evaluate_agents` but the exploration: every mistake shows here.

    Args:
        agents: As for `evaluate_agents`.
        env_id: As for `evaluate_agents`.
        settings: As for `evaluate_agents`.
        config: As for `evaluate_agents`.
        parts: Scenes and encoder of another comparison of the same scenes and encoder, to share.
    """
    config = config or EvaluationConfig()
    sources = label_agents(agents)
    base = configure(env_id, **{"split": "test", **(settings or {})})
    parts = _open_parts(base, sources.values()) if parts is None else parts
    _check_stopping(config, parts)
    num_scenes = len(spread_evenly(config.num_scenes, len(parts.scenes)))
    prepared = PreparedComparison(env_id, base, parts, sources, config, num_scenes)
    for source in sources.values():
        prepared.make(source, rows=1, seed=0)
    return prepared


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedComparison:
    """Agents that are able to act in an environment, before they do.

    Attributes:
        env_id: Environment id.
        base: Its configuration, but for what is observed.
        parts: Scenes, sensor, task and encoder, for all agents.
        sources: The agents by label.
        config: How they are compared.
        num_scenes: N.
    """

    env_id: str
    base: Configuration
    parts: Parts
    sources: Mapping[str, AgentSource]
    config: EvaluationConfig
    num_scenes: int

    def run(self) -> Comparison:
        """Lets all agents explore."""
        rows = balanced_rows(self.num_scenes, self.config.num_envs)
        results = [self._explore(label, source, rows) for label, source in self.sources.items()]
        record = describe_comparison(self.env_id, self.base, self.parts, self.num_scenes, rows)
        return Comparison(tuple(results), record, self.config)

    def make(
        self, source: AgentSource, rows: int, seed: int
    ) -> tuple[ActiveExplorationVectorEnv, Agent]:
        """An agent, and an environment that observes what it looks at."""
        observing = dataclasses.replace(self.base, observe=required_observables([source]))
        env = ActiveExplorationVectorEnv(
            rows, configuration=observing, parts=self.parts, autoreset_mode="DISABLED"
        )
        allowed = self.config.allow_other_encoder
        return env, make_agent(source, env, seed=seed, allow_other_encoder=allowed)

    def _explore(self, label: str, source: AgentSource, rows: int) -> AgentResult:
        config = self.config
        evaluations: list[Evaluation] = []
        episodes: dict[int, list[Snapshot]] = {}
        for seed in config.seeds:
            env, agent = self.make(source, rows, seed)
            recorder = None
            if config.episodes and not evaluations:
                scene_ids = spread_evenly(config.num_scenes, len(env.scenes))
                chosen = scene_ids[spread_evenly(config.episodes, len(scene_ids))]
                recorder = EpisodeRecorder(chosen)
                episodes = recorder.episodes
            evaluations.append(
                evaluate(
                    agent,
                    env,
                    num_scenes=config.num_scenes,
                    progress=config.progress,
                    watch=recorder,
                )
            )
            if not evaluations[0].uses_chance:  # another seed would do the same
                break
        return AgentResult(
            label=label,
            source=place_of(source),
            seeds=config.seeds[: len(evaluations)],
            privileged=agent.privileged,
            differences=agent.differences,
            evaluations=tuple(evaluations),
            episodes=episodes,
            resamples=config.resamples,
        )


def _check_stopping(config: EvaluationConfig, parts: Parts) -> None:
    if config.stop_confidence is None:
        return
    trained = has_trained_head(parts)
    if not {"confidence", "correct"} <= {*parts.task.columns} or not trained:
        raise ValueError(
            f"stop_confidence={config.stop_confidence}: stopping early needs a task that measures "
            f"confidence, as 'classification' does (here {parts.task.name!r}), and a class head "
            "trained for the classes of the scenes "
            f"(here {'trained' if trained else 'untrained'})"
        )


def _open_parts(base: Configuration, sources: Iterable[AgentSource]) -> Parts:
    """Opens scenes and builds the encoder, once for all agents."""
    if base.encoder is None:
        raise ValueError("agents are compared by what an encoder believes; encoder is None")
    parts = Parts.open(dataclasses.replace(base, observe=required_observables(sources)))
    if base.cache_bytes is not None or isinstance(parts.scenes, CachedScenes):
        return parts
    # One agent after the other visits the same scenes: what is kept of a large split pays as well.
    return dataclasses.replace(parts, scenes=CachedScenes(parts.scenes, AUTOMATIC_BYTES))

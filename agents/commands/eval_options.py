"""What `eval_agent.py` can be asked for; imports no torch."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import tyro

from agents.commands.options import (
    AGENT_LIST,
    DEFAULT_ENV,
    ENCODER,
    REDUCING,
    EnvironmentOptions,
    is_left_open,
)
from agents.commands.resuming import given_options, read_record, saved_options
from agents.evaluation.config import EvaluationConfig
from ave_env.choices import Split
from encoders.reduction.config import Reduction, ReductionPlace, parse_reduction
from encoders.support.validation import NotNegative, Positive

COMMAND = "eval_agent"

# Options of the command that can have several values, in the order in which they vary: the last
# one first. Scenes and encoder are opened once for all values of the others.
SWEPT = (
    *("env", "encoder", "split_block", "reduction", "reduction_in", "max_tokens"),
    "num_glimpses",
)

STILL_EPISODES = 4  # in the report, where nobody said how many

# What an agent was trained with is not taken where what it belongs to is chosen anew.
_BELONGS_TO = {
    "data_root": "env",
    "list_file": "env",
    "seamless": "env",
    "sensor_options": "sensor",
    "reduction_in": "reduction",
}


@dataclasses.dataclass(frozen=True)
class RunOptions(EnvironmentOptions):
    """One comparison: agents in one environment, with one encoder; see `Options`."""

    agents: Annotated[tuple[str, ...], AGENT_LIST] = ("random", "checkerboard", "ame")
    split: Split = "test"
    scene_seed: NotNegative = 0
    scenes: int | None = None
    num_envs: Annotated[int, tyro.conf.arg(aliases=["--n-envs"])] = 256
    seed: Annotated[tuple[int, ...], tyro.conf.arg(aliases=["--seeds"])] = (0,)
    stop_confidence: float | None = None
    allow_other_encoder: bool = False
    episodes: NotNegative | None = None
    output: Path = Path("runs")
    progress: bool = True
    smoke: bool = False

    def settings(self) -> dict[str, Any]:
        """Keyword arguments of the environment; None leaves the id's own value."""
        return super().settings() | {"split": self.split, "seed": self.scene_seed}

    def config(self) -> EvaluationConfig:
        """How agents are compared."""
        return EvaluationConfig(
            num_scenes=self.scenes,
            num_envs=self.num_envs,
            seeds=self.seed,
            episodes=STILL_EPISODES if self.episodes is None else self.episodes,
            stop_confidence=self.stop_confidence,
            allow_other_encoder=self.allow_other_encoder,
            progress=self.progress,
        )

    def completed(self) -> RunOptions:
        """With what was left open taken from the first trained agent, and from its encoder."""
        from agents.commands.encoder_sizes import with_encoder_sizes

        return with_encoder_sizes(_like_in_training(self))


@dataclasses.dataclass(frozen=True)
class Options(RunOptions):
    """Lets glimpse policies explore every scene of a split once, and compares them.

    Prints a table (agents x glimpses, with 95 % intervals over scenes, and GFLOPs per episode). The
    run folder receives `report.html`, `summary.json`, `per_step.csv`, `per_scene.csv.gz`,
    `curves.png` and maps of where agents look; --episodes adds animations. Of --env, --encoder,
    --split-block, --reduction, --reduction-in, --max-tokens and --num-glimpses several values may
    be given: every combination is compared in a run folder of its own, in the folder of the sweep,
    whose `table.csv` and table have a line for each agent in each of them. (`--reduction none`,
    which is nowhere, is compared once however many --reduction-in there are.) What is left out of
    the options of the environment is as it was when the first of the trained agents was trained,
    else as the environment has it. What is named as package.module:name is looked for in the
    current folder too.

    Attributes:
        env: Environment ids.
        encoder: The encoders.
        split_block: TORE's K, e.g. `--split-block 0 2 4`; None = the encoder's default.
        reduction: How tokens are dropped (evit), merged (tome) or halted (avit) within the encoder,
            e.g. `--reduction none tome:r=4 evit:keep_rate=0.5`; none = not at all; None = as the
            encoder was trained.
        reduction_in: Where: extractor, aggregator or both; None = aggregator.
        max_tokens: Most patch tokens that are remembered, e.g. `--max-tokens 0 16`; beyond it the
            most similar are merged. 0 = no bound; None = as the encoder was trained.
        num_glimpses: Glimpses in an episode, e.g. `--num-glimpses 4 8`.
        agents: Names or run folders of those who explore.
        split: "train", "val" or "test".
        scene_seed: Seed of procedural scenes; another one makes scenes never seen before.
        scenes: Most scenes, spread evenly over the split; None = the whole split.
        num_envs: Most scenes explored at a time.
        seed: Seeds of agents that use chance, e.g. `--seed 0 1 2`.
        stop_confidence: Also show what it costs and saves to end an episode once the most probable
            class is this probable, e.g. 0.9.
        allow_other_encoder: Let trained agents act with another encoder, or other options of it
            (TORE's K), than they were trained with, where their weights fit; tables say so.
        episodes: Episodes per agent to show in the report and to write as animations too
            (`episodes/*.gif`); None = 4 in the report and no animations, 0 = none at all.
        output: Folder of run folders.
        resume: Continue this sweep with its own options: what is finished is left as it is.
        progress: Show progress bars.
        smoke: A few scenes, to see that everything runs; what is given beside it wins.
    """

    # One value of each is what a single comparison has.
    env: tuple[str, ...] | None = None  # type: ignore[assignment]
    encoder: Annotated[tuple[str, ...] | None, ENCODER] = None  # type: ignore[assignment]
    split_block: tuple[NotNegative, ...] | None = None  # type: ignore[assignment]
    reduction: tuple[str, ...] | None = None  # type: ignore[assignment]
    reduction_in: tuple[ReductionPlace, ...] | None = None  # type: ignore[assignment]
    max_tokens: tuple[NotNegative, ...] | None = None  # type: ignore[assignment]
    num_glimpses: tuple[Positive, ...] | None = None  # type: ignore[assignment]
    resume: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in SWEPT:
            values = getattr(self, name)
            if values is not None and len(set(values)) != max(len(values), 1):
                words = " ".join(map(str, values))
                raise ValueError(f"{name}={words}; expected at least one, and each only once")
        for text in self.reduction or ():
            parse_reduction(text)
        if self.env is not None and len(self.env) > 1 and self.data_root is not None:
            raise ValueError(
                f"data_root={str(self.data_root)!r} for {len(self.env)} environments; leave it out "
                "and set the environment variable of each (AVE_IMAGENET_ROOT, ...)"
            )

    @property
    def is_sweep(self) -> bool:
        """Whether there is more than one comparison to make."""
        return any(len(getattr(self, name) or ()) > 1 for name in SWEPT)

    def runs(self) -> Iterator[tuple[str, RunOptions]]:
        """The comparisons to make, and what to call their folders."""
        choices = {name: getattr(self, name) or (None,) for name in SWEPT}
        names = [field.name for field in dataclasses.fields(RunOptions)]
        combinations: list[dict[str, Any]] = []
        for values in itertools.product(*choices.values()):
            chosen = dict(zip(choices, values, strict=True))
            if self._is_nowhere(chosen):
                chosen["reduction_in"] = None
            if chosen not in combinations:
                combinations.append(chosen)
        for number, chosen in enumerate(combinations, start=1):
            words = [
                f"{name}-{_short(value)}"
                for name, value in chosen.items()
                if len(choices[name]) > 1 and value is not None
            ]
            others = {name: getattr(self, name) for name in names if name not in chosen}
            yield "-".join([f"{number:02d}", *words]), RunOptions(**others, **chosen)

    def _is_nowhere(self, chosen: Mapping[str, Any]) -> bool:
        """Whether a combination of a sweep over reductions has none, which is in no place."""
        reduction = chosen["reduction"]
        several = self.reduction is not None and len(self.reduction) > 1
        return several and parse_reduction(reduction).name == Reduction.name


def defaults_of(arguments: list[str]) -> Options:
    """What the options are that the command line leaves out: those of the sweep to resume, or few.

    Raises:
        ValueError: Nothing that can be resumed.
    """
    given = given_options(arguments, "resume", flags=("smoke",))
    if given is None or given.resume is None:
        few = given is not None and given.smoke
        return Options(scenes=16, episodes=1) if few else Options()
    folder = Path(given.resume)
    maker, _ = read_record(folder)
    if maker == COMMAND and (folder / "summary.json").is_file():
        raise ValueError(
            f"{folder}: a single comparison, which has nothing to resume; only a sweep, of several "
            "--env, --encoder, --split-block, --reduction, --max-tokens, ..., can be continued"
        )
    return saved_options(folder, Options(), COMMAND)


def _short(value: object) -> str:
    """The last part of a name or path, of characters that every disk takes."""
    return re.sub(r"[^\w.-]+", "_", str(value).rstrip("/").rpartition("/")[2])


def _like_in_training(options: RunOptions) -> RunOptions:
    """Takes what was left open from the first trained agent."""
    from agents.hub import at_hand
    from agents.learning.record import read_agent, trained_options
    from agents.registry import trained_folder

    sources = [str(at_hand(source)) for source in options.agents]
    folder = next(filter(None, map(trained_folder, sources)), None)
    trained: dict[str, Any] = {}
    if folder is not None:
        description = read_agent(folder)
        encoder_options = trained_options(description)
        trained = {
            **description["environment"],
            **{name: encoder_options.pop(name, None) for name in ("split_block", *REDUCING)},
            "encoder_options": encoder_options,
        }
        trained["env"] = trained.pop("id", DEFAULT_ENV)
        for name, owner in _BELONGS_TO.items():
            if getattr(options, owner) not in (None, trained.get(owner)):
                trained.pop(name, None)
    names = {field.name for field in dataclasses.fields(EnvironmentOptions)}
    left_open = {
        name: value
        for name, value in {"env": DEFAULT_ENV, **trained}.items()
        if name in names and is_left_open(getattr(options, name)) and value is not None
    }
    return dataclasses.replace(options, **left_open)

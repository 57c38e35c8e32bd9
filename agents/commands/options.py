"""Options that several commands have in common; imports no torch."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import tyro
import yaml
from tyro.constructors import PrimitiveConstructorSpec

from agents.commands.yaml_options import YamlLoader
from agents.registry import AGENTS, LEARNERS
from ave_env.choices import Overlap
from ave_env.sensors.registry import SENSORS
from ave_env.tasks.registry import TASKS
from encoders.reduction.config import ReductionPlace, parse_reduction
from encoders.reduction.plan import OPTIONS as REDUCING
from encoders.registry import ENCODERS, TIMM_PREFIX
from encoders.support.choices import Precision
from encoders.support.devices import check_device_name
from encoders.support.registry import Registry
from encoders.support.validation import NotNegative, Positive, check_fields, did_you_mean

DEFAULT_ENV = "AVE-Synthetic-v0"


def read_pairs(words: list[str]) -> dict[str, Any]:
    """Turns `key=value` words into a mapping; values are read as YAML.

    Raises:
        ValueError: A word without `=`, a key given twice, or a value that is not YAML.
    """
    values: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not key or not equals:
            raise ValueError(f"{word!r}; expected key=value")
        if key in values:
            raise ValueError(f"{key!r} is given twice")
        try:
            values[key] = yaml.load(text, YamlLoader)
        except yaml.YAMLError as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{word!r}: the value is not YAML: {reason}") from error
    return values


def write_pairs(values: Mapping[str, Any]) -> list[str]:
    """The words that `read_pairs` turns into these values."""
    return [f"{key}={json.dumps(value, default=str)}" for key, value in values.items()]


# Options of a part that nobody but the part knows, as `key=value` words.
Pairs = Annotated[
    Mapping[str, Any],
    PrimitiveConstructorSpec(
        nargs="*",
        metavar="KEY=VALUE ...",
        instance_from_str=read_pairs,
        is_instance=lambda value: isinstance(value, Mapping),
        str_from_instance=write_pairs,
    ),
]


def named(text: str, *tables: Registry[Any], more: str = "") -> Any:
    """Help of an option that names a part: what is registered now, and how to name one's own."""
    names = ", ".join(name for table in tables for name in table)
    return tyro.conf.arg(help=f"{text}: {names}, {more}or package.module:name.")


POLICY = named("Who chooses the glimpses", LEARNERS, AGENTS)
AGENT_LIST = named(
    "Who explores",
    AGENTS,
    more="guided and ppo (trained on the synthetic panoramas with tore-nano), run folders of "
    "trained agents, USER/NAME on the Hugging Face hub, ",
)
TASK = named("What is asked of the belief", TASKS)
SENSOR = named("What a glimpse is", SENSORS)
THREADS = tyro.conf.arg(
    help="Threads to compute with on the CPU; None = all, but one for steps of the environment "
    "that are too small to share. Results differ with their number by rounding."
)
ENCODER = named(
    "The encoder",
    ENCODERS,
    more=f"{TIMM_PREFIX}NAME, a folder or file of weights, USER/NAME on the Hugging Face hub, ",
)


def check_name(option: str, name: str, *tables: Registry[Any]) -> None:
    """Refuses a name that no part is known by; imports no part.

    Raises:
        ValueError: An unknown name, with those that are known.
    """
    if not any(table.knows(name) for table in tables):
        known = [each for table in tables for each in table]
        raise ValueError(
            f"{option}={name!r}{did_you_mean(name, known)}; "
            f"expected one of {', '.join(known)}, or package.module:name"
        )


def options_given(arguments: Iterable[str], **aliases: str) -> dict[str, str]:
    """The options that a command line names, whatever their values.

    Args:
        arguments: The command line without the program.
        **aliases: Fields by short options without dashes, e.g. `n="total_timesteps"`.

    Returns:
        As they were typed, by field; of a part as `part.field`.
    """
    given = {}
    for word in arguments:
        if word.startswith("-") and len(word) > 1:
            typed = word.partition("=")[0]
            name = typed.lstrip("-").replace("-", "_")
            given[aliases.get(name, name.removeprefix("no_"))] = typed
    return given


def import_from_current_folder() -> None:
    """Lets `package.module:name` stand for what lies in the current folder.

    It is looked at last, so that nothing there takes the place of an installed package.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


@dataclasses.dataclass(frozen=True)
class EnvironmentOptions:
    """The environment that agents are trained or compared in.

    None leaves an option as the id has it or, where a trained agent is evaluated, as it was when
    that agent was trained.

    Attributes:
        env: Environment id.
        data_root: Folder or HDF5 file of the scenes; None = the environment variable of the id.
        list_file: List of image paths that decides the splits of SUN360.
        seamless: Whether the left and right edges of the images meet, as in 360-degree panoramas;
            None = those of SUN360 do.
        task: What is asked of the belief.
        sensor: What a glimpse is.
        sensor_options: Options of the sensor, e.g. `scale=2`; values are YAML.
        encoder: Name or folder of the encoder.
        encoder_options: Options of the encoder's family.
        split_block: TORE's K; None = the encoder's default.
        reduction: How tokens are dropped (evit), merged (tome) or halted (avit) within the encoder,
            e.g. `tome:r=4` or `evit:keep_rate=0.5`; none = not at all; None = as the encoder was
            trained.
        reduction_in: Where: extractor, aggregator or both; None = aggregator.
        max_tokens: Most patch tokens that are remembered; beyond it the most similar are merged.
            0 = no bound; None = as the encoder was trained.
        image_size: Height and width of a scene in pixels.
        patch_size: Side of a patch in pixels.
        glimpse_size: Side of a glimpse in patches.
        num_glimpses: Most glimpses in an episode.
        stop_when_all_seen: Whether an episode ends once there is nothing new to see.
        wrap_azimuth: Whether a glimpse that leaves the right edge goes on at the left one.
        overlap: Whether patches that are seen again are encoded again ("keep") or not ("dedup").
        device: Of the encoder: auto (a GPU where there is one), cpu, cuda, cuda:N or mps.
        cache_bytes: Memory to spend on decoded scenes; 0 = none, None = what the split needs, up to
            1 GiB and a quarter of the available memory, and none where less than half of it fits.
        precision: Of the encoder's matrix products; "auto" takes bfloat16 where it is native,
            "int8" quantises linear layers (x86 processors).
        threads: Threads to compute with on the CPU.

    Raises:
        TypeError: A value of another type.
        ValueError: A value out of range, or a name that nothing is known by.
    """

    env: str | None = None
    data_root: Path | None = None
    list_file: Path | None = None
    seamless: bool | None = None
    task: Annotated[str | None, TASK] = None
    sensor: Annotated[str | None, SENSOR] = None
    sensor_options: Pairs = dataclasses.field(default_factory=dict)
    encoder: Annotated[str | None, ENCODER] = None
    encoder_options: Pairs = dataclasses.field(default_factory=dict)
    split_block: NotNegative | None = None
    reduction: str | None = None
    reduction_in: ReductionPlace | None = None
    max_tokens: NotNegative | None = None
    image_size: tuple[Positive, Positive] | None = None
    patch_size: Positive | None = None
    glimpse_size: Positive | None = None
    num_glimpses: Positive | None = None
    stop_when_all_seen: bool | None = None
    wrap_azimuth: bool | None = None
    overlap: Overlap | None = None
    cache_bytes: NotNegative | None = None
    device: str = "auto"
    precision: Precision = "auto"
    threads: Annotated[Positive | None, THREADS] = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_device_name(self.device)
        if isinstance(self.reduction, str):  # sweeps have several
            parse_reduction(self.reduction)
        for option, table in (("task", TASKS), ("sensor", SENSORS)):
            if (name := getattr(self, option)) is not None:
                check_name(option, name, table)

    def settings(self) -> dict[str, Any]:
        """Keyword arguments of the environment; None leaves the id's own value."""
        names = (field.name for field in dataclasses.fields(EnvironmentOptions))
        values = {name: getattr(self, name) for name in names if name not in ("env", *REDUCING)}
        values["encoder_options"] = self._with_reduction()
        return {name: None if is_left_open(value) else value for name, value in values.items()}

    def _with_reduction(self) -> dict[str, Any]:
        """The options of the encoder's family with those that have an option of their own here.

        Raises:
            ValueError: One is given twice, with different values.
        """
        own = {name: getattr(self, name) for name in REDUCING}
        own = {name: value for name, value in own.items() if value is not None}
        for name in own.keys() & self.encoder_options.keys():
            if own[name] != self.encoder_options[name]:
                raise ValueError(
                    f"{name}={own[name]}, and encoder_options has {name}="
                    f"{self.encoder_options[name]}; give one of them"
                )
        return {**self.encoder_options, **own}


def is_left_open(value: Any) -> bool:
    """Whether an option is left as the environment has it: None, or no pairs at all."""
    return value is None or value == {}

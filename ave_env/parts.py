"""What the names in a configuration stand for, opened and built."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ave_env.configuration import Configuration
from ave_env.scenes import Scenes
from ave_env.sensors.base import Sensor
from ave_env.tasks.base import Task
from ave_env.tasks.registry import TASKS
from encoders.support.notices import warn

if TYPE_CHECKING:
    from encoders import Encoder


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """The parts of an environment, which several environments may share.

    Attributes:
        scenes: Where images come from.
        sensor: What a glimpse is.
        task: What is asked of the belief.
        encoder: What turns glimpses into the belief; None for glimpses alone.
    """

    scenes: Scenes
    sensor: Sensor
    task: Task
    encoder: Encoder | None

    @classmethod
    def open(cls, configuration: Configuration, *, classify: bool | None = None) -> Parts:
        """Opens scenes and builds sensor, task and encoder.

        Args:
            configuration: What they are.
            classify: Whether the encoder gets a class head for the classes of the scenes where it
                has another; None = where the task needs one or the observations show it.

        Raises:
            ValueError: Parts that do not fit each other, or names that nothing stands for.
        """
        sensor = configuration.make_sensor()  # wrong sizes show before files are opened
        scenes = configuration.open_scenes()
        task = TASKS.resolve(configuration.task).of(scenes)
        encoder = None
        if configuration.encoder is not None:
            from ave_env.observer import open_encoder  # brings torch

            if classify is None:
                classify = "logits" in (*configuration.observe, *task.requires)
            encoder = open_encoder(configuration, scenes, classify=classify)
        if "seamless" not in configuration.sensor_options:
            sensor = _fit_sensor(sensor, scenes)
        _warn_of_what_helps_nobody(configuration, sensor, scenes)
        return cls(scenes, sensor, task, encoder)


def _warn_of_what_helps_nobody(
    configuration: Configuration, sensor: Sensor, scenes: Scenes
) -> None:
    """Warns of settings that can be meant, but seldom are."""
    enough = -(-sensor.num_visible // sensor.patches_per_glimpse)
    if configuration.num_glimpses > enough and not configuration.stop_when_all_seen:
        warn(
            f"num_glimpses={configuration.num_glimpses}: {enough} can show all that there is to "
            f"see, {sensor.num_visible} patches; take fewer, or let episodes end where all "
            "is seen (stop_when_all_seen=True)"
        )
    if configuration.wrap_azimuth and not scenes.seamless:
        warn(
            f"wrap_azimuth=True: the left and right edges of the {scenes.name!r} scenes do not "
            "meet, so that a glimpse joins what is far apart; pass seamless=True if they are "
            "360-degree panoramas, else leave wrap_azimuth out"
        )


def _fit_sensor(sensor: Any, scenes: Scenes) -> Sensor:
    """Tells a sensor that asks for it whether the edges of the scenes meet."""
    if "seamless" in {field.name for field in dataclasses.fields(sensor)}:
        return dataclasses.replace(sensor, seamless=scenes.seamless)
    return sensor

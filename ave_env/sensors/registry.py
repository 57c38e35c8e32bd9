"""The table of sensors; imports nothing before it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoders.support.registry import Registry

if TYPE_CHECKING:
    from ave_env.sensors.base import Sensor

SENSORS: Registry[type[Sensor]] = Registry(
    "sensor", "ave_env.sensors", {"grid": "ave_env.sensors.grid:GridSensor"}
)

register_sensor = SENSORS.register

"""An environment in a few lines, for notebooks and debuggers."""

from __future__ import annotations

from typing import Any

from ave_env.sensors.base import FiniteSensor


def describe(kind: str, env: Any, **more: Any) -> str:
    """What is explored, by what, and what for.

    Args:
        kind: What to call the environment.
        env: The vector environment.
        **more: Further lines by name.
    """
    scenes, sensor, configuration = env.scenes, env.sensor, env.configuration
    places = f" at {sensor.num_actions} places" if isinstance(sensor, FiniteSensor) else ""
    lines = {
        "scenes": (
            f"{scenes.name}, {scenes.split}: {len(scenes):,} of {_size(scenes.image_size)} pixels "
            f"in {len(scenes.class_names)} classes"
        ),
        "sensor": f"{sensor.name}: {_size(sensor.glimpse_shape[:2])} pixels{places}",
        "num_glimpses": env.num_glimpses,
        "task": env.task.name,
        "encoder": env.observer.description if env.observer is not None else None,
        "observe": ", ".join(configuration.observe) if env.observer is not None else None,
        **more,
    }
    shown = (f"  {name}: {value}\n" for name, value in lines.items() if value is not None)
    return f"{kind}(\n{''.join(shown)})"


def _size(sides: tuple[int, ...]) -> str:
    return "x".join(map(str, sides))

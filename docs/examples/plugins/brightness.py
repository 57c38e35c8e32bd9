"""A task of one's own: know the mean colour of the whole scene.

    python eval_agent.py --task brightness:Brightness --agents random --encoder tore-nano

with this folder on Python's path. The answer is read off the painted scene, so that any encoder
with a decoder can be asked.
"""

import numpy as np

from ave_env.tasks.base import Task
from ave_env.tasks.metrics import Metric
from ave_env.tasks.registry import register_task


def brightness_error(columns):
    """How far the mean over the three channels is off, in grey levels."""
    return np.abs(columns["believed_brightness"] - columns["true_brightness"])


@register_task
class Brightness(Task):
    """Know the scene's mean colour; scored by minus the distance to it in grey levels (0-255)."""

    name = "brightness"
    requires = ("reconstruction",)
    targets = ("mean_colour",)
    columns = ("colour_error", "believed_brightness", "true_brightness")
    metrics = (
        Metric(
            name="colour_error",
            label="error of the mean colour",
            heading="colour\nerror",
            unit="grey levels",
            better="lower",
        ),
        Metric(
            name="brightness_error",
            label="error of the brightness",
            heading="brightness\nerror",
            unit="grey levels",
            better="lower",
            value=brightness_error,
            in_info=False,
        ),
    )

    def target(self, name, scenes, index):
        """The mean colour of a scene, float64 `[3]`: no scenes know it, so it is worked out."""
        return scenes.target("image", index).mean(axis=(0, 1))

    def score(self, belief, truth):
        """Minus the Euclidean distance between believed and true mean colour, float64 `[N]`."""
        believed = mean_colours(belief["reconstruction"])
        return -np.linalg.norm(believed - np.stack(truth.targets["mean_colour"]), axis=1)

    def measure(self, belief, truth):
        """The columns, float64 `[N]`."""
        return {
            "colour_error": -self.score(belief, truth),
            "believed_brightness": mean_colours(belief["reconstruction"]).mean(axis=1),
            "true_brightness": np.stack(truth.targets["mean_colour"]).mean(axis=1),
        }


def mean_colours(images: np.ndarray) -> np.ndarray:
    """Mean colour of each image, float64 `[N, 3]`."""
    return images.mean(axis=(1, 2))

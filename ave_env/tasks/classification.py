"""Say which class a scene belongs to."""

from __future__ import annotations

import dataclasses

import numpy as np

from ave_env.scenes.base import Scenes
from ave_env.tasks.base import Beliefs, Task, Truth
from ave_env.tasks.calibration import calibration_error
from ave_env.tasks.metrics import Columns, Metric


class Classification(Task):
    """Say which class the scene belongs to; scored by the log-probability of the true class.

    Args:
        num_classes: Classes that a scene may be of.
    """

    name = "classification"
    requires = ("logits",)
    columns = ("prediction", "correct", "rank", "confidence", "log_probability")

    def __init__(self, num_classes: int) -> None:
        # Of five classes or fewer the true one could hardly not be among the five most probable.
        dropped = () if num_classes > 5 else ("top5_accuracy",)
        guessed = {"accuracy": 1 / num_classes, "top5_accuracy": 5 / num_classes}
        self.metrics = tuple(
            dataclasses.replace(each, chance=guessed.get(each.name))
            for each in METRICS
            if each.name not in dropped
        )

    @classmethod
    def of(cls, scenes: Scenes) -> Classification:
        """The task for the classes of some scenes.

        Raises:
            ValueError: The scenes have no classes.
        """
        if not scenes.labelled:
            raise ValueError(
                f"the {scenes.name!r} scenes have no classes to tell apart; use "
                "task='reconstruction' (--task reconstruction), or give them classes: a folder per "
                "class, labels of ArrayScenes"
            )
        return cls(len(scenes.class_names))

    def score(self, belief: Beliefs, truth: Truth) -> np.ndarray:
        """Log-probability of the true class in nats, float64 `[N]`."""
        labels = truth.labels
        return log_softmax(belief["logits"])[np.arange(len(labels)), labels]

    def measure(self, belief: Beliefs, truth: Truth) -> dict[str, np.ndarray]:
        """How the belief about classes compares with the truth.

        Returns:
            `prediction` int64, `correct` bool, `rank` (classes more probable than the true one)
            int64, `confidence` (of the prediction) float64 and `log_probability` (of the truth, in
            nats) float64, all `[N]`.
        """
        log_probabilities = log_softmax(belief["logits"])
        true = np.take_along_axis(log_probabilities, truth.labels[:, None], axis=1)
        prediction = log_probabilities.argmax(axis=1)
        return {
            "prediction": prediction,
            "correct": prediction == truth.labels,
            "rank": (log_probabilities > true).sum(axis=1),
            "confidence": np.exp(log_probabilities.max(axis=1)),
            "log_probability": true[:, 0],
        }


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities, float64, of logits `[N, C]`."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _correct(columns: Columns) -> np.ndarray:
    return columns["correct"]


def _among_five(columns: Columns) -> np.ndarray:
    return columns["rank"] < 5


def _surprise(columns: Columns) -> np.ndarray:
    return -columns["log_probability"]


# `info` has its own keys for what was predicted and whether it is right.
METRICS = (
    Metric(
        name="accuracy",
        label="accuracy",
        unit="%",
        better="higher",
        scale=100,
        format=".1f",
        limits=(0, 100),
        value=_correct,
        in_info=False,
    ),
    Metric(
        name="top5_accuracy",
        label="top-5 accuracy",
        heading="top-5\naccuracy",
        unit="%",
        better="higher",
        scale=100,
        format=".1f",
        limits=(0, 100),
        value=_among_five,
        in_info=False,
    ),
    Metric(
        name="negative_log_likelihood",
        label="negative log-likelihood",
        heading="neg. log-\nlikelihood",
        unit="nats",
        better="lower",
        value=_surprise,
        in_info=False,
    ),
    Metric(
        name="calibration_error",
        label="calibration error",
        heading="calibration\nerror (%)",
        unit="%",
        better="lower",
        scale=100,
        format=".1f",
        aggregate=calibration_error,
        in_info=False,
    ),
)

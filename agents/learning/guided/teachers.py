"""Who knows what each patch of a scene is worth seeing: teachers, who look at the whole scene.

They serve in training only; the agent that learns from them sees its glimpses and nothing else.
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from agents.learning.guided.config import GuidedConfig
from ave_env.vector import ActiveExplorationVectorEnv
from encoders.analysis.saliency import ClassSaliency
from encoders.support.notices import warn


class Teacher(abc.ABC):
    """Says what each patch is worth seeing, in the scenes of all rows of an environment.

    Args:
        env: Whose scenes it looks at.
        precision: Of matrix products, where it needs any.

    Attributes:
        name: What records call it.
        knows: What it is told that no observation shows, in words.
        flops: Multiply-accumulates that it has taken so far.
    """

    name: ClassVar[str]
    knows: ClassVar[str]

    def __init__(self, env: ActiveExplorationVectorEnv, precision: str) -> None:
        self.env = env
        self.precision = precision
        self.flops = 0

    @abc.abstractmethod
    def worth(self) -> Tensor:
        """Worth of every patch as the rows stand now, float32 `[N, G]`, at least 0.

        Only ratios within a row mean something; what was seen is worth nothing to the learner,
        whatever is said of it here.
        """

    def state(self) -> dict[str, Any]:
        """What it remembers, as tensors and plain data."""
        return {"flops": self.flops}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what `state` returned."""
        self.flops = state["flops"]


class SaliencyTeacher(Teacher):
    """Classification: the patches that the encoder reads the true class from in a whole scene.

    The map of a scene (`encoders.analysis.saliency`) does not depend on what was seen; it is
    computed once and kept, 4 bytes a patch.
    """

    name = "saliency"
    knows = "the whole scene and its class"

    def __init__(self, env: ActiveExplorationVectorEnv, precision: str) -> None:
        super().__init__(env, precision)
        assert env.observer is not None
        self._saliency = ClassSaliency(env.observer.encoder, precision)
        self._maps: dict[int, Tensor] = {}

    def worth(self) -> Tensor:
        """Saliency of every patch, 1 for the most salient of a scene."""
        scene_ids = self.env.scene_ids.tolist()
        fresh = {scene: row for row, scene in enumerate(scene_ids) if scene not in self._maps}
        if fresh:
            rows = list(fresh.values())
            images = torch.from_numpy(self.env.images[rows])
            maps = self._saliency(images, torch.from_numpy(self.env.labels[rows])).flatten(1)
            maps = maps / maps.amax(dim=1, keepdim=True).clamp(min=1e-12)
            self._maps |= zip(fresh, maps, strict=True)
            self.flops += len(rows) * self._saliency.flops_per_scene
        return torch.stack([self._maps[scene] for scene in scene_ids])

    def state(self) -> dict[str, Any]:
        """The maps, so that none is computed again, in another batch with other last digits."""
        maps = torch.stack(list(self._maps.values())) if self._maps else torch.zeros(0, 0)
        return {**super().state(), "scenes": torch.tensor(list(self._maps)), "maps": maps}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes the maps back."""
        super().restore(state)
        self._maps = dict(zip(state["scenes"].tolist(), state["maps"], strict=True))


class ErrorTeacher(Teacher):
    """Reconstruction: the squared error of what the belief paints, as it stands, patch by patch."""

    name = "error"
    knows = "the whole scene"

    def worth(self) -> Tensor:
        """Mean squared error of every patch, in grey levels."""
        painted, images = self.env.belief["pixels"], self.env.images
        count, height, width, channels = images.shape
        rows, columns = self.env.sensor.grid
        error = painted.astype(np.float32) - images
        cut = (count, rows, height // rows, columns, width // columns * channels)
        squares = np.square(error, out=error).reshape(cut).mean(axis=(2, 4))
        return torch.from_numpy(squares.reshape(count, rows * columns))


TEACHERS: dict[str, type[Teacher]] = {
    "classification": SaliencyTeacher,
    "reconstruction": ErrorTeacher,
}
"""By the name of the task."""


def find_teacher(env: ActiveExplorationVectorEnv, config: GuidedConfig) -> Teacher | None:
    """The teacher for an environment's task; None where all is learnt by looking ahead.

    Where no teacher knows the task, or the one that does cannot follow the encoder back to the
    patches of a scene, that is said, and looking ahead takes its place.
    """
    if config.look_ahead_share == 1:
        return None
    kind = TEACHERS.get(env.task.name)
    if kind is None:
        why = f"no teacher knows what a patch is worth for the task {env.task.name!r}"
    else:
        try:
            return kind(env, config.precision)
        except ValueError as error:
            why = str(error)
    warn(f"{why}; what glimpses are worth is learnt by trying them on forks (look-ahead) instead")
    return None

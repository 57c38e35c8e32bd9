"""How exploring goes on: scenes are drawn, glimpses taken, beliefs scored, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ave_env import info as info_layout
from ave_env.configuration import Configuration
from ave_env.episodes import Episodes, Rows
from ave_env.generators import RowGenerators
from ave_env.parts import Parts
from ave_env.resets import LEFT_OPEN, ResetOptions
from ave_env.spaces import ObservationSpace, observation_space
from ave_env.tasks.base import Truth
from ave_env.tasks.reconstruction import with_reconstruction

if TYPE_CHECKING:
    from ave_env.observer import Observer
    from encoders import Encoder

Observation = dict[str, np.ndarray]


class Exploration:
    """The world behind an environment, without Gymnasium's rules of resets and steps.

    Args:
        configuration: The settings.
        parts: What its names stand for.
        num_rows: Number of rows N.

    Attributes:
        observer: The encoder, its memory and its belief; None without an encoder.
        episodes: What has happened so far in the episode of every row.
        generators: The random generators of all rows.
        started: Rows that have ever begun an episode, bool `[N]`.
        belief: Parts of the belief by name, `[N, ...]` each; not to be written to. Empty without an
            encoder.

    Raises:
        ValueError: An encoder that cannot compute what is asked of it.
    """

    def __init__(self, configuration: Configuration, parts: Parts, num_rows: int) -> None:
        self.configuration = configuration
        self.scenes, self.sensor, self.task = parts.scenes, parts.sensor, parts.task
        self.num_rows = num_rows
        self.observer = self._make_observer(parts.encoder)
        self.episodes = Episodes(
            num_rows,
            self.sensor,
            configuration.num_glimpses,
            self.task.targets,
            stop_when_all_seen=configuration.stop_when_all_seen,
        )
        self.generators = RowGenerators(num_rows)
        self.started = np.zeros(num_rows, np.bool_)
        self.belief: Mapping[str, np.ndarray] = {}

    @property
    def truth(self) -> Truth:
        """What is so, and what no observation shows."""
        episodes = self.episodes
        return Truth(
            read_only(episodes.images),
            read_only(episodes.labels),
            read_only(episodes.visited),
            episodes.targets,
        )

    @property
    def observation_space(self) -> ObservationSpace:
        """What one row observes."""
        observed = {}
        if self.observer is not None:
            shapes = self.observer.shapes | {"reconstruction": (*self.sensor.image_size, 3)}
            observed = {name: shapes[name] for name in self.configuration.observe}
        return observation_space(self.sensor, observed)

    def begin(self, options: ResetOptions) -> None:
        """Begins an episode in the rows of the mask."""
        episodes = self.episodes
        rows = np.flatnonzero(options.mask)
        for row in rows.tolist():
            scene = LEFT_OPEN if options.scene_ids is None else int(options.scene_ids[row])
            if scene == LEFT_OPEN:
                scene = int(self.generators[row].integers(len(self.scenes)))
            episodes.images[row] = self.scenes.load(scene)
            episodes.scene_ids[row] = scene
            episodes.labels[row] = self.scenes.labels[scene]
            for name, values in episodes.targets.items():
                values[row] = self.task.target(name, self.scenes, scene)
        episodes.clear(rows)
        self.started |= options.mask
        if self.observer is not None:
            self.observer.reset(options.mask)
        if options.starts is not None:
            looking = rows[options.starts[rows] != LEFT_OPEN]
            self.look(options.starts[looking], looking)
        self._update_belief()
        episodes.scores = self._score()
        episodes.rewards[rows] = 0.0

    def look(self, actions: np.ndarray, rows: Rows) -> None:
        """Takes a glimpse in some rows and brings belief, costs and rewards up to date."""
        if not len(actions):  # all rows have just begun, and a sensor need not look at nothing
            return
        episodes, numbers = self.episodes, np.arange(self.num_rows)[rows]
        glimpse = self.sensor.look(episodes.images[rows], actions, self.generators.of(numbers))
        new = episodes.add(glimpse, rows)
        if self.observer is None:
            return
        if self.configuration.overlap == "keep":
            new = glimpse.patch_ids >= 0
        to_encode = np.where(new, glimpse.patch_ids, -1)
        spent, from_scratch = self.observer.observe(glimpse, to_encode, numbers)
        episodes.tokens[:] = self.observer.tokens
        episodes.charge(spent, from_scratch, rows)
        self._update_belief()
        scores = self._score()
        episodes.rewards[rows] = (scores - episodes.scores)[rows]
        episodes.scores = scores

    def observation(self) -> Observation:
        """What every row sees now: new arrays `[N, ...]`."""
        episodes = self.episodes
        progress = (episodes.steps / self.episodes.num_glimpses).astype(np.float32)
        observation: Observation = {
            "glimpse": episodes.glimpses.copy(),
            "position": episodes.positions.copy(),
            "visited": episodes.visited.copy(),
            "progress": progress[:, None],
        }
        if self.observer is not None:
            for name in self.configuration.observe:
                observation[name] = self.belief[name].copy()
        return observation

    def info(self) -> dict[str, np.ndarray]:
        """What is known about every row: new arrays `[N, ...]`."""
        episodes = self.episodes
        fields = info_layout.fields(episodes, self.sensor, self.belief.get("logits"))
        if self.observer is None:
            return fields | self.task.info(None, self.truth, None)
        return fields | self.task.info(self.belief, self.truth, episodes.scores)

    def _update_belief(self) -> None:
        """Takes over what the encoder believes, with what is known pasted into what it paints."""
        if self.observer is None:
            return
        episodes = self.episodes
        self.belief = with_reconstruction(self.observer.belief, episodes.images, episodes.visited)

    def _score(self) -> np.ndarray:
        """The task's score of every row's belief, float64 `[N]`."""
        if self.observer is None:
            return np.zeros(self.num_rows)
        return self.task.score(self.belief, self.truth)

    def _make_observer(self, encoder: Encoder | None) -> Observer | None:
        if encoder is None:
            return None
        from ave_env.observer import Observer  # brings torch

        return Observer.of(
            self.configuration,
            encoder,
            scenes=self.scenes,
            sensor=self.sensor,
            parts=tuple(dict.fromkeys((*self.configuration.observe, *self.task.requires))),
            num_envs=self.num_rows,
        )


def read_only(array: np.ndarray) -> np.ndarray:
    """A view that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view

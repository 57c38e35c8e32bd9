"""The environment: many episodes of active visual exploration, stepped as one batch."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ave_env import info as info_layout
from ave_env.actions import ActionCheck
from ave_env.configuration import Configuration
from ave_env.description import describe
from ave_env.episodes import EVERY_ROW, Rows
from ave_env.exploration import Exploration, Observation, read_only
from ave_env.generators import parse_seeds
from ave_env.parts import Parts
from ave_env.rendering import Snapshot, draw
from ave_env.resets import ResetOptions, parse_autoreset_mode
from ave_env.sensors.base import FiniteSensor
from ave_env.snapshots import take_snapshot
from ave_env.tasks.base import Truth


class ActiveExplorationVectorEnv(VectorEnv[Observation, np.ndarray, np.ndarray]):
    """Many scenes explored at once, glimpse by glimpse; the encoder runs once per step for all.

    `ActiveExplorationEnv` documents what one row is; row `i` behaves like one of those seeded
    `seed + i`, whatever the other rows do.

    Args:
        num_envs: Number of rows N.
        autoreset_mode: What happens to a row whose episode has ended, as an `AutoresetMode`, its
            name or its value: NEXT_STEP begins a new episode in the following step, which ignores
            the row's action; SAME_STEP begins it at once and leaves the end in `final_obs` and
            `final_info`; DISABLED leaves it to `reset(options={"reset_mask": ...})`, and a row that
            has seen everything (`stop_when_all_seen`) rests while others go on.
        render_mode: None or "rgb_array".
        configuration: The settings as one object, in the place of `**settings`.
        parts: What the configuration's names stand for, to be shared with other environments;
            None = they are opened.
        **settings: The fields of `Configuration`.

    Attributes:
        configuration: The settings.
        scenes: Where images come from.
        sensor: What a glimpse is.
        task: What is asked of the belief.
        observer: The encoder, its memory and its belief; None without an encoder.

    Raises:
        TypeError: An unknown keyword argument.
        ValueError: A value that is not among those accepted.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (as Gymnasium declares it)
        "render_modes": ["rgb_array"],
        "render_fps": 2,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        configuration: Configuration | None = None,
        parts: Parts | None = None,
        **settings: Any,
    ) -> None:
        if configuration is not None and settings:
            raise ValueError(
                f"a configuration is given and {', '.join(settings)} beside it; change the "
                "configuration with dataclasses.replace"
            )
        if not isinstance(num_envs, int | np.integer) or num_envs < 1:
            raise ValueError(f"num_envs={num_envs!r}; expected an integer of at least 1")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(
                f"render_mode={render_mode!r}; expected None or 'rgb_array', whose frames "
                "Gymnasium's wrappers HumanRendering (it needs pygame: pip install "
                "'active-visual-exploration[human]') and RenderCollection show or collect"
            )
        self.num_envs = int(num_envs)
        self.autoreset_mode = parse_autoreset_mode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode = render_mode
        self.configuration = configuration or Configuration.from_keywords(settings)
        parts = parts or Parts.open(self.configuration)
        self.scenes = parts.scenes
        self.sensor = parts.sensor
        self.task = parts.task
        self._exploration = Exploration(self.configuration, parts, self.num_envs)
        self.observer = self._exploration.observer
        self._episodes = self._exploration.episodes
        self._generators = self._exploration.generators

        self._actions = ActionCheck(self.sensor.action_space)
        self.single_action_space = copy.deepcopy(self.sensor.action_space)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.single_observation_space = self._exploration.observation_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def __repr__(self) -> str:
        if "_episodes" not in vars(self):  # being made
            return object.__repr__(self)
        return describe(type(self).__name__, self, num_envs=self.num_envs)

    # What an agent with privileges, a test or a figure may look at -------------------------------

    @property
    def num_glimpses(self) -> int:
        """Most glimpses in an episode."""
        return self.configuration.num_glimpses

    @property
    def images(self) -> np.ndarray:
        """The whole scenes, uint8 `[N, H, W, 3]`, read-only; no observation shows them."""
        return read_only(self._episodes.images)

    @property
    def labels(self) -> np.ndarray:
        """True classes, int64 `[N]`, read-only."""
        return read_only(self._episodes.labels)

    @property
    def scene_ids(self) -> np.ndarray:
        """Numbers of the scenes in `scenes`, int64 `[N]`, read-only."""
        return read_only(self._episodes.scene_ids)

    @property
    def visited(self) -> np.ndarray:
        """Patches seen so far, uint8 0/1 `[N, grid_h, grid_w]`, read-only."""
        return read_only(self._episodes.visited)

    @property
    def belief(self) -> Mapping[str, np.ndarray]:
        """Parts of the belief by name, `[N, ...]` each; not to be written to.

        Beside what the encoder was asked for, `reconstruction` where there are `pixels`: the same
        with the truth pasted in where a glimpse has shown it. Empty without an encoder.
        """
        return self._exploration.belief

    @property
    def truth(self) -> Truth:
        """What is so, and what no observation shows."""
        return self._exploration.truth

    @property
    def scores(self) -> np.ndarray:
        """The task's score of each row's belief, float64 `[N]`; zeros without an encoder."""
        return read_only(self._episodes.scores)

    @property
    def scores_mean_something(self) -> bool:
        """Whether there is a belief to score, and its class head was trained for these classes."""
        if self.observer is None:
            return False
        return "logits" not in self.task.requires or self.observer.trained_head

    def action_masks(self) -> np.ndarray:
        """Actions that show something new, bool `[N, n]`, as sb3-contrib asks for them.

        A row that has seen everything gets all actions, for a policy needs one to choose.

        Raises:
            TypeError: The sensor can look at more than a finite number of places.
        """
        if not isinstance(self.sensor, FiniteSensor):
            raise TypeError(
                f"the sensor {self.sensor.name!r} can look anywhere in {self.sensor.action_space}, "
                "so that there are no masks of its actions"
            )
        masks = self.sensor.reveals(self._episodes.visited).view(np.bool_)
        masks[~masks.any(axis=1)] = True
        return masks

    # Gymnasium's interface -----------------------------------------------------------------------

    @property  # type: ignore[override]
    def np_random(self) -> tuple[np.random.Generator, ...]:
        """One generator per row, as in `SyncVectorEnv`."""
        return self._generators.all()

    @np_random.setter  # type: ignore[override]
    def np_random(self, value: Sequence[np.random.Generator]) -> None:
        self._generators.replace(value)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seed of each row's generator; -1 where it is not known."""
        return self._generators.seeds

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins new episodes.

        Args:
            seed: Of the scenes drawn from now on: `seed + i` for row i, or a list of one per row.
            options: `scene_id` and `start` (one integer, int64 `[N]`, or a list with None for rows
                in which it is left open; see `ActiveExplorationEnv.reset`) and `reset_mask` (bool
                `[N]`, rows to reset).

        Returns:
            Observations of all rows and information about those that were reset.

        Raises:
            TypeError: A seed or option of the wrong type.
            ValueError: An unknown option, a wrong shape, or a value out of range.
        """
        seeds = parse_seeds(seed, self.num_envs)
        chosen = ResetOptions.parse(
            options,
            num_envs=self.num_envs,
            num_scenes=len(self.scenes),
            num_actions=getattr(self.sensor, "num_actions", None),
            num_glimpses=self.num_glimpses,
        )
        self._generators.seed(seeds, chosen.mask)
        self._exploration.begin(chosen)
        rows = None if chosen.mask.all() else chosen.mask
        information = info_layout.with_masks(self._exploration.info(), rows)
        return self._exploration.observation(), information

    def step(
        self, actions: np.ndarray
    ) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Takes one glimpse in every row.

        Args:
            actions: Members of `action_space`: for the grid sensor integers `[N]` in `[0, n)`.

        Returns:
            Observations, rewards float64 `[N]`, terminations bool `[N]`, truncations bool `[N]`
            (never true) and information.

        Raises:
            gymnasium.error.ResetNeeded: Before the first reset; with autoreset DISABLED, a row
                whose episode has ended.
            ValueError: Actions of another shape or dtype, or out of range.
        """
        actions = self._actions.batch(actions, self.num_envs)
        exploration, episodes = self._exploration, self._episodes
        if not exploration.started.all():
            self._refuse("has not begun", ~exploration.started)
        rows: Rows = EVERY_ROW
        ended = episodes.ended
        if ended.any():
            over = ended if ended.all() else episodes.used_up
            if self.autoreset_mode is AutoresetMode.DISABLED and over.any():
                self._refuse("has ended", over)
            rows = np.flatnonzero(~ended)
        self._actions.members(actions, rows)
        if rows is not EVERY_ROW:
            if self.autoreset_mode is AutoresetMode.DISABLED:
                episodes.rest(ended)
            else:
                exploration.begin(ResetOptions(ended))
        exploration.look(actions[rows], rows)

        terminations = episodes.ended
        rewards = episodes.rewards.copy()
        final: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.SAME_STEP and terminations.any():
            final = info_layout.final(exploration.observation(), exploration.info(), terminations)
            exploration.begin(ResetOptions(terminations))
        information = info_layout.with_masks(exploration.info())
        truncations = np.zeros(self.num_envs, np.bool_)
        return (
            exploration.observation(),
            rewards,
            terminations,
            truncations,
            {**final, **information},
        )

    def render(self) -> tuple[np.ndarray, ...] | None:
        """One RGB frame per row, uint8 `[H', W', 3]`; None without a render mode."""
        if self.render_mode is None:
            gym.logger.warn(
                "render() needs a render mode: make the environment with render_mode='rgb_array'"
            )
            return None
        return tuple(draw(self.snapshot(row)) for row in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Closes the files of the scenes; they open again should they be read again."""
        scenes = getattr(self, "scenes", None)  # none where a wrong argument ended the making
        if close := getattr(scenes, "close", None):
            close()

    def snapshot(self, row: int) -> Snapshot:
        """All that a picture of one row shows."""
        return take_snapshot(
            self._episodes,
            row,
            belief=self.belief,
            observer=self.observer,
            scenes=self.scenes,
        )

    # Checks --------------------------------------------------------------------------------------

    def _refuse(self, state: str, rows: np.ndarray) -> None:
        raise gym.error.ResetNeeded(
            f"step() where the episode of rows {np.flatnonzero(rows).tolist()} {state}: call "
            "reset() first (options={'reset_mask': ...} resets some rows of a vector environment)"
        )

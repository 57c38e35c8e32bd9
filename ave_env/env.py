"""One episode of active visual exploration at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

from ave_env import info as info_layout
from ave_env.configuration import Configuration
from ave_env.description import describe
from ave_env.resets import OPTIONS, check_names
from ave_env.scenes import Scenes
from ave_env.sensors.base import Sensor
from ave_env.tasks.base import Task
from ave_env.vector import ActiveExplorationVectorEnv, Observation

if TYPE_CHECKING:
    from ave_env.observer import Observer


class ActiveExplorationEnv(gym.Env[Observation, Any]):
    """Look at a hidden scene one glimpse at a time, and choose where to look next.

    ## Description

    A scene is hidden. The agent looks at it one glimpse at a time, a square window of patches, and
    chooses after each where to look next. A Vision Transformer turns the glimpses into a belief
    about the whole scene; the environment rewards what each glimpse adds to it.

    The Transformer recycles tokens (TORE, WACV 2025): it encodes each glimpse once and keeps the
    result, so that a step costs little. `info` says how many multiply-accumulates each step took.

    | id | scenes | image | glimpses |
    | --- | --- | --- | --- |
    | `AVE-Synthetic-v0` | procedural 360-degree panoramas, 26 categories | 128x256 | 8 |
    | `AVE-SUN360-v0` | SUN360; where it is missing, the above and a warning | 128x256 | 8 |
    | `AVE-ImageNet-v0` | ImageNet photographs | 224x224 | 14 |
    | `AVE-ImageFolder-v0` | any tree of images, packed HDF5 file or array | 128x256 | 8 |
    | `AVE-Panoramas-v0` | 18 panoramas of real places, to reconstruct | 128x256 | 8 |

    ## Action Space

    `Discrete(n)`: the patch at the top left corner of the glimpse, counted row by row over all
    positions where the glimpse fits. The default, windows of 2x2 patches on a grid of 8x16, has
    7 * 15 = 105 of them; with `wrap_azimuth=True` a window may start in each of the 16 columns.

    ## Observation Space

    A flat `Dict`; every array is new at every step, and none shows a pixel that was not looked at.

    | key | shape, dtype | range | meaning |
    | --- | --- | --- | --- |
    | `glimpse` | (h, w, 3) uint8 | 0-255 | pixels of the newest glimpse; zeros before the first |
    | `position` | (2,) float32 | 0-1 | its centre (y, x); zeros before the first |
    | `visited` | (grid_h, grid_w) uint8 | 0-1 | patches seen so far |
    | `progress` | (1,) float32 | 0-1 | glimpses taken / glimpses in an episode |
    | `latent` | (D,) float32 | finite | the encoder's summary of what was seen |
    | `logits` | (C,) float32 | finite | the class head's scores |
    | `entropy` | (grid_h, grid_w) float32 | >= 0 | attention-map entropy in bits, as in AME |
    | `normalised_entropy` | (grid_h, grid_w) float32 | >= 0 | the same without the class token |
    | `cells` | (grid_h, grid_w, Dd) float32 | finite | the decoder's features of each patch |
    | `reconstruction` | (H, W, 3) uint8 | 0-255 | the scene as the belief paints it |
    | `regions` | (N, 4) float32 | finite | where the latent tokens look: y0, x0, y1, x1 in 0-1 |

    The first four are always there, the others where `observe` names them; without an encoder there
    are none of them. `entropy`, `normalised_entropy`, `cells` and `reconstruction` need an encoder
    with a decoder, `regions` one whose latent tokens have regions (`sparseformer`), which may reach
    beyond the scene.

    ## Rewards

    - `task="classification"`: what the log-probability of the true class (in nats) has gained since
      the step before. An episode's rewards add up to the final log-probability less that of the
      belief before any glimpse.
    - `task="reconstruction"`: by how much the root mean squared error (0-255, over all pixels, seen
      ones pasted in) has dropped since the step before.
    - `encoder=None`: 0.

    ## Starting State

    A scene is drawn uniformly from the split, and nothing of it is known. The belief before any
    glimpse is a constant of the encoder's weights and is charged to no episode.

    ## Episode End

    `terminated` after `num_glimpses` glimpses; with `stop_when_all_seen=True` also when there is
    nothing new to see. Never `truncated`.

    ## Information

    The same keys, types and shapes at every step and at reset:

    | key | type | meaning |
    | --- | --- | --- |
    | `scene_id` | int | number of the scene in its split |
    | `label` | int | its true class |
    | `step` | int | glimpses taken |
    | `glimpse_box` | int64 (4,) | y0, x0, y1, x1 in pixels; zeros before the first glimpse |
    | `coverage` | float | share of the patches seen |
    | `tokens` | int | tokens the encoder has cached |
    | `action_mask` | int8 (n,) | 1 where an action shows at least one new patch |
    | `flops` | int | multiply-accumulates of this step, the sum of the four parts below |
    | `flops_total` | int | multiply-accumulates of the episode so far |
    | `flops_extractor` | int | of this step: patch embedding and the first `split_block` blocks |
    | `flops_aggregator` | int | of this step: the other blocks |
    | `flops_decoder` | int | of this step: the decoder |
    | `flops_head` | int | of this step: the class head |
    | `flops_without_recycling` | int | this step, had everything seen been encoded again |
    | `prediction` | int | most probable class; -1 where no logits are computed |
    | `is_success` | bool | at the end: whether the prediction is right |
    | `rmse` | float | reconstruction only: the error above; -1 without an encoder |

    One multiply-accumulate counts as one. With `overlap="dedup"`, a glimpse that shows nothing new
    is not encoded: it costs nothing and changes no belief.

    ## Arguments

    ```python
    import gymnasium as gym

    env = gym.make("ave_env:AVE-Synthetic-v0", encoder="tore-nano", split_block=4)
    ```

    | argument | default | meaning |
    | --- | --- | --- |
    | `scenes` | by id | source of the images, a `Scenes` object, or uint8 `[N, H, W, 3]` |
    | `split` | `"train"` | `"train"`, `"val"` or `"test"` |
    | `data_root` | `None` | folder or HDF5 file; `None` = as `AVE_SUN360_ROOT` etc. say |
    | `list_file` | `None` | list of image paths that decides the splits of SUN360 |
    | `seamless` | `None` | whether the edges meet, as in 360-degree panoramas; `None` = by source |
    | `seed` | `0` | seed of the procedural scenes (episodes are seeded by `reset`) |
    | `cache_bytes` | `None` | memory for decoded scenes; `0` = none, `None` = up to 1 GiB (below) |
    | `sensor` | `"grid"` | what a glimpse is: a registered sensor, or `package.module:name` |
    | `sensor_options` | `{}` | further options of the sensor |
    | `image_size` | `(128, 256)` | height and width in pixels (ImageNet: `(224, 224)`) |
    | `patch_size` | `16` | side of a patch in pixels |
    | `glimpse_size` | `2` | side of a glimpse in patches |
    | `num_glimpses` | `8` | glimpses in an episode (ImageNet: `14`) |
    | `stop_when_all_seen` | `False` | an episode also ends once there is nothing new to see |
    | `wrap_azimuth` | `False` | glimpses go on at the left edge where they leave the right one |
    | `overlap` | `"dedup"` | `"dedup"` encodes a patch once, `"keep"` every time it is seen |
    | `task` | `"classification"` | `"classification"` or `"reconstruction"`, or a registered one |
    | `encoder` | `"tore-nano"` | name, folder, a built encoder, or `None` for glimpses alone |
    | `encoder_options` | `{}` | options of the encoder's family |
    | `split_block` | `None` | TORE's K: blocks run on each glimpse alone; `None` = its own |
    | `observe` | `("latent", "logits")` | parts of the belief to observe and to pay for |
    | `device` | `"auto"` | the encoder's device |
    | `precision` | `"float32"` | or `"bfloat16"`, `"int8"` (x86), `"auto"`: bfloat16 where native |
    | `threads` | `None` | threads of the encoder on the CPU; `None` = 1 for small steps, else all |
    | `render_mode` | `None` | `"rgb_array"`; with `make` also `"rgb_array_list"`, `"human"` |

    `cache_bytes=None` keeps decoded scenes of sources that are named: as much as the split needs,
    up to 1 GiB for all environments of a process and a quarter of the available memory. It keeps
    none where less than half of the split would fit (as of the 100,000 procedural scenes of
    `train`), and none in worker processes (`vectorization_mode="async"`), each of which would hold
    a copy of its own.

    A task computes, and pays for, the part of the belief that it scores even where `observe` does
    not name it. `render_mode="human"` opens Gymnasium's own window; the extra `human` brings
    what it needs: `pip install 'active-visual-exploration[human]'`.

    `reset(options={"scene_id": i, "start": a})` chooses the scene and takes the first glimpse at
    action `a`, which counts among `num_glimpses` and is charged to the episode, but earns nothing.

    ## Vectorized environment

    ```python
    import gymnasium as gym

    envs = gym.make_vec("ave_env:AVE-Synthetic-v0", num_envs=16, autoreset_mode="SAME_STEP")
    ```

    is one batched implementation, and row `i` equals a single environment seeded `seed + i`. It
    takes two more arguments, `num_envs` and `autoreset_mode`; its `reset` accepts a list of seeds,
    arrays of options, and `reset_mask`.

    Worker processes work too (`vectorization_mode="async"`, `SubprocVecEnv`, data loaders), forked
    or started afresh. In each of them the encoder has one thread: PyTorch's others do not survive a
    fork, and workers share the cores.

    ## Version History

    * v0: Initial version.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 2}  # noqa: RUF012

    def __init__(self, *, render_mode: str | None = None, **settings: Any) -> None:
        self.vector = ActiveExplorationVectorEnv(
            1, autoreset_mode=AutoresetMode.DISABLED, render_mode=render_mode, **settings
        )
        self.render_mode = render_mode
        self.action_space = self.vector.single_action_space
        self.observation_space = self.vector.single_observation_space

    def __repr__(self) -> str:
        if "vector" not in vars(self):  # being made
            return super().__repr__()
        return describe(type(self).__name__, self.vector)

    # What an agent with privileges, a test or a figure may look at; arrays have one row -----------

    @property
    def configuration(self) -> Configuration:
        """The settings."""
        return self.vector.configuration

    @property
    def num_glimpses(self) -> int:
        """Most glimpses in an episode."""
        return self.vector.num_glimpses

    @property
    def scenes(self) -> Scenes:
        """Where the scenes come from."""
        return self.vector.scenes

    @property
    def sensor(self) -> Sensor:
        """What a glimpse is."""
        return self.vector.sensor

    @property
    def task(self) -> Task:
        """What is asked of the belief."""
        return self.vector.task

    @property
    def observer(self) -> Observer | None:
        """The encoder, its cache and its belief; None without an encoder."""
        return self.vector.observer

    @property
    def images(self) -> np.ndarray:
        """The whole scene, uint8 `[1, H, W, 3]`, read-only; no observation shows it."""
        return self.vector.images

    @property
    def labels(self) -> np.ndarray:
        """True class, int64 `[1]`, read-only."""
        return self.vector.labels

    @property
    def scene_ids(self) -> np.ndarray:
        """Number of the scene in `scenes`, int64 `[1]`, read-only."""
        return self.vector.scene_ids

    @property
    def visited(self) -> np.ndarray:
        """Patches seen so far, uint8 0/1 `[1, grid_h, grid_w]`, read-only."""
        return self.vector.visited

    def action_masks(self) -> np.ndarray:
        """Actions that show something new, bool `[n]`, as sb3-contrib asks for them.

        Once everything is seen all actions are allowed, for a policy needs one to choose.
        """
        return self.vector.action_masks()[0]

    # Gymnasium's interface -----------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins an episode.

        Args:
            seed: Of the scenes drawn from now on.
            options: `scene_id`, number of a scene of the split, and `start`, an action whose
                glimpse is taken at once.

        Returns:
            The observation and information before the first choice.

        Raises:
            TypeError: An option of the wrong type.
            ValueError: An unknown option, or a value out of range.
        """
        check_names(options, OPTIONS)
        super().reset(seed=seed)
        self.vector.np_random = (self.np_random,)
        observation, info = self.vector.reset(options=options)
        return _only_row(observation), info_layout.of_single(info)

    def step(
        self, action: int | np.integer | np.ndarray
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Takes one glimpse.

        Args:
            action: Where to look, a member of `action_space`: for the grid sensor in `[0, n)`.

        Returns:
            Observation, reward, whether the glimpses are used up, False, and information.

        Raises:
            gymnasium.error.ResetNeeded: Before the first reset, or after the end of an episode.
            ValueError: An action that is no integer or out of range.
        """
        shape = self.action_space.shape or ()
        if np.shape(action) != shape:
            expected = f"an array of shape {shape}" if shape else "one integer"
            raise ValueError(f"action {action!r} has shape {np.shape(action)}; expected {expected}")
        observation, rewards, terminations, _, info = self.vector.step(np.asarray(action)[None])
        return (
            _only_row(observation),
            rewards.item(),
            terminations.item(),
            False,
            info_layout.of_single(info),
        )

    def render(self) -> np.ndarray | None:
        """One RGB frame, uint8 `[H', W', 3]`; None without a render mode."""
        frames = self.vector.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        """Releases what the scenes hold."""
        self.vector.close()


def _only_row(observation: Observation) -> Observation:
    return {key: values[0] for key, values in observation.items()}

"""The actor and critic over windows: a belief in space in, one logit per window out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym
import torch
import torch.nn.functional as F
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from agents.learning.windows.overview import Cells, Overview
from encoders.support.precision import autocast

# What the policy sees of an observation: the belief in space, and what is said of the whole scene.
SPATIAL_KEYS = ("cells", "visited")
GLOBAL_KEYS = ("latent", "logits", "progress")
POLICY_KEYS = (*SPATIAL_KEYS, *GLOBAL_KEYS)

INVALID = -1e9  # logit of windows that show nothing new


class Features(NamedTuple):
    """What `BeliefFeatures` hands to `WindowScores`.

    Attributes:
        hidden: Hidden cells `[B, grid_h, grid_w, width]`.
        cells: The cells they were made from, and where the agent has looked.
        overall: What is known of the whole scene, `[B, total]`.
    """

    hidden: Tensor
    cells: Cells
    overall: Tensor


@dataclasses.dataclass(frozen=True)
class WindowPolicyConfig:
    """Shape of the policy network.

    Attributes:
        glimpse_size: Side of a window in patches.
        wrap_azimuth: Whether windows go on at the left edge.
        width: Hidden channels per cell and per window.
        overview: Hidden units that read all cells by their place; 0 = none.
        surroundings: Hidden channels of a column that reads all cells by their distance; 0 = none.
        seamless: Whether the left and right edges of the scenes meet, for `surroundings`.
    """

    glimpse_size: int = 2
    wrap_azimuth: bool = False
    width: int = 64
    overview: int = 0
    surroundings: int = 0
    seamless: bool = False


class BeliefFeatures(BaseFeaturesExtractor):
    """Every cell's features joined with its place and with what is known of the whole scene.

    Args:
        observation_space: With `POLICY_KEYS`.
        width: Channels per cell.

    Returns (of `forward`):
        `Features`.
    """

    def __init__(self, observation_space: gym.spaces.Dict, width: int) -> None:
        super().__init__(observation_space, features_dim=width)
        cells = observation_space["cells"]
        assert isinstance(cells, gym.spaces.Box)
        rows, columns, channels = cells.shape
        total = sum(gym.spaces.flatdim(observation_space[key]) for key in GLOBAL_KEYS)
        self.grid = rows, columns
        self.channels = channels
        self.cells = nn.Linear(channels + 1, width)
        self.normalise = nn.LayerNorm(channels)
        self.place = nn.Parameter(torch.zeros(rows, columns, width))
        self.overall = nn.Linear(total, width)

    def forward(self, observation: dict[str, Tensor]) -> Features:
        """Joins cells and overall belief."""
        cells = Cells(self.normalise(observation["cells"]), observation["visited"])
        overall = torch.cat(
            [
                observation["latent"],
                observation["logits"].softmax(dim=-1),
                observation["progress"],
            ],
            dim=-1,
        )
        hidden = cells.through(self.cells) + self.place + self.overall(overall)[:, None, None]
        return Features(F.gelu(hidden), cells, overall)


class WindowScores(nn.Module):
    """A convolution whose outputs are exactly the windows; SB3's `mlp_extractor`.

    Windows that show nothing new get a logit of -1e9.

    Args:
        features: What hands the features on.
        config: Window and widths.
    """

    def __init__(self, features: BeliefFeatures, config: WindowPolicyConfig) -> None:
        super().__init__()
        grid = features.grid
        size, width = config.glimpse_size, config.width
        self.config = config
        columns = grid[1] if config.wrap_azimuth else grid[1] - size + 1
        self.latent_dim_pi = (grid[0] - size + 1) * columns
        self.latent_dim_vf = width
        self.windows = nn.Conv2d(width, width, size)
        self.score = nn.Linear(width, 1)
        self.summary = nn.Linear(width, width)
        self.overview = None
        if config.overview or config.surroundings:
            self.overview = Overview(
                grid,
                features.channels,
                features.overall.in_features,
                glimpse_size=size,
                wrap_azimuth=config.wrap_azimuth,
                seamless=config.seamless,
                by_place=config.overview,
                by_distance=config.surroundings,
            )

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        """Logits `[B, windows]` and the critic's features `[B, width]`."""
        hidden = self._windows(features)
        return self._logits(hidden, features), self._summary(hidden)

    def forward_actor(self, features: Features) -> Tensor:
        """Logits `[B, windows]`."""
        return self._logits(self._windows(features), features)

    def forward_critic(self, features: Features) -> Tensor:
        """Critic's features `[B, width]`."""
        return self._summary(self._windows(features))

    def _windows(self, features: Features) -> Tensor:
        """Hidden windows `[B, rows, columns, width]`."""
        cells = self._go_round(features.hidden)
        # Channels stay last in memory: one tensor in another order makes gradients twice as slow.
        return F.gelu(self.windows(cells.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))

    def _logits(self, hidden: Tensor, features: Features) -> Tensor:
        visited = self._go_round(features.cells.visited)
        useful = F.avg_pool2d(visited[:, None], self.config.glimpse_size, stride=1)[:, 0] < 1
        scores = self.score(hidden)[..., 0].flatten(1)
        if self.overview is not None:
            scores = scores + self.overview(features.cells, features.overall)
        # Under autocast the number that rules a window out would not fit bfloat16 exactly.
        return scores.float().masked_fill(~useful.flatten(1), INVALID)

    def _summary(self, hidden: Tensor) -> Tensor:
        return F.gelu(self.summary(hidden.mean(dim=(1, 2))))

    def _go_round(self, cells: Tensor) -> Tensor:
        """Puts the first columns behind the last where windows wrap."""
        if not self.config.wrap_azimuth:
            return cells
        return torch.cat([cells, cells[:, :, : self.config.glimpse_size - 1]], dim=2)


class WindowPolicy(ActorCriticPolicy):
    """SB3's actor-critic with one logit per window.

    Args:
        observation_space: With `POLICY_KEYS`.
        action_space: Windows of the sensor.
        lr_schedule: Learning rate by remaining progress.
        config: Shape of the network, or its fields as a dictionary.
        **kwargs: Further arguments of `ActorCriticPolicy`.
    """

    action_space: gym.spaces.Discrete
    features_extractor: BeliefFeatures
    mlp_extractor: Any  # `WindowScores`, in the place of SB3's own class
    update_dtype = torch.float32  # of matrix products where gradients are wanted

    def __init__(
        self,
        observation_space: gym.spaces.Dict,
        action_space: gym.spaces.Discrete,
        lr_schedule: Schedule,
        config: WindowPolicyConfig | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.config = (
            config
            if isinstance(config, WindowPolicyConfig)
            else WindowPolicyConfig(**(config or {}))
        )
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch=[],
            # Orthogonal initialisation would scale every layer; torch's own is what was tuned.
            ortho_init=False,
            features_extractor_class=BeliefFeatures,
            features_extractor_kwargs={"width": self.config.width},
            **kwargs,
        )

    @property
    def flops_per_action(self) -> int:
        """Multiply-accumulates of one row's forward pass through the actor."""
        features, scores = self.features_extractor, self.mlp_extractor
        windows = scores.latent_dim_pi
        per_window = scores.windows.weight.numel() + scores.score.weight.numel()
        return (
            features.grid[0] * features.grid[1] * features.channels * self.config.width
            + features.overall.weight.numel()
            + windows * per_window
            + (0 if scores.overview is None else scores.overview.flops)
        )

    def score_and_value(self, observation: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What actor and critic say of a batch, with gradients.

        Args:
            observation: `POLICY_KEYS`, `[B, ...]` each.

        Returns:
            Logits `[B, windows]`, `INVALID` for windows that show nothing new, and values `[B]`.
        """
        features: Any = self.extract_features(observation)
        logits, summary = self.mlp_extractor(features)
        return logits, self.value_net(summary)[:, 0].float()

    def evaluate_actions(self, obs: Any, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """As SB3's, with matrix products in `update_dtype`."""
        with autocast(self.device, self.update_dtype):
            values, log_probabilities, entropy = super().evaluate_actions(obs, actions)
        return values.float(), log_probabilities, entropy

    def _build_mlp_extractor(self) -> None:
        grid = self.features_extractor.grid
        self.mlp_extractor = WindowScores(self.features_extractor, self.config)
        if self.mlp_extractor.latent_dim_pi != self.action_space.n:
            raise ValueError(
                f"{self.action_space.n} actions, but a {grid} grid has "
                f"{self.mlp_extractor.latent_dim_pi} windows of {self.config.glimpse_size} patches"
            )

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        self.action_net = nn.Identity()
        make_optimizer: Callable[..., torch.optim.Optimizer] = self.optimizer_class
        self.optimizer = make_optimizer(
            self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs
        )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        for key in ("net_arch", "ortho_init", "features_extractor_class"):
            data.pop(key)
        data.pop("features_extractor_kwargs")
        return {**data, "config": dataclasses.asdict(self.config)}

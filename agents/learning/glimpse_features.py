"""What Stable-Baselines3's policies see of an observation, whatever the sensor and its size."""

from __future__ import annotations

import gymnasium as gym
import torch
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn


class GlimpseFeatures(BaseFeaturesExtractor):
    """Features of all parts of an observation, for `MultiInputPolicy` of any algorithm.

    SB3's own extractor sends images through the network that played Atari, which needs 36x36
    pixels; a glimpse is often smaller. Here an image of any size is halved until it is small,
    `cells` are narrowed one by one, and what is left is flattened. Passed as

        policy_kwargs={"features_extractor_class": agents.GlimpseFeatures}

    Args:
        observation_space: A dictionary of boxes, images with channels first or last.
        image_features: Features of an image.
        cell_features: Features of each cell of a grid of vectors.

    Raises:
        ValueError: Another space.
    """

    def __init__(
        self, observation_space: gym.Space, image_features: int = 64, cell_features: int = 8
    ) -> None:
        if not isinstance(observation_space, gym.spaces.Dict):
            raise ValueError(
                f"GlimpseFeatures reads a dictionary of parts, and observations are "
                f"{observation_space}; use SB3's MlpPolicy for observations that are flat"
            )
        parts: dict[str, nn.Module] = {}
        features = 0
        for name, space in observation_space.spaces.items():
            if not isinstance(space, gym.spaces.Box):
                raise ValueError(f"observation part {name!r} is {space}; expected a Box")
            if is_image_space(space):
                parts[name] = _Image(space, image_features)
                features += image_features
            elif len(space.shape) == 3:
                rows, columns, width = space.shape
                parts[name] = nn.Sequential(
                    nn.Linear(width, cell_features), nn.ReLU(), nn.Flatten()
                )
                features += rows * columns * cell_features
            else:
                parts[name] = nn.Flatten()
                features += gym.spaces.flatdim(space)
        super().__init__(observation_space, features)
        self.parts = nn.ModuleDict(parts)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Features of a batch.

        Args:
            observations: Parts by name, float32 `[N, ...]` as SB3 has preprocessed them: images
                divided by 255.

        Returns:
            float32 `[N, features_dim]`.
        """
        return torch.cat([part(observations[name]) for name, part in self.parts.items()], dim=1)


class _Image(nn.Module):
    """Convolutions that halve an image until its sides are at most 4 pixels."""

    def __init__(self, space: gym.spaces.Box, features: int) -> None:
        super().__init__()
        self.channels_first = is_image_space_channels_first(space)
        height, width, channels = space.shape
        if self.channels_first:
            channels, height, width = space.shape
        layers: list[nn.Module] = [nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU()]
        while max(height, width) > 4:
            layers += [nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.ReLU()]
            height, width = -(-height // 2), -(-width // 2)
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(16 * height * width, features), nn.ReLU()
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """`[N, features]` of `[N, c, h, w]` or `[N, h, w, c]`."""
        return self.layers(pixels if self.channels_first else pixels.permute(0, 3, 1, 2))

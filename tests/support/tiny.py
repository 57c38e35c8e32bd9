"""Small real parts for tests: scenes in memory, and an encoder that runs in milliseconds."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from ave_env.scenes import Scenes

IMAGE_SIZE = (64, 96)
SETTINGS = {"image_size": IMAGE_SIZE, "num_glimpses": 4}  # a grid of 4x6 patches, 15 windows
OWN_TASKS = ("classification", "reconstruction")  # other tests register more
CLASS_NAMES = ("one", "two", "three", "four", "five")


class MemoryScenes(Scenes):
    """Random images held in memory."""

    name = "memory"
    split = "train"
    seamless = False

    def __init__(self, image_size=IMAGE_SIZE, count=12, seed=0):
        rng = np.random.default_rng(seed)
        self.image_size = image_size
        self.class_names = CLASS_NAMES
        self.labels = rng.integers(0, len(CLASS_NAMES), count)
        self.images = rng.integers(0, 256, (count, *image_size, 3), dtype=np.uint8)

    def load(self, index):
        return self.images[index]


def tiny_encoder(*, class_names=CLASS_NAMES, decoder=True, image_size=IMAGE_SIZE, depth=3):
    """A small random encoder for these scenes, whose head counts as trained for `class_names`."""
    from helpers import tiny_encoder as build

    from encoders import DecoderConfig

    return build(
        vit={"embed_dim": 24, "depth": depth, "num_heads": 3},
        image_size=image_size,
        patch_size=16,
        num_classes=len(class_names),
        class_names=class_names,
        decoder=DecoderConfig(width=16, depth=1, num_heads=2) if decoder else None,
        weights="trained",
    )


@contextlib.contextmanager
def raises_naming(kind, words):
    """Expects an error of this kind whose message holds all the words."""
    with pytest.raises(kind) as error:
        yield
    missing = [word for word in words if word not in str(error.value)]
    assert not missing, f"{missing} not in {error.value}"


def _parts(settings):
    return {**SETTINGS, "scenes": MemoryScenes(), "encoder": tiny_encoder(), **settings}


def tiny_env(**settings):
    """A single environment over these scenes and this encoder."""
    from ave_env.env import ActiveExplorationEnv

    return ActiveExplorationEnv(**_parts(settings))


def tiny_vector_env(num_envs, **settings):
    """A vector environment over these scenes and this encoder."""
    from ave_env.vector import ActiveExplorationVectorEnv

    return ActiveExplorationVectorEnv(num_envs, **_parts(settings))

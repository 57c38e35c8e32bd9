"""The encoder behind the environments: what it remembers and believes of every row.

The only module of this package that runs an encoder, and that brings torch.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch

from ave_env.configuration import Configuration
from ave_env.scenes.base import Scenes
from ave_env.sensors.base import Glimpse, Sensor
from encoders.create import create_encoder
from encoders.flops.count import PARTS
from encoders.protocol import Belief, Encoder, Observed
from encoders.support.notices import warn
from encoders.support.precision import autocast, cast_for_inference, resolve_precision
from encoders.support.threads import choose_threads, using_threads

# The parts of a belief as observations call them -> the encoder output they are made from.
_ENCODER_OUTPUTS = {"reconstruction": "pixels"}


class Observer:
    """An encoder with one memory and one belief per row.

    Args:
        encoder: Turns glimpses into beliefs.
        num_envs: N.
        parts: Parts of the belief to compute, of `ave_env.configuration.OBSERVABLES`.
        options: Options of the encoder's family; those left out are the encoder's own.
        capacity: Most patches that an episode can show in one row.
        patches_per_glimpse: Most patches that one glimpse can show.
        trained_head: Whether the class head was trained for the classes of the scenes.
        precision: "float32", "bfloat16", "int8" (x86 processors alone), or "auto" for bfloat16
            where the device has it.
        threads: Threads to compute with on the CPU; None = as `encoders.support.threads` says.

    Attributes:
        encoder: The encoder.
        state: What it remembers of all rows.
        outputs: What is asked of it, in its own names.
        options: Options of its family, none left open.
        dtype: Number format of its matrix products.
        threads: Threads it computes with on the CPU; None = as many as PyTorch has.
        trained_head: Whether predictions mean anything.
        reduced: Where the encoder reduces tokens, what became of every patch, int64
            `[N, grid_h, grid_w]` by name: `tokens`, which token stands for it (0 = never seen, -1 =
            dropped), and `depth`, the blocks that it went through before it halted, 0 = never seen.
        belief: Current belief of all rows: float32 `[N, ...]` by name, `pixels` as images, uint8
            `[N, H, W, 3]`. Not to be written to.

    Raises:
        ValueError: A part that this encoder cannot compute, or an option it does not have.
    """

    def __init__(
        self,
        encoder: Encoder,
        num_envs: int,
        *,
        parts: Collection[str],
        options: Mapping[str, Any] | None = None,
        capacity: int,
        patches_per_glimpse: int,
        trained_head: bool = True,
        precision: str = "float32",
        threads: int | None = None,
    ) -> None:
        self.encoder = encoder
        self.num_envs = num_envs
        self.outputs = _encoder_outputs(parts)
        self.options = encoder.resolve_options(options or {})
        if (check := getattr(encoder, "check_glimpse_size", None)) is not None:
            check(patches_per_glimpse, self.options)
        self.trained_head = trained_head
        if "regions" in self.outputs and "regions" not in encoder.outputs:
            raise ValueError(
                f"encoder {encoder.config.name!r} of the family {encoder.family!r} has no regions "
                "to observe; choose one whose latent tokens have some, e.g. 'sparseformer', or "
                "leave 'regions' (and the agent of that name) out"
            )
        if "pixels" in self.outputs and encoder.config.patch_normalised_pixels:
            raise ValueError(
                f"the decoder of {encoder.config.name!r} predicts patches relative to their own "
                "mean and spread, not colours, so it has no reconstruction to observe or score"
            )
        self.dtype = resolve_precision(precision, encoder.device)
        self.state = encoder.init_state(num_envs, capacity)
        self._capacity = capacity
        self._patches_per_glimpse = patches_per_glimpse
        self.threads = choose_threads(threads, num_envs * self._flops_of_step())
        self.belief: dict[str, np.ndarray] = {}
        self.refresh_prior()

    @classmethod
    def of(
        cls,
        configuration: Configuration,
        encoder: Encoder,
        *,
        scenes: Scenes,
        sensor: Sensor,
        parts: Collection[str],
        num_envs: int,
    ) -> Observer:
        """Makes the observer of an environment.

        Args:
            configuration: Of the environment.
            encoder: As `open_encoder` returns it.
            scenes: What is explored.
            sensor: What a glimpse is.
            parts: Parts of the belief to compute.
            num_envs: N.

        Raises:
            ValueError: An encoder that cannot compute what is asked of it.
        """
        class_names = tuple(scenes.class_names)
        config = encoder.config
        if "logits" in parts and config.class_names is None:
            warn(
                f"the class head of encoder {config.name!r} was not trained for the "
                f"{len(class_names)} classes of the {scenes.name!r} scenes: predictions and "
                "classification rewards mean nothing until it is"
            )
        capacity = configuration.num_glimpses * sensor.patches_per_glimpse
        if configuration.overlap == "dedup":
            capacity = min(capacity, sensor.grid[0] * sensor.grid[1])
        return cls(
            encoder,
            num_envs,
            parts=parts,
            options=configuration.family_options,
            capacity=capacity,
            patches_per_glimpse=sensor.patches_per_glimpse,
            trained_head=config.class_names == class_names,
            precision=configuration.precision,
            threads=configuration.threads,
        )

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each part of one row's belief, by the encoder's names."""
        return {name: values.shape[1:] for name, values in self.belief.items()}

    @property
    def tokens(self) -> np.ndarray:
        """What the encoder remembers of each row, in its own unit, int64 `[N]`."""
        return self.state.tokens.numpy()

    @property
    def description(self) -> str:
        """The encoder and its options in a few words."""
        return self.encoder.describe(self.options)

    def refresh_prior(self) -> None:
        """Computes the belief before any glimpse anew and forgets all rows.

        To be called when the weights of the encoder have changed.
        """
        module: Any = self.encoder
        self._runner = cast_for_inference(module, self.dtype, self.num_envs)
        with using_threads(self.threads):
            with autocast(self.encoder.device, self.dtype):
                prior = self._runner.prior(self.outputs, **self.options)
            self._prior = self.parts_of(prior)
            self.reduced = {
                name: np.zeros((self.num_envs, *values.shape[1:]), np.int64)
                for name, values in self._maps(prior).items()
            }
        self.belief = {
            name: np.repeat(values, self.num_envs, axis=0) for name, values in self._prior.items()
        }
        self.state.reset(torch.arange(self.num_envs))

    def reset(self, rows: np.ndarray) -> None:
        """Forgets what was seen in some rows.

        Args:
            rows: bool `[N]`.
        """
        self.state.reset(torch.from_numpy(rows))
        for name, values in self.belief.items():
            values[rows] = self._prior[name]
        for values in self.reduced.values():
            values[rows] = 0

    def observe(
        self, glimpse: Glimpse, patch_ids: np.ndarray, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Updates the belief of the rows that see something new; the others are not run.

        Args:
            glimpse: What was seen, one entry for each of R rows.
            patch_ids: Its patches that are to be encoded, int64 `[R, n]`; -1 = none.
            rows: The rows that took a glimpse, int64 `[R]`.

        Returns:
            What that took, in multiply-accumulates by `encoders.flops.count.PARTS`, int64 `[4, N]`,
            and what it would have taken without recycling, int64 `[N]`; 0 for rows not run.
        """
        spent = np.zeros((len(PARTS), self.num_envs), np.int64)
        from_scratch = np.zeros(self.num_envs, np.int64)
        running = (patch_ids >= 0).any(axis=1)
        active = rows[running]
        if not len(active):
            return spent, from_scratch
        patches = glimpse.patches
        if not running.all():
            patches, patch_ids = patches[running], patch_ids[running]
        everyone = len(active) == self.num_envs
        with using_threads(self.threads):
            state = self.state if everyone else self.state.select(torch.from_numpy(active))
            observed = self.encode(patches, patch_ids, state, self.outputs)
            if not everyone:
                self.state.put(torch.from_numpy(active), observed.state)
            belief = self.parts_of(observed.belief)
        for name, values in belief.items():
            if everyone:
                self.belief[name] = values
            else:
                self.belief[name][active] = values
        for name, values in self._maps(observed.belief).items():
            self.reduced[name][active] = values
        spent[:, active] = observed.cost.spent.by_part()
        from_scratch[active] = observed.cost.without_recycling.total
        return spent, from_scratch

    def encode(
        self, patches: np.ndarray, patch_ids: np.ndarray, state: Any, outputs: Collection[str]
    ) -> Observed:
        """Runs the encoder as `observe` does, on a state of the caller's.

        Args:
            patches: uint8 `[R, n, p, p, 3]`.
            patch_ids: int64 `[R, n]`, row-major grid ids; -1 = not to be encoded.
            state: Of the R rows; updated in place.
            outputs: Parts of the belief to compute, in the encoder's names.
        """
        pixels = torch.from_numpy(patches).permute(0, 1, 4, 2, 3).contiguous()
        with autocast(self.encoder.device, self.dtype), using_threads(self.threads):
            return self._runner.observe(
                self.encoder.normalise(pixels),
                torch.from_numpy(patch_ids),
                state,
                outputs=outputs,
                **self.options,
            )

    def asked_for(self, parts: Collection[str], precision: str) -> Observer:
        """The same encoder and the same memory of all rows, for trying what is not taken.

        Args:
            parts: Parts of the belief that `encode` computes, as for `Observer`.
            precision: Of its matrix products.
        """
        other = copy.copy(self)
        other.outputs = _encoder_outputs(parts)
        other.dtype = resolve_precision(precision, self.encoder.device)
        module: Any = self.encoder
        other._runner = cast_for_inference(module, other.dtype)
        return other

    def flops_limit(self, num_glimpses: int) -> int:
        """The most that an episode can cost without recycling, in multiply-accumulates."""
        seen = np.arange(1, num_glimpses + 1) * self._patches_per_glimpse
        count = self.encoder.flops(
            seen.clip(max=self._capacity), 0, outputs=self.outputs, **self.options
        )
        return int(np.sum(count.total))

    def _flops_of_step(self) -> int:
        """Multiply-accumulates of a glimpse in the middle of an episode, of one row."""
        count = self.encoder.flops(
            self._patches_per_glimpse, self._capacity // 2, outputs=self.outputs, **self.options
        )
        return int(count.total)

    def _maps(self, belief: Belief) -> dict[str, np.ndarray]:
        """What became of every patch, `[R, grid_h, grid_w]` by name."""
        if belief.reduced is None:
            return {}
        maps = belief.reduced.maps()
        grid = self.encoder.grid
        return {name: values.cpu().numpy().reshape(-1, *grid) for name, values in maps.items()}

    def parts_of(self, belief: Belief) -> dict[str, np.ndarray]:
        """What was asked of a belief as arrays, `[B, ...]` by name; `pixels` as images."""
        arrays = {}
        for name in self.outputs:
            values = belief[name]
            values = self.encoder.to_images(values) if name == "pixels" else values.float()
            arrays[name] = values.cpu().numpy()
        return arrays


def _encoder_outputs(parts: Collection[str]) -> tuple[str, ...]:
    return tuple(_ENCODER_OUTPUTS.get(part, part) for part in parts)


def open_encoder(configuration: Configuration, scenes: Scenes, *, classify: bool) -> Encoder:
    """Builds the encoder that a configuration names, for some scenes.

    A class head that was trained for other classes than those of the scenes is replaced by a new
    one; that of an encoder already built is left to its owner.

    Args:
        configuration: Names the encoder, or holds one.
        scenes: What it will see.
        classify: Whether its class head will be used.

    Raises:
        ValueError: No encoder; one of another patch or image size; or one already built with a
            head for other classes.
    """
    chosen = configuration.encoder
    class_names = tuple(scenes.class_names) if classify else None
    if chosen is None:
        raise ValueError("an encoder is needed here, and encoder is None")
    encoder: Encoder
    if isinstance(chosen, str | os.PathLike):
        encoder = create_encoder(
            os.fspath(chosen),
            image_size=configuration.image_size,
            class_names=class_names,
            device=configuration.device,
        )
    else:
        encoder = chosen
    config = encoder.config
    for name in ("patch_size", "image_size"):
        has, wants = getattr(config, name), getattr(configuration, name)
        if has != wants:
            raise ValueError(
                f"encoder {config.name!r} has {name}={has}, the environment has "
                f"{name}={wants}; make the environment with {name}={has}"
            )
    if class_names is None or config.class_names == class_names:
        return encoder
    if config.class_names is not None or config.num_classes != len(class_names):
        raise ValueError(
            f"encoder {config.name!r} has a class head for {config.num_classes} classes "
            f"that are not the {len(class_names)} of the {scenes.name!r} scenes; give it "
            "another with encoders.replace_head(encoder, class_names)"
        )
    return encoder

"""The encoder behind the environments: its cache and its belief for every row.

The only module of this package that imports torch or `encoders`.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import safetensors.torch
import torch

import encoders
from ave_env.configuration import Configuration
from ave_env.episodes import FLOP_PARTS
from ave_env.scenes.base import Scenes
from encoders import GlimpseEncoder, ToreState
from encoders.support.precision import autocast, cast_for_inference, resolve_precision

# The parts of a belief as observations call them -> the encoder output they are made from.
_ENCODER_OUTPUTS = {"reconstruction": "pixels"}


class Observer:
    """An encoder with one token cache and one belief per row.

    Args:
        encoder: Turns glimpses into beliefs.
        num_envs: N.
        parts: Parts of the belief to compute, of `ave_env.configuration.OBSERVABLES`.
        split_block: TORE's K; None = the encoder's default.
        max_tokens: Most tokens that an episode can cache in one row.
        glimpse_tokens: Most tokens that one glimpse can add.
        trained_head: Whether the class head was trained for the classes of the scenes.
        precision: "float32", "bfloat16", or "auto" for bfloat16 where the device has it.

    Attributes:
        encoder: The encoder.
        state: Its cache for all rows.
        outputs: What is asked of the encoder, in its own names.
        split_block: TORE's K.
        dtype: Number format of its matrix products.
        trained_head: Whether predictions mean anything.
        belief: Current belief of all rows: float32 `[N, ...]` by name, `pixels` as images, uint8
            `[N, H, W, 3]`. Not to be written to.

    Raises:
        ValueError: A part that this encoder cannot compute, or a K it does not have.
    """

    def __init__(
        self,
        encoder: GlimpseEncoder,
        num_envs: int,
        *,
        parts: Collection[str],
        split_block: int | None = None,
        max_tokens: int,
        glimpse_tokens: int,
        trained_head: bool = True,
        precision: str = "float32",
    ) -> None:
        self.encoder = encoder
        self.num_envs = num_envs
        self.outputs = tuple(_ENCODER_OUTPUTS.get(part, part) for part in parts)
        self.split_block = encoder.default_split_block if split_block is None else split_block
        self.trained_head = trained_head
        if "pixels" in self.outputs and encoder.config.patch_normalised_pixels:
            raise ValueError(
                f"the decoder of {encoder.config.name!r} predicts patches relative to their own "
                "mean and spread, not colours, so it has no reconstruction to observe or score"
            )
        self.dtype = resolve_precision(precision, encoder.device)
        self.state: ToreState = encoder.init_state(num_envs, max_tokens)
        self._tabulate_flops(glimpse_tokens, max_tokens)
        self.belief: dict[str, np.ndarray] = {}
        self.refresh_prior()

    @classmethod
    def open(
        cls,
        configuration: Configuration,
        scenes: Scenes,
        num_envs: int,
        parts: Collection[str],
    ) -> Observer:
        """Makes the observer that a configuration describes.

        A class head that was trained for other classes than those of the scenes is replaced by a
        new one, with a warning; that of an encoder already built is left to its owner.

        Raises:
            ValueError: An encoder of another patch or image size, one without the decoder or the
                block asked for, or one already built with a head for other classes.
        """
        encoder = configuration.encoder
        class_names = tuple(scenes.class_names) if "logits" in parts else None
        if not isinstance(encoder, GlimpseEncoder):
            encoder = encoders.create_encoder(
                str(encoder),
                image_size=configuration.image_size,
                class_names=class_names,
                device=configuration.device,
            )
        config = encoder.config
        for name in ("patch_size", "image_size"):
            has, wants = getattr(config, name), getattr(configuration, name)
            if has != wants:
                raise ValueError(
                    f"encoder {config.name!r} has {name}={has}, the environment has "
                    f"{name}={wants}; make the environment with {name}={has}"
                )
        if class_names is not None and config.class_names != class_names:
            if config.class_names is not None or config.num_classes != len(class_names):
                raise ValueError(
                    f"encoder {config.name!r} has a class head for {config.num_classes} classes "
                    f"that are not the {len(class_names)} of the {scenes.name!r} scenes; give it "
                    "another with encoders.replace_head(encoder, class_names)"
                )
            warnings.warn(
                f"the class head of encoder {config.name!r} was not trained for the "
                f"{len(class_names)} classes of the {scenes.name!r} scenes: predictions and "
                "classification rewards mean nothing until it is",
                stacklevel=2,
            )
        sensor = configuration.sensor
        glimpse_tokens = configuration.glimpse_size**2
        max_tokens = configuration.num_glimpses * glimpse_tokens
        if configuration.overlap == "dedup":
            max_tokens = min(max_tokens, sensor.grid[0] * sensor.grid[1])
        return cls(
            encoder,
            num_envs,
            parts=parts,
            split_block=configuration.split_block,
            max_tokens=max_tokens,
            glimpse_tokens=glimpse_tokens,
            trained_head=config.class_names == tuple(scenes.class_names),
            precision=configuration.precision,
        )

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each part of one row's belief, by the encoder's names."""
        return {name: values.shape[1:] for name, values in self.belief.items()}

    def refresh_prior(self) -> None:
        """Computes the belief before any glimpse anew and forgets all rows.

        To be called when the weights of the encoder have changed.
        """
        self._runner = cast_for_inference(self.encoder, self.dtype)
        with autocast(self.encoder.device, self.dtype):
            prior = self._runner.prior(self.outputs, split_block=self.split_block)
        self._prior = self._to_numpy(prior)
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

    def observe(self, glimpses: np.ndarray, patch_ids: np.ndarray, rows: np.ndarray) -> None:
        """Updates the belief of the rows that see something new; the others are not run.

        Args:
            glimpses: uint8 `[N, h, w, 3]`.
            patch_ids: int64 `[N, n]`, row-major grid ids; -1 = not to be encoded.
            rows: bool `[N]`, rows that took a glimpse.
        """
        active = np.flatnonzero(rows & (patch_ids >= 0).any(axis=1))
        if not len(active):
            return
        everyone = len(active) == self.num_envs
        chosen = slice(None) if everyone else active
        state = self.state if everyone else self.state.select(torch.from_numpy(active))
        belief, state = self.encode(glimpses[chosen], patch_ids[chosen], state, self.outputs)
        if not everyone:
            self.state.put(torch.from_numpy(active), state)
        for name, values in self._to_numpy(belief).items():
            if everyone:
                self.belief[name] = values
            else:
                self.belief[name][active] = values

    def encode(
        self,
        glimpses: np.ndarray,
        patch_ids: np.ndarray,
        state: ToreState,
        outputs: Collection[str],
    ) -> tuple[encoders.Belief, ToreState]:
        """Runs the encoder as `observe` does, on a cache of the caller's.

        Args:
            glimpses: uint8 `[R, h, w, 3]`.
            patch_ids: int64 `[R, n]`, row-major grid ids; -1 = not to be encoded.
            state: Cache of the R rows; updated in place.
            outputs: Parts of the belief to compute, in the encoder's names.

        Returns:
            The belief, and the state.
        """
        with autocast(self.encoder.device, self.dtype):
            return self._runner.observe(
                self.patches(glimpses),
                torch.from_numpy(patch_ids),
                state,
                split_block=self.split_block,
                outputs=outputs,
            )

    def patches(self, glimpses: np.ndarray) -> torch.Tensor:
        """Cuts glimpses into the patches that the encoder expects.

        Args:
            glimpses: uint8 `[R, h, w, 3]`.

        Returns:
            float32 `[R, n, 3, p, p]` on the encoder's device, normalised.
        """
        side = self.encoder.config.patch_size
        count, height, width, channels = glimpses.shape
        rows, columns = height // side, width // side
        pixels = torch.from_numpy(glimpses).reshape(count, rows, side, columns, side, channels)
        pixels = pixels.permute(0, 1, 3, 5, 2, 4).flatten(1, 2)
        return self.encoder.normalise(pixels)

    def flops(self, new_tokens: np.ndarray, cached_tokens: np.ndarray) -> np.ndarray:
        """What one `observe` costs.

        Args:
            new_tokens: Patches encoded in each row, int64 `[N]`; a row without any is not run.
            cached_tokens: Tokens each row had cached before, int64 `[N]`.

        Returns:
            Multiply-accumulates by `ave_env.episodes.FLOP_PARTS`, int64 `[4, N]`.
        """
        return self._flops[:, new_tokens, cached_tokens]

    def flops_without_recycling(self, tokens: np.ndarray) -> np.ndarray:
        """What it would cost to encode everything seen at once, from pixels.

        Args:
            tokens: Patches seen in each row, int64 `[N]`.

        Returns:
            Multiply-accumulates, int64 `[N]`.
        """
        return self._flops_from_scratch[tokens]

    def flops_limit(self, num_glimpses: int) -> int:
        """The most that an episode can cost without recycling."""
        tokens = np.arange(1, num_glimpses + 1) * (len(self._flops[0]) - 1)
        return int(
            self._flops_from_scratch[tokens.clip(max=len(self._flops_from_scratch) - 1)].sum()
        )

    def __getstate__(self) -> dict[str, Any]:
        # As bytes, for torch lets the processes it starts share tensors: a copy there and the
        # original here would write into one cache.
        fields = vars(self.state)
        tensors = {name: value for name, value in fields.items() if torch.is_tensor(value)}
        others = {name: value for name, value in fields.items() if name not in tensors}
        return vars(self) | {"state": (safetensors.torch.save(tensors), others)}

    def __setstate__(self, fields: Mapping[str, Any]) -> None:
        vars(self).update(fields)
        tensors, others = fields["state"]
        device = self.encoder.device
        parts: dict[str, Any] = {**safetensors.torch.load(tensors), **others}
        self.state = ToreState(**parts)
        self.state.buffer = self.state.buffer.to(device)
        self.state.patch_ids = self.state.patch_ids.to(device)

    def _tabulate_flops(self, glimpse_tokens: int, max_tokens: int) -> None:
        new = np.arange(glimpse_tokens + 1)[:, None]
        cached = np.arange(max_tokens + 1)
        count = self.encoder.flops(new, cached, self.split_block, self.outputs)
        self._flops = np.stack([getattr(count, part) for part in FLOP_PARTS])
        self._flops[:, 0] = 0
        whole = self.encoder.flops(cached, 0 * cached, self.split_block, self.outputs)
        self._flops_from_scratch = np.asarray(whole.total)

    def _to_numpy(self, belief: encoders.Belief) -> dict[str, np.ndarray]:
        arrays = {}
        for name in self.outputs:
            values = getattr(belief, name)
            values = self.encoder.to_images(values) if name == "pixels" else values.float()
            arrays[name] = values.cpu().numpy()
        return arrays

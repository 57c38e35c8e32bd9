"""Which laws an encoder is held to, and in which order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from encoders.registry import FAMILIES
from encoders.storage import weights_hash
from encoders.support.laws import require
from encoders.testing import beliefs, costs, states
from encoders.testing.episode import Episode

_ENCODER = (
    *("family", "config", "device", "grid", "outputs", "training", "resolve_options", "describe"),
    *("init_state", "observe", "prior", "flops", "normalise", "to_images", "resized", "with_head"),
)
_DESCRIPTION = (
    *("name", "image_size", "patch_size", "num_classes", "class_names", "weights"),
    *("patch_normalised_pixels", "to_dict"),
)
_LAWS = (
    beliefs.check_refusals,
    beliefs.check_prior,
    beliefs.check_beliefs,
    beliefs.check_padding,
    beliefs.check_rows,
    beliefs.check_order,
    beliefs.check_training_call,
    beliefs.check_precision,
    states.check_states,
    states.check_reset,
    costs.check_costs,
    costs.check_counted_operations,
    states.check_changes,
)


def check_encoder(encoder: Any, *, seed: int = 0, options: Mapping[str, Any] | None = None) -> None:
    """Holds an encoder to what `encoders.protocol` says of encoders and their states.

    Random glimpses, with padding among them, are observed. What is asked: a belief has the shapes
    documented and depends on the row's own glimpses alone; before any glimpse it is the prior;
    padding changes nothing; equal glimpses give equal numbers, and in bfloat16 nearly the same;
    states fork, select, put, reset and pickle without sharing memory; costs are integers of every
    row, equal the closed formula and what `torch.utils.flop_counter` counts; options and outputs
    that do not exist are refused; what `save_encoder` writes is read back, where the family is
    registered; and what the encoder promises beyond that (`encoders.protocol.Promises`: glimpses in
    any order, one call with all of them) holds.

    Args:
        encoder: The encoder, in evaluation mode; left as it is.
        seed: Of the glimpses.
        options: Of the encoder's family; None = its own.

    Raises:
        AssertionError: A law is broken; the message says which, and what was found.
    """
    _check_members(encoder)
    weights = weights_hash(encoder)
    episode = Episode(encoder, seed, options)
    for check in _LAWS:
        check(episode)
    if encoder.family in FAMILIES:
        states.check_storage(episode)
    require(
        weights_hash(encoder) == weights, "observing leaves the weights as they are", "they changed"
    )


def _check_members(encoder: Any) -> None:
    kind = type(encoder).__name__
    require(isinstance(encoder, torch.nn.Module), "an encoder is a torch.nn.Module", kind)
    missing = [name for name in _ENCODER if not hasattr(encoder, name)]
    require(not missing, "an encoder has the members of Encoder", f"{kind} has no {missing}")
    missing = [name for name in _DESCRIPTION if not hasattr(encoder.config, name)]
    require(not missing, "`config` has the members of EncoderDescription", f"no {missing}")
    require(not encoder.training, "encoders are checked in evaluation mode", "call .eval() first")
    rows, columns = encoder.grid
    side = encoder.config.patch_size
    require(
        tuple(encoder.config.image_size) == (rows * side, columns * side),
        "`grid` is image_size over patch_size",
        f"{encoder.grid}, {encoder.config.image_size} and {side}",
    )
    require("latent" in encoder.outputs, "every encoder has a latent", f"{encoder.outputs}")

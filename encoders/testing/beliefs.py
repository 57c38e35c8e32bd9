"""Laws of beliefs: what they depend on, and what not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from encoders.protocol import OUTPUTS, promises_of
from encoders.support.laws import require
from encoders.testing.episode import GLIMPSES, ROWS, Episode

_BFLOAT16 = 0.1  # of the root mean square; a product in bfloat16 is good to 0.4 %
_STATE = ("tokens", "reset", "select", "put", "fork")


def check_refusals(episode: Episode) -> None:
    """What does not exist is refused; what is left out is filled in."""
    encoder, options = episode.encoder, episode.options
    again = encoder.resolve_options(options)
    require(again == options, "resolved options resolve to themselves", f"{again}, {options}")
    open_again = encoder.resolve_options(dict.fromkeys(options))
    own = encoder.resolve_options({})
    require(open_again == own, "None stands for an option left out", f"{open_again}")
    words = encoder.describe(options)
    require(encoder.config.name in words, "describe() begins with the name", f"{words!r}")
    refused: dict[str, Callable[[], Any]] = {
        "resolve_options() refuses unknown options": lambda: encoder.resolve_options(
            {"no_such_option": 1}
        ),
        "prior() refuses unknown outputs": lambda: encoder.prior(("no_such_part",)),
        "observe() refuses unknown outputs": lambda: encoder.observe(
            encoder.normalise(episode.pixels[:, 0]),
            episode.ids[:, 0],
            encoder.init_state(ROWS),
            outputs=("no_such_part",),
        ),
    }
    if lacking := sorted(set(OUTPUTS) - set(encoder.outputs)):
        refused[f"prior() refuses {lacking[0]!r}, which is not among its outputs"] = lambda: (
            encoder.prior((lacking[0],))
        )
    for law, act in refused.items():
        try:
            act()
        except ValueError:
            continue
        require(False, f"{law} with a ValueError", "nothing was raised")


def check_prior(episode: Episode) -> None:
    """The belief before any glimpse is a constant, and that of an empty row."""
    prior = episode.encoder.prior(episode.outputs, **episode.options)
    again = episode.encoder.prior(episode.outputs, **episode.options)
    for name in episode.outputs:
        require(len(prior[name]) == 1, "the prior is a batch of one", f"{len(prior[name])}")
        require(torch.equal(prior[name], again[name]), "the prior is a constant", name)
    state = episode.encoder.init_state(ROWS)
    missing = [name for name in _STATE if not hasattr(state, name)]
    require(not missing, "a state has the members of EncoderState", f"no {missing}")
    require(len(state) == ROWS, f"a state of {ROWS} rows has that length", f"{len(state)}")
    episode.counts(state, [0] * ROWS, "the tokens of an empty state are 0")
    belief, state = episode.nothing(state)
    episode.same("rows that have seen nothing believe the prior", belief, prior, [0] * ROWS)
    episode.counts(state, [0] * ROWS, "padding alone leaves the tokens at 0")


def check_beliefs(episode: Episode) -> None:
    """Shapes, and no gradients."""
    config, (rows, columns) = episode.encoder.config, episode.encoder.grid
    belief = episode.expected
    shapes = {
        "latent": (ROWS, None),
        "logits": (ROWS, config.num_classes),
        "attention": (ROWS, None, 1 + episode.patches, 1 + episode.patches),
        "entropy": (ROWS, rows, columns),
        "normalised_entropy": (ROWS, rows, columns),
        "cells": (ROWS, rows, columns, None),
        "pixels": (ROWS, episode.patches, config.patch_size**2 * 3),
    }
    for name in episode.outputs:
        values, shape = belief[name], shapes.get(name, (ROWS,))
        fits = values.ndim == len(shape) or name not in shapes
        fits &= all(b in (None, a) for a, b in zip(values.shape, shape, strict=False))
        require(fits, f"{name} has shape {shape} (None = any)", f"{list(values.shape)}")
        require(bool(values.isfinite().all()), f"{name} are finite", "they are not")
        require(not values.requires_grad, "observe() keeps no gradients", f"{name} has some")
    if "pixels" in episode.outputs and not config.patch_normalised_pixels:
        images = episode.encoder.to_images(belief["pixels"])
        found = (tuple(images.shape), images.dtype)
        expected = ((ROWS, *config.image_size, 3), torch.uint8)
        require(found == expected, f"to_images() gives {expected}", f"{found}")
    again, _ = episode.run(range(GLIMPSES))
    episode.same("equal glimpses give equal beliefs", again, belief)
    prior = episode.encoder.prior(episode.outputs, **episode.options)
    moved = not torch.allclose(belief["latent"], prior["latent"].expand_as(belief["latent"]))
    require(moved, "what is seen changes the belief", "the latent is that of the prior")


def check_padding(episode: Episode) -> None:
    """What stands where the ids are -1 does not matter, nor how much of it there is."""
    state = episode.encoder.init_state(ROWS)
    noise = 255 - episode.pixels
    for step in range(GLIMPSES):
        padding = (episode.ids[:, step] < 0)[:, :, None, None, None]
        pixels = torch.where(padding, noise[:, step], episode.pixels[:, step])
        pixels = torch.cat([pixels, noise[:, step]], 1)
        ids = torch.cat([episode.ids[:, step], episode.ids[:, step] * 0 - 1], 1)
        belief, state = episode.observe(pixels, ids, state)
    episode.same("padding changes nothing", belief, episode.expected)
    tokens = state.tokens.tolist()
    belief, state = episode.nothing(state)
    episode.same("a row of padding alone keeps its memory", belief, episode.expected)
    episode.counts(state, tokens, "a row of padding alone keeps its tokens")


def check_rows(episode: Episode) -> None:
    """A row's belief is its own."""
    for row in range(ROWS):
        alone, _ = episode.run(range(GLIMPSES), [row])
        episode.same(
            "a row alone believes what it believes among others", alone, episode.expected, [row]
        )
    order = [2, 0, 3, 1]
    turned, _ = episode.run(range(GLIMPSES), order)
    episode.same("the order of the rows does not matter", turned, episode.expected, order)


def check_order(episode: Episode) -> None:
    """Where the family says so, glimpses may come in any order."""
    if not promises_of(episode.encoder, episode.options).ignores_order:
        return
    belief, _ = episode.run([2, 0, 3, 1])
    law = "the order of the glimpses does not matter, as promises() says"
    episode.same(law, belief, episode.expected)


def check_training_call(episode: Episode) -> None:
    """Where the family says so, one call with all glimpses is the same, and keeps gradients."""
    encoder: Any = episode.encoder
    if not promises_of(encoder, episode.options).trains:
        return
    patches, ids = encoder.normalise(episode.pixels), episode.ids
    belief = encoder(patches, ids, outputs=episode.outputs, **episode.options)
    law = "a call with all glimpses believes what observe() comes to glimpse after glimpse"
    for name in episode.outputs:
        require(belief[name].requires_grad, "a call keeps gradients", f"{name} has none")
    episode.same(law, belief, episode.expected)
    noise = encoder.normalise(255 - episode.pixels)
    patches = torch.where((ids < 0)[..., None, None, None].to(patches.device), noise, patches)
    belief = encoder(patches, ids, outputs=episode.outputs, **episode.options)
    episode.same("in a call, too, padding changes nothing", belief, episode.expected)


def check_precision(episode: Episode) -> None:
    """In bfloat16 the belief is nearly that of float32; in float32 it is the same every time."""
    device = episode.encoder.device.type
    if device == "cpu":  # elsewhere sums may be taken in any order
        again, _ = episode.run(range(GLIMPSES))
        for name in episode.outputs:
            same = torch.equal(again[name], episode.expected[name])
            require(same, "equal glimpses give equal numbers", f"{name} differ")
    with torch.autocast(device, torch.bfloat16):
        belief, _ = episode.run(range(GLIMPSES))
    for name in episode.outputs:
        one, other = belief[name].float(), episode.expected[name].float()
        require(bool(one.isfinite().all()), f"{name} are finite in bfloat16", "they are not")
        apart, size = float((one - other).square().mean()), float(other.square().mean())
        require(
            apart <= _BFLOAT16**2 * size,
            f"{name} in bfloat16 are within {_BFLOAT16:.0%} of those in float32",
            f"{(apart / size) ** 0.5:.1%}",
        )

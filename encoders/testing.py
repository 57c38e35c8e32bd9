"""The laws of encoders, tried on random glimpses; neither pytest nor hypothesis is needed."""

from __future__ import annotations

import copy
import pickle
import tempfile
from collections.abc import Callable, Collection, Mapping
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.flops.count import PARTS, FlopCount
from encoders.protocol import OUTPUTS, Belief, Encoder, Observed
from encoders.registry import FAMILIES
from encoders.storage import find_encoder_folder, load_encoder, save_encoder, weights_hash
from encoders.support.laws import require

_ROWS = 4
_GLIMPSES = 4
_PER_GLIMPSE = 3

_ENCODER = (
    *("family", "config", "device", "grid", "outputs", "training", "resolve_options", "describe"),
    *("init_state", "observe", "prior", "flops", "normalise", "to_images", "resized", "with_head"),
)
_DESCRIPTION = (
    *("name", "image_size", "patch_size", "num_classes", "class_names", "weights"),
    *("patch_normalised_pixels", "to_dict"),
)
_STATE = ("tokens", "reset", "select", "put", "fork")


def check_encoder(encoder: Any, *, seed: int = 0) -> None:
    """Holds an encoder to what `encoders.protocol` says of encoders and their states.

    Random glimpses, with padding among them, are observed. What is asked: a belief has the shapes
    documented and depends on the row's own glimpses alone; before any glimpse it is the prior;
    padding changes nothing; states fork, select, put, reset and pickle without sharing memory;
    costs are integers of every row and equal the closed formula; options and outputs that do not
    exist are refused; and what `save_encoder` writes is read back, where the family is registered.

    Args:
        encoder: The encoder, in evaluation mode; left as it is.
        seed: Of the glimpses.

    Raises:
        AssertionError: A law is broken; the message says which, and what was found.
    """
    _check_members(encoder)
    weights = weights_hash(encoder)
    laws = _Laws(encoder, seed)
    laws.check_refusals()
    laws.check_prior()
    laws.check_beliefs()
    laws.check_padding()
    laws.check_rows()
    laws.check_states()
    laws.check_reset()
    laws.check_costs()
    laws.check_changes()
    if encoder.family in FAMILIES:
        laws.check_storage()
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


class _Laws:
    """One episode per row, drawn once, on which every law is tried.

    Args:
        encoder: What is checked.
        seed: Of the glimpses.
    """

    def __init__(self, encoder: Encoder, seed: int) -> None:
        self.encoder = encoder
        self.options = encoder.resolve_options({})
        # `tokens` are as many as the longest row has, so that rows cannot be compared by them.
        self.outputs = tuple(name for name in encoder.outputs if name != "tokens")
        rows, columns = encoder.grid
        self.patches = rows * columns
        self.count = max(1, min(_PER_GLIMPSE, self.patches // _GLIMPSES))
        side = encoder.config.patch_size
        random = np.random.default_rng(seed)
        ids = np.stack(
            [random.permutation(self.patches)[: _GLIMPSES * self.count] for _ in range(_ROWS)]
        ).reshape(_ROWS, _GLIMPSES, self.count)
        ids[1, 1, 0] = -1  # a glimpse with less to encode
        ids[2, 2] = -1  # and one with nothing
        self.ids = torch.from_numpy(ids)
        shape = (_ROWS, _GLIMPSES, self.count, 3, side, side)
        self.pixels = torch.from_numpy(random.integers(0, 256, shape, np.uint8))
        self.expected = self.run(range(_GLIMPSES))[0]

    def see(self, state: Any, step: int, rows: Any = slice(None)) -> Observed:
        """Observes glimpse `step` of some rows."""
        return self.observe(self.pixels[rows, step], self.ids[rows, step], state)

    def observe(self, pixels: Tensor, ids: Tensor, state: Any) -> Observed:
        """Observes patches, uint8 `[B, n, 3, p, p]`."""
        patches = self.encoder.normalise(pixels)
        return self.encoder.observe(
            patches, ids, state, outputs=self.outputs, **copy.copy(self.options)
        )

    def run(self, steps: Collection[int], rows: Any = slice(None)) -> tuple[Belief, Any]:
        """A new state after some glimpses, and the belief after the last."""
        state = self.encoder.init_state(len(self.ids[rows]))
        for step in steps:
            belief, state = self.see(state, step, rows)
        return belief, state

    def nothing(self, state: Any) -> Observed:
        """Observes padding alone."""
        return self.observe(self.pixels[: len(state), 0], self.ids[: len(state), 0] * 0 - 1, state)

    def same(self, law: str, found: Belief, expected: Belief, rows: Any = slice(None)) -> None:
        """Requires beliefs to be equal but for rounding."""
        for name in self.outputs:
            one, other = found[name].float(), expected[name][rows].float()
            require(one.shape == other.shape, law, f"{name} {list(one.shape)}, {list(other.shape)}")
            largest = float(other.abs().max())
            apart = float((one - other).abs().max())
            require(apart <= 1e-4 * max(1.0, largest), law, f"{name} differ by up to {apart:.3g}")

    def check_refusals(self) -> None:
        """What does not exist is refused; what is left out is filled in."""
        encoder, options = self.encoder, self.options
        again = encoder.resolve_options(options)
        require(again == options, "resolved options resolve to themselves", f"{again}, {options}")
        open_again = encoder.resolve_options(dict.fromkeys(options))
        require(open_again == options, "None stands for an option left out", f"{open_again}")
        words = encoder.describe(options)
        require(encoder.config.name in words, "describe() begins with the name", f"{words!r}")
        refused: dict[str, Callable[[], Any]] = {
            "resolve_options() refuses unknown options": lambda: encoder.resolve_options(
                {"no_such_option": 1}
            ),
            "prior() refuses unknown outputs": lambda: encoder.prior(("no_such_part",)),
            "observe() refuses unknown outputs": lambda: encoder.observe(
                encoder.normalise(self.pixels[:, 0]),
                self.ids[:, 0],
                encoder.init_state(_ROWS),
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

    def check_prior(self) -> None:
        """The belief before any glimpse is a constant, and that of an empty row."""
        prior = self.encoder.prior(self.outputs, **self.options)
        again = self.encoder.prior(self.outputs, **self.options)
        for name in self.outputs:
            require(len(prior[name]) == 1, "the prior is a batch of one", f"{len(prior[name])}")
            require(torch.equal(prior[name], again[name]), "the prior is a constant", name)
        state = self.encoder.init_state(_ROWS)
        missing = [name for name in _STATE if not hasattr(state, name)]
        require(not missing, "a state has the members of EncoderState", f"no {missing}")
        require(len(state) == _ROWS, f"a state of {_ROWS} rows has that length", f"{len(state)}")
        self.counts(state, [0] * _ROWS, "the tokens of an empty state are 0")
        belief, state = self.nothing(state)
        self.same("rows that have seen nothing believe the prior", belief, prior, [0] * _ROWS)
        self.counts(state, [0] * _ROWS, "padding alone leaves the tokens at 0")

    def check_beliefs(self) -> None:
        """Shapes, and no gradients."""
        config, (rows, columns) = self.encoder.config, self.encoder.grid
        belief = self.expected
        shapes = {
            "latent": (_ROWS, None),
            "logits": (_ROWS, config.num_classes),
            "attention": (_ROWS, None, 1 + self.patches, 1 + self.patches),
            "entropy": (_ROWS, rows, columns),
            "normalised_entropy": (_ROWS, rows, columns),
            "cells": (_ROWS, rows, columns, None),
            "pixels": (_ROWS, self.patches, config.patch_size**2 * 3),
        }
        for name in self.outputs:
            values, shape = belief[name], shapes.get(name, (_ROWS,))
            fits = values.ndim == len(shape) or name not in shapes
            fits &= all(b in (None, a) for a, b in zip(values.shape, shape, strict=False))
            require(fits, f"{name} has shape {shape} (None = any)", f"{list(values.shape)}")
            require(bool(values.isfinite().all()), f"{name} are finite", "they are not")
            require(not values.requires_grad, "observe() keeps no gradients", f"{name} has some")
        if "pixels" in self.outputs and not config.patch_normalised_pixels:
            images = self.encoder.to_images(belief["pixels"])
            found = (tuple(images.shape), images.dtype)
            expected = ((_ROWS, *config.image_size, 3), torch.uint8)
            require(found == expected, f"to_images() gives {expected}", f"{found}")
        again, _ = self.run(range(_GLIMPSES))
        self.same("equal glimpses give equal beliefs", again, belief)
        prior = self.encoder.prior(self.outputs, **self.options)
        moved = not torch.allclose(belief["latent"], prior["latent"].expand_as(belief["latent"]))
        require(moved, "what is seen changes the belief", "the latent is that of the prior")

    def check_padding(self) -> None:
        """What stands where the ids are -1 does not matter, nor how much of it there is."""
        state = self.encoder.init_state(_ROWS)
        noise = 255 - self.pixels
        for step in range(_GLIMPSES):
            padding = (self.ids[:, step] < 0)[:, :, None, None, None]
            pixels = torch.where(padding, noise[:, step], self.pixels[:, step])
            pixels = torch.cat([pixels, noise[:, step]], 1)
            ids = torch.cat([self.ids[:, step], self.ids[:, step] * 0 - 1], 1)
            belief, state = self.observe(pixels, ids, state)
        self.same("padding changes nothing", belief, self.expected)
        tokens = state.tokens.tolist()
        belief, state = self.nothing(state)
        self.same("a row of padding alone keeps its memory", belief, self.expected)
        self.counts(state, tokens, "a row of padding alone keeps its tokens")

    def check_rows(self) -> None:
        """A row's belief is its own."""
        for row in range(_ROWS):
            alone, _ = self.run(range(_GLIMPSES), [row])
            self.same(
                "a row alone believes what it believes among others", alone, self.expected, [row]
            )
        order = [2, 0, 3, 1]
        turned, _ = self.run(range(_GLIMPSES), order)
        self.same("the order of the rows does not matter", turned, self.expected, order)

    def check_states(self) -> None:
        """Copies of a state are copies, of the right rows."""
        everything = list(range(_ROWS))
        chosen, mask = [3, 1, 1], torch.tensor([True, False, True, False])
        copies: dict[str, tuple[Callable[[Any], Any], list[int]]] = {
            "fork()": (lambda state: state.fork(), everything),
            "select() of numbers": (lambda state: state.select(torch.tensor(chosen)), chosen),
            "select() of a mask": (lambda state: state.select(mask), [0, 2]),
            "a pickle": (lambda state: pickle.loads(pickle.dumps(state)), everything),
            "a pickle for another process": (
                lambda state: pickle.loads(ForkingPickler.dumps(state)),
                everything,
            ),
        }
        for name, (make, rows) in copies.items():
            for spoiled in ("the copy", "the original"):
                _, state = self.run(range(2))
                made = make(state)
                require(len(made) == len(rows), f"{name} has {len(rows)} rows", f"{len(made)}")
                self.spoil(made if spoiled == "the copy" else state)
                kept, kept_rows = (state, everything) if spoiled == "the copy" else (made, rows)
                for step in range(2, _GLIMPSES):
                    belief, kept = self.see(kept, step, kept_rows)
                law = f"{name} is an independent copy of its rows: {spoiled} may change"
                self.same(law, belief, self.expected, kept_rows)
        for some in (torch.tensor([3, 1]), torch.tensor([False, True, False, True])):
            _, state = self.run(range(2))
            rows = some.tolist() if some.dtype != torch.bool else [1, 3]
            part = state.select(some)
            for step in range(2, _GLIMPSES):
                _, part = self.see(part, step, rows)
            state.put(some, part)
            self.spoil(part)
            belief, state = self.nothing(state)
            law = "put() brings back what select() took, and shares nothing with it"
            self.same(law, self.part(belief, rows), self.expected, rows)
            others, _ = self.run(range(2))
            law = "put() leaves the other rows as they are"
            self.same(law, self.part(belief, [0, 2]), others, [0, 2])

    def check_reset(self) -> None:
        """Rows that are reset are new; others are not."""
        for some in (torch.tensor([0, 2]), torch.tensor([True, False, True, False])):
            _, state = self.run(range(3))
            tokens = state.tokens.tolist()
            require(min(tokens) > 0, "tokens are more than 0 once something was seen", f"{tokens}")
            state.reset(some)
            after = [0, tokens[1], 0, tokens[3]]
            self.counts(state, after, "reset() brings tokens of its rows to 0, and of no others")
            belief, state = self.see(state, 3)
            fresh, _ = self.run([3])
            law = "reset() forgets what its rows have seen"
            self.same(law, self.part(belief, [0, 2]), fresh, [0, 2])
            law = "reset() leaves the other rows as they are"
            self.same(law, self.part(belief, [1, 3]), self.expected, [1, 3])

    def check_costs(self) -> None:
        """Integers of every row, equal to the closed formula where tokens only add up."""
        state = self.encoder.init_state(_ROWS)
        for step in range(_GLIMPSES):
            cached = state.tokens.numpy().copy()
            observed = self.see(state, step)
            state, cost = observed.state, observed.cost
            for name, count in (
                ("spent", cost.spent),
                ("without_recycling", cost.without_recycling),
            ):
                require(isinstance(count, FlopCount), f"cost.{name} is a FlopCount", f"{count!r}")
                for part in PARTS:
                    values = getattr(count, part)
                    good = isinstance(values, np.ndarray) and values.dtype == np.int64
                    good = good and values.shape == (_ROWS,) and bool((values >= 0).all())
                    require(
                        good, f"cost.{name}.{part} is int64 {(_ROWS,)}, 0 or more", f"{values!r}"
                    )
            new = (self.ids[:, step] >= 0).sum(1).numpy()
            tokens = state.tokens.numpy()
            if not np.array_equal(tokens, cached + new):
                continue  # dropped or merged: the formula does not know how many
            formula = self.formula(new, cached)
            require(
                np.array_equal(cost.spent.by_part(), formula.by_part()),
                "flops(new, cached) is what observe() says it spent",
                f"{formula} and {cost.spent}",
            )
            from_scratch = self.formula(cached + new, cached * 0)
            require(
                np.array_equal(cost.without_recycling.by_part(), from_scratch.by_part()),
                "flops(all, 0) is the cost without recycling",
                f"{from_scratch} and {cost.without_recycling}",
            )
            for row in range(_ROWS):
                one = self.formula(int(new[row]), int(cached[row]))
                require(
                    np.array_equal(one.by_part(), formula.by_part()[:, row]),
                    "flops() of numbers is that of arrays",
                    f"{one} and {formula}, row {row}",
                )

    def check_changes(self) -> None:
        """Another size, another head."""
        config = self.encoder.config
        changed = copy.deepcopy(self.encoder)
        same = self.run_with(changed.resized(tuple(config.image_size)))
        self.same("resized() to its own size is the same encoder", same, self.expected)
        height, width = config.image_size
        try:
            larger = changed.resized((height, 2 * width))
        except ValueError:
            larger = None
        if larger is not None:
            found = tuple(larger.config.image_size), larger.grid
            expected = (height, 2 * width), (self.encoder.grid[0], 2 * self.encoder.grid[1])
            require(found == expected, f"resized() changes sizes to {expected}", f"{found}")
            larger.prior(self.outputs, **self.options)
        if "logits" not in self.outputs:
            return
        names = tuple(f"class {number}" for number in range(config.num_classes + 2))
        headed = changed.with_head(names)
        found = headed.config.num_classes, headed.config.class_names
        require(
            found == (len(names), None),
            "with_head() gives an untrained head: num_classes as asked for, class_names None",
            f"{found}",
        )
        belief = self.run_with(headed)
        shape = tuple(belief["logits"].shape)
        require(shape == (_ROWS, len(names)), "with_head() makes that many logits", f"{shape}")
        kept = torch.allclose(belief["latent"], self.expected["latent"], rtol=1e-4, atol=1e-4)
        require(kept, "with_head() leaves the rest as it is", "another latent")

    def check_storage(self) -> None:
        """What is written is read back."""
        with tempfile.TemporaryDirectory() as folder:
            save_encoder(self.encoder, folder)
            require(
                find_encoder_folder(folder) is not None, "a saved encoder is known as one", folder
            )
            read = load_encoder(folder)
        law = "load_encoder() reads back what save_encoder() wrote"
        require(weights_hash(read) == weights_hash(self.encoder), law, "other weights")
        config, expected = read.config.to_dict(), self.encoder.config.to_dict()
        require(config == expected, law, f"config {config}, expected {expected}")
        require(not read.training, "encoders are read in evaluation mode", "training mode")
        self.same(law, self.run_with(read.to(self.encoder.device)), self.expected)

    def run_with(self, encoder: Encoder) -> Belief:
        """The belief that another encoder comes to from the same glimpses."""
        mine, self.encoder = self.encoder, encoder
        try:
            return self.run(range(_GLIMPSES))[0]
        finally:
            self.encoder = mine

    def formula(self, new: Any, cached: Any) -> FlopCount:
        """The closed formula."""
        return self.encoder.flops(new, cached, outputs=self.outputs, **self.options)

    def part(self, belief: Belief, rows: list[int]) -> Belief:
        """Some rows of a belief."""
        heads = {name: belief[name][rows] for name in self.outputs if name not in OUTPUTS}
        known: Mapping[str, Any] = {
            name: belief[name][rows] for name in self.outputs if name in OUTPUTS
        }
        return Belief(**known, heads=heads or None)

    def spoil(self, state: Any) -> None:
        """Lets a state see what it has not seen, and forget."""
        rows = len(state)
        _, state = self.observe(255 - self.pixels[:rows, 3], self.ids[:rows, 3].roll(1, 0), state)
        state.reset(torch.arange(rows))
        self.observe(255 - self.pixels[:rows, 0], self.ids[:rows, 0].roll(1, 0), state)

    def counts(self, state: Any, expected: list[int], law: str) -> None:
        """Requires a state's tokens to be these."""
        tokens = state.tokens
        good = isinstance(tokens, Tensor) and tokens.dtype == torch.int64
        good = good and tokens.device.type == "cpu" and tokens.tolist() == expected
        require(good, f"{law} (int64 on the CPU, {expected})", f"{tokens!r}")

"""The package's own encoders keep the laws, and the suite sees who breaks them."""

import dataclasses

import numpy as np
import pytest
import torch
from helpers import tiny_encoder
from tiny import raises_naming

from encoders import create_encoder
from encoders.families.tore.state import ToreState
from encoders.flops.count import Cost
from encoders.protocol import Observed
from encoders.support.rows import row_indices
from encoders.testing import check_encoder


@pytest.mark.parametrize("changes", [{}, {"decoder": None, "num_classes": 0}])
def test_a_tiny_encoder_keeps_the_laws(changes):
    check_encoder(tiny_encoder(**changes))


def test_the_shipped_encoder_keeps_the_laws():
    check_encoder(create_encoder("tore-nano", device="cpu"))


def encoder(kind, **methods):
    """A tiny encoder of a class that differs in some methods."""
    made = tiny_encoder(decoder=None)
    made.__class__ = type(kind, (type(made),), methods)
    return made


def with_state(**methods):
    """A tiny encoder whose states differ in some methods."""
    kind = type("State", (ToreState,), {"__module__": __name__, **methods})
    kind.__qualname__ = kind.__name__
    globals()["State"] = kind  # pickles by its name

    def init_state(self, batch_size, capacity=None):
        made = type(self).__bases__[0].init_state(self, batch_size, capacity)
        made.__class__ = kind
        return made

    return encoder("OtherStates", init_state=init_state)


def seeing(change):
    """An encoder that observes as ever, and then changes what comes out."""

    def observe(self, patches, patch_ids, state, *args, **options):
        observed = (
            type(self).__bases__[0].observe(self, patches, patch_ids, state, *args, **options)
        )
        return change(observed, patch_ids)

    return encoder("Changed", observe=observe)


def mixes_rows(observed, ids):
    belief = dataclasses.replace(observed.belief)
    belief.latent = 2 * belief.latent - belief.latent.mean(0)
    return Observed(belief, observed.state, observed.cost)


def counts_padding(observed, ids):
    belief = dataclasses.replace(observed.belief)
    belief.latent = belief.latent + max(0, ids.shape[1] - 3)
    return Observed(belief, observed.state, observed.cost)


def costs_too_little(observed, ids):
    spent = dataclasses.replace(observed.cost.spent, aggregator=observed.cost.spent.aggregator - 1)
    return Observed(observed.belief, observed.state, Cost(spent, observed.cost.without_recycling))


def costs_in_floats(observed, ids):
    head = observed.cost.spent.head.astype(np.float64)
    spent = dataclasses.replace(observed.cost.spent, head=head)
    return Observed(observed.belief, observed.state, Cost(spent, observed.cost.without_recycling))


def calls_it_recycling(observed, ids):
    return Observed(observed.belief, observed.state, Cost(observed.cost.spent, observed.cost.spent))


def share(self):
    return dataclasses.replace(self)


def other_rows(self, rows):
    rows = row_indices(rows, len(self))
    return ToreState.select(self, rows.flip(0) if len(rows) < len(self) else rows)


def forget_all(self, rows):
    ToreState.reset(self, torch.arange(len(self)))


def forget_nothing(self, rows):
    pass


def put_everywhere(self, rows, source):
    ToreState.put(self, rows, source)
    ToreState.reset(self, torch.tensor([0]))


def take_any(self, options):
    return {"split_block": self.default_split_block}


def keep_classes(self, class_names, seed=0):
    base = type(self).__bases__[0]
    made = base.with_head(self, class_names, seed)
    made.config = dataclasses.replace(made.config, class_names=class_names)
    return made


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: seeing(mixes_rows), ["a row alone"]),
        (lambda: seeing(counts_padding), ["padding changes nothing", "latent"]),
        (lambda: seeing(costs_too_little), ["flops(new, cached)"]),
        (lambda: seeing(costs_in_floats), ["cost.spent.head is int64"]),
        (lambda: seeing(calls_it_recycling), ["the cost without recycling"]),
        (lambda: with_state(fork=share), ["fork() is an independent copy"]),
        (lambda: with_state(select=other_rows), ["select() of numbers"]),
        (lambda: with_state(reset=forget_all), ["reset() brings tokens", "no others"]),
        (lambda: with_state(reset=forget_nothing), ["reset() brings tokens"]),
        (lambda: with_state(put=put_everywhere), ["put() leaves the other rows"]),
        (
            lambda: with_state(
                __getstate__=lambda self: vars(self),
                __setstate__=lambda self, fields: vars(self).update(fields),
            ),
            ["for another process is an independent copy"],
        ),
        (lambda: encoder("Takes", resolve_options=take_any), ["refuses unknown options"]),
        (lambda: encoder("Silent", describe=lambda self, options: "an encoder"), ["describe()"]),
        (lambda: encoder("Trained", with_head=keep_classes), ["an untrained head"]),
        (lambda: encoder("Large", resized=lambda self, size: self), ["resized()"]),
        (lambda: tiny_encoder().train(), ["evaluation mode"]),
    ],
)
def test_an_encoder_that_breaks_a_law_is_found_out(make, words):
    with raises_naming(AssertionError, words):
        check_encoder(make())

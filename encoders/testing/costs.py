"""Laws of costs: what a step is said to take is what it takes."""

from __future__ import annotations

import numpy as np
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from encoders.flops.count import PARTS, FlopCount
from encoders.protocol import promises_of
from encoders.support.laws import require
from encoders.testing.episode import GLIMPSES, ROWS, Episode


def check_costs(episode: Episode) -> None:
    """Integers of every row, equal to the closed formula where tokens only add up."""
    state = episode.encoder.init_state(ROWS)
    for step in range(GLIMPSES):
        cached = state.tokens.numpy().copy()
        observed = episode.see(state, step)
        state, cost = observed.state, observed.cost
        for name, count in (
            ("spent", cost.spent),
            ("without_recycling", cost.without_recycling),
        ):
            require(isinstance(count, FlopCount), f"cost.{name} is a FlopCount", f"{count!r}")
            for part in PARTS:
                values = getattr(count, part)
                good = isinstance(values, np.ndarray) and values.dtype == np.int64
                good = good and values.shape == (ROWS,) and bool((values >= 0).all())
                require(good, f"cost.{name}.{part} is int64 {(ROWS,)}, 0 or more", f"{values!r}")
        new = (episode.ids[:, step] >= 0).sum(1).numpy()
        tokens = state.tokens.numpy()
        if not np.array_equal(tokens, cached + new):
            continue  # dropped or merged: the formula does not know how many
        formula = episode.formula(new, cached)
        equal = np.array_equal(cost.spent.by_part(), formula.by_part())
        if promises_of(episode.encoder, episode.options).exact_flops:
            law = "flops(new, cached) is what observe() says it spent"
        else:
            law = "observe() spends no more than flops(new, cached)"
            equal = bool((cost.spent.by_part() <= formula.by_part()).all())
        require(equal, law, f"{formula} and {cost.spent}")
        from_scratch = episode.formula(cached + new, cached * 0)
        require(
            np.array_equal(cost.without_recycling.by_part(), from_scratch.by_part()),
            "flops(all, 0) is the cost without recycling",
            f"{from_scratch} and {cost.without_recycling}",
        )
        for row in range(ROWS):
            one = episode.formula(int(new[row]), int(cached[row]))
            require(
                np.array_equal(one.by_part(), formula.by_part()[:, row]),
                "flops() of numbers is that of arrays",
                f"{one} and {formula}, row {row}",
            )


def check_counted_operations(episode: Episode) -> None:
    """What a step says it spent is what PyTorch counts, of one row whose glimpses are whole."""
    state = episode.encoder.init_state(1)
    for step in range(GLIMPSES):
        ids, pixels = episode.ids[:1, step], episode.pixels[:1, step]
        # Other attention kernels are not counted on every build of PyTorch.
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            observed = episode.observe(pixels, ids, state)
        state = observed.state
        counted, told = (
            counter.get_total_flops() // 2,
            int(np.asarray(observed.cost.spent.total)[0]),
        )
        require(
            counted == told,
            "the cost of a step is what torch.utils.flop_counter counts, halved",
            f"{told:,} are reported, {counted:,} ran in step {step}",
        )
